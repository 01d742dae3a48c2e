from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgoauthd.errors import StateError
from pgoauthd.probing import histories
from pgoauthd.probing.histories import find_outcome, newest_id
from pgoauthd.probing.steps import Seen
from pgoauthd.tokens.reasons import Reason
from tests.fix_history import HistoryFile
from tests.fix_outcomes import outcome

SEEN = Seen(local_address="192.0.2.7", local_port=50001)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HistoryFile]:
    monkeypatch.setattr(histories, "PATIENCE_SECONDS", 0.0)
    with HistoryFile(tmp_path / "state.db") as made:
        yield made


def find(history: HistoryFile, after: int = 0, user: str = "app") -> int | None:
    found = find_outcome(history.path, after, user, SEEN)
    return found["id"] if found is not None else None


def test_the_login_from_our_port_is_found(history: HistoryFile) -> None:
    history.add(outcome(client_port=1), outcome(), outcome(client_port=2))
    assert newest_id(history.path) == 3
    assert find(history) == 2


def test_a_login_of_before_is_not_ours(history: HistoryFile) -> None:
    history.add(outcome())
    assert find(history, after=1) is None


def test_a_login_of_another_role_is_not_ours(history: HistoryFile) -> None:
    history.add(outcome())
    assert find(history, user="kong") is None


def test_a_login_that_succeeded_says_nothing_of_one_that_failed(history: HistoryFile) -> None:
    history.add(outcome(Reason.OK))
    assert find(history) is None


def test_of_two_the_one_from_our_address_is_ours(history: HistoryFile) -> None:
    history.add(outcome(client_addr="192.0.2.9"), outcome())
    assert find(history) == 2


def test_an_address_that_became_another_on_its_way_is_no_hindrance(history: HistoryFile) -> None:
    history.add(outcome(client_addr="10.0.0.1"))
    assert find(history) == 1


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        newest_id(tmp_path / "nothing.db")
