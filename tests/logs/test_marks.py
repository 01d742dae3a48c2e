"""The one expression for all beginnings of messages."""

from __future__ import annotations

import re

import pytest

from pgoauthd.logs.marks import LEVELS, STARTS
from pgoauthd.logs.sayings import LEVELS as UNDERSTOOD
from pgoauthd.logs.sayings import LOG_STARTS


@pytest.mark.parametrize("start", LOG_STARTS)
def test_every_beginning_is_found_and_nothing_shorter(start: str) -> None:
    assert re.fullmatch(STARTS, start.encode())
    assert not re.match(STARTS, start[:-1].encode())


@pytest.mark.parametrize(
    "message", ["duration: 1 ms", "", "c", "statement: select 1", "connection lost", "xSSL error: "]
)
def test_other_messages_are_not(message: str) -> None:
    assert not re.match(STARTS, message.encode())


def test_the_levels_are_those_that_are_understood() -> None:
    assert set(LEVELS.values()) == UNDERSTOOD
    assert all(name == level.encode() for name, level in LEVELS.items())
