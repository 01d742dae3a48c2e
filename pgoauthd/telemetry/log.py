"""The daemon's own log: readable on a terminal, JSON otherwise, and never a token in it; never decides what to say.

A line passes two nets. Values under keys that name a secret are replaced whatever they are; and the finished line, with
its traceback and whatever a library put into it, is searched for runs that look like a token.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections import OrderedDict
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

REDACTED = "[redacted]"

SECRET_KEYS = frozenset(
    {
        "access_token",
        "assertion",
        "authorization",
        "client_secret",
        "id_token",
        "password",
        "proxy-authorization",
        "refresh_token",
        "secret",
        "token",
    }
)
"""Keys whose values are never shown, compared without case."""

_TOKEN_LIKE = re.compile(
    # base64url of `{"`: the beginning of nearly every JOSE header, even where the rest was cut off
    r"eyJ[A-Za-z0-9_-]{4,}[A-Za-z0-9_.=-]*"
    # three runs with dots: a compact JWS whose header begins otherwise. The last is the signature; no HMAC or
    # better is shorter than 43 characters, and few host names have a last label of 40.
    r"|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{2,}+\.[A-Za-z0-9_-]{40,}+"
    # RFC 6750 section 2.1; 20 characters, so that a sentence on bearer tokens stays readable
    r"|(?<=(?i:bearer) )\s*[A-Za-z0-9._~+/-]{20,}+=*"
)


REPEAT_SECONDS = 10.0
"""A library says the same thing once in so long."""
MAX_REMEMBERED = 100
"""Different sayings of libraries; those of asyncio are few."""


def configure(level: str, log_format: str, stream: TextIO) -> FilteringBoundLogger:
    """Set up logging for the process: ours and, through the standard library's root logger, that of the libraries.

    Args:
        level: debug, info, warning, error or critical.
        log_format: auto (text on a terminal, JSON otherwise), text or json.
        stream: where lines go; coloured only on a terminal.

    Returns:
        The logger to hand to whoever logs; there is no global one.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    terminal = stream.isatty()
    as_json = log_format == "json" or (log_format == "auto" and not terminal)
    shared = _JSON_STEPS if as_json else _TEXT_STEPS
    render = _rendered_and_redacted(
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
    )
    _route_standard_logging(threshold, shared, render, stream)
    logger = structlog.wrap_logger(
        _PatientWriter(stream),
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast("FilteringBoundLogger", logger)


class _PatientWriter:
    """Writes lines; one that cannot be written is dropped: a full disk or a lost terminal must not stop logins."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(f"{line}\n")
            self._stream.flush()

    log = debug = info = warning = warn = error = critical = exception = fatal = msg


def redact(text: str) -> str:
    """The text with everything that looks like a token, or a beginning of one, replaced."""
    return _TOKEN_LIKE.sub(REDACTED, text)


def frames_of(error: BaseException) -> list[str]:
    """Where an error was raised, for where its text must stay out of the log: a token or a secret may be in it."""
    return [f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(error.__traceback__)]


def _hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return cast("MutableMapping[str, Any]", _without_secrets(event))


def _without_secrets(value: object) -> object:
    if isinstance(value, MutableMapping):
        return {
            key: REDACTED if isinstance(key, str) and key.lower() in SECRET_KEYS else _without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value


def _escape_controls(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return cast("MutableMapping[str, Any]", _without_controls(event))


def _without_controls(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, MutableMapping):
        return {key: _without_controls(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_controls(inner) for inner in value]
    return value


def _escape_in_traceback(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if isinstance(event.get("exception"), str):
        event["exception"] = "\n".join(printable(line) for line in event["exception"].split("\n"))
    return event


def printable(text: str) -> str:
    """Controls, other line ends and changes of direction escaped: users choose role names, and terminals obey them."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


_JSON_STEPS: tuple[Processor, ...] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _hide_secrets,
    # the plain traceback of the standard library: without the values of local variables
    structlog.processors.format_exc_info,
)

_TEXT_STEPS: tuple[Processor, ...] = (_escape_controls, *_JSON_STEPS, _escape_in_traceback)
"""JSON escapes all but ASCII by itself. Tracebacks come after, so that they keep their lines."""


def _rendered_and_redacted(render: Processor) -> Processor:
    def render_line(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        return redact(str(render(logger, method, event)))

    return render_line


class _SeldomTheSame(logging.Filter):
    """Lets a message of asyncio through once in REPEAT_SECONDS, with how many were held back.

    Where no descriptor is left, asyncio says so for each connection that it cannot accept, and the disk would fill.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """When last, and how many times since, by message."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to say it; the count is added to the message."""
        if record.name != "asyncio" or record.levelno < logging.WARNING:
            return True
        message = record.getMessage()
        said_at, held_back = self._said.get(message, (-math.inf, 0))
        if abs(record.created - said_at) < REPEAT_SECONDS:
            self._said[message] = (said_at, held_back + 1)
            return False
        self._said[message] = (record.created, 0)
        self._said.move_to_end(message)
        if len(self._said) > MAX_REMEMBERED:
            self._said.popitem(last=False)
        if held_back:
            record.msg, record.args = f"{message} ({held_back} more times since it was last said)", None
        return True


def _route_standard_logging(threshold: int, shared: tuple[Processor, ...], render: Processor, stream: TextIO) -> None:
    """Let aiohttp, asyncio and warnings speak in the same format: warnings and worse, and all of it at level debug."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(_SeldomTheSame())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold if threshold <= logging.DEBUG else max(threshold, logging.WARNING))
    # Where a watch is ended just when something happens, watchdog calls that an error; its work is a hint only.
    logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
