from __future__ import annotations

import datetime as dt
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pgoauthd.telemetry.log import REDACTED, configure, redact
from tests.fix_log import logging_restored
from tests.fix_tokens import mint, signing_key

NOW = 1_795_310_000.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _standard_logging_restored() -> Iterator[None]:
    with logging_restored():
        yield


def json_line(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def failing(message: str) -> None:
    local_variable = len(message) * "hunter2"
    assert local_variable
    raise ValueError(message)


TOKENS = [
    mint(NOW),
    mint(NOW, key=signing_key("ec-256", "ES256")),
    mint(NOW)[:40],
    mint(NOW).split(".")[0],
    "ewogImFsZyI6ICJSUzI1NiIKfQ." + ".".join(mint(NOW).split(".")[1:]),
]


def test_a_line_is_json_with_level_event_and_time_in_rfc_3339() -> None:
    stream = io.StringIO()
    configure("info", "json", stream).info("keys_fetched", issuer="id", keys=2)
    line = json_line(stream)
    assert (line["event"], line["level"], line["issuer"], line["keys"]) == ("keys_fetched", "info", "id", 2)
    assert line["timestamp"].endswith("Z")
    assert dt.datetime.fromisoformat(line["timestamp"]).tzinfo is dt.UTC


def test_auto_is_json_where_nobody_reads_along() -> None:
    stream = io.StringIO()
    configure("info", "auto", stream).info("started")
    assert json_line(stream)["event"] == "started"


def test_auto_is_coloured_text_on_a_terminal() -> None:
    stream = Terminal()
    configure("info", "auto", stream).info("started", issuer="id")
    assert "started" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_text_without_a_terminal_has_no_colours() -> None:
    stream = io.StringIO()
    configure("info", "text", stream).info("started", issuer="id")
    assert "issuer=id" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_what_is_below_the_level_is_not_said() -> None:
    stream = io.StringIO()
    log = configure("warning", "json", stream)
    log.info("too_much")
    log.warning("enough")
    assert json_line(stream)["event"] == "enough"


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("token", TOKENS)
def test_no_token_is_said_wherever_it_hides(log_format: str, token: str) -> None:
    stream = io.StringIO()
    log = configure("debug", log_format, stream)
    event = f"got {token}"
    log.info(event, value=token, nested={"a": [token]}, data=token.encode(), header=f"Bearer {token}")
    try:
        failing(f"cannot read {token}")
    except ValueError:
        log.exception("failed")
        logging.getLogger("aiohttp.server").exception("Error handling request %s", token)
    said = stream.getvalue()
    assert len(said.splitlines()) >= 3
    assert token not in said
    assert token[:24] not in said
    assert REDACTED in said


@pytest.mark.parametrize(
    "key", ["token", "Authorization", "client_secret", "PASSWORD", "access_token", "refresh_token", "assertion"]
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_values_of_secret_keys_are_never_said(key: str, log_format: str) -> None:
    stream = io.StringIO()
    configure("info", log_format, stream).info("event", **{key: "hunter2"}, nested=[{key: "hunter2"}], other="shown")
    assert "hunter2" not in stream.getvalue()
    assert "shown" in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "Bearer token is empty.",
        "https://id.example.org/realms/database/.well-known/openid-configuration",
        "pgoauthd.runtime.callout",
        "/etc/postgresql/18/main/pg_hba.conf:12",
        "0d5ee2b2-aaaa-4bbb-8ccc-0123456789ab",
        "very-long-subdomain.kubernetes-services.default.svc.cluster.local",
        "a bearer of good-news",
        "eyjafjallajokull",
        "68a1b2c3.1f4",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_an_opaque_bearer_token_is_redacted_by_its_scheme() -> None:
    assert redact("Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA-and-more") == f"Authorization: Bearer {REDACTED}"


def test_a_long_run_is_redacted_in_good_time() -> None:
    text = "a" * 200_000 + "." + "b" * 200_000
    assert redact(text) == text


def test_a_traceback_shows_no_local_variables() -> None:
    stream = io.StringIO()
    log = configure("info", "text", stream)
    try:
        failing("broken")
    except ValueError:
        log.exception("failed")
    assert "ValueError: broken" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_control_characters_of_users_do_not_reach_a_terminal(log_format: str) -> None:
    stream = io.StringIO()
    configure("info", log_format, stream).info("login", role="eve\x1b[2J\nevent=faked\x9b31m")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()
    assert "\x9b" not in stream.getvalue()


HIDDEN = ["\u202e", "\u2066", "\u2028", "\u2029", "\u0085", "\u200b", "\ufeff", "\x7f", "\x1b", "\r", "\udc80"]


@pytest.mark.parametrize("char", HIDDEN)
@pytest.mark.parametrize("where", ["value", "list", "mapping", "event", "traceback"])
def test_text_shows_what_cannot_be_seen_as_an_escape(char: str, where: str) -> None:
    stream = io.StringIO()
    log = configure("info", "text", stream)
    said = f"eve{char}mallory"
    match where:
        case "value":
            log.info("login", role=said)
        case "list":
            log.info("login", roles=[said])
        case "mapping":
            log.info("login", about={"role": said})
        case "event":
            logging.getLogger("asyncio").error(said)
        case _:
            try:
                failing(said)
            except ValueError:
                log.exception("failed")
    assert char not in stream.getvalue()
    assert "mallory" in stream.getvalue()


@pytest.mark.parametrize("char", [char for char in HIDDEN if char != "\x7f"])
def test_json_escapes_what_cannot_be_seen(char: str) -> None:
    stream = io.StringIO()
    configure("info", "json", stream).info("login", role=f"eve{char}")
    assert char not in stream.getvalue()
    assert json.loads(stream.getvalue())["role"] == f"eve{char}"


def test_letters_of_the_world_stay_as_they_are_in_text() -> None:
    stream = io.StringIO()
    configure("info", "text", stream).info("login", role="zoë 田中 🎉")
    assert "zoë 田中 🎉" in stream.getvalue()


def at(seconds: float, message: str = "socket.accept() out of system resource", name: str = "asyncio") -> None:
    record = logging.makeLogRecord({"name": name, "levelno": logging.ERROR, "levelname": "ERROR", "msg": message})
    record.created = 1_795_310_000.0 + seconds
    logging.getLogger(name).handle(record)


def test_the_same_complaint_of_asyncio_is_said_once_in_ten_seconds_with_its_count() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    for tenth in range(200):
        at(tenth / 10)
    lines = [json.loads(line)["event"] for line in stream.getvalue().split("\n") if line]
    assert lines == [
        "socket.accept() out of system resource",
        "socket.accept() out of system resource (99 more times since it was last said)",
    ]


def test_different_complaints_and_those_of_others_are_all_said() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    at(0, "one")
    at(0, "two")
    at(0, "one", name="aiohttp.server")
    at(0, "one", name="aiohttp.server")
    assert stream.getvalue().count("\n") == 4


def test_a_clock_that_was_set_back_silences_nobody() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    at(0)
    at(-86_400)
    assert stream.getvalue().count("\n") == 2


def test_complaints_that_are_all_different_take_no_memory_and_are_said() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    for number in range(300):
        at(0, f"complaint {number}")
    assert stream.getvalue().count("\n") == 300


def test_libraries_speak_in_the_same_format() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("asyncio").error("socket.accept() out of system resource")
    line = json_line(stream)
    assert (line["event"], line["level"], line["logger"]) == (
        "socket.accept() out of system resource",
        "error",
        "asyncio",
    )
    assert "timestamp" in line


def test_chatter_of_libraries_is_for_debugging_alone() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("asyncio").info("Using selector")
    assert not stream.getvalue()
    configure("debug", "json", stream)
    logging.getLogger("asyncio").info("Using selector")
    assert json_line(stream)["event"] == "Using selector"


def test_a_watch_that_was_ended_just_when_something_happened_is_no_error() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("watchdog.observers.inotify").error("InotifyEmitter.queue_events() called when inactive")
    assert stream.getvalue() == ""


def test_warnings_are_logged() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("this will go away", DeprecationWarning, stacklevel=1)
    assert json_line(stream)["logger"] == "py.warnings"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_every_level_of_the_configuration_is_known(level: str) -> None:
    stream = io.StringIO()
    configure(level, "json", stream).critical("said")
    assert json_line(stream)["level"] == "critical"
