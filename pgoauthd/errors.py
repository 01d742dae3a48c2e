"""The exceptions of pgoauthd: broken machinery and bad input from people, never a refused token.

A refused token is a value (`tokens.verdict.Verdict` with a `Reason`). The tree:

    PgoauthdError
    ├── ConfigError          the configuration file cannot be used; carries every problem found
    ├── LogFormatError       a log, or a log_line_prefix, cannot be read as what it is said to be
    ├── IdentFileError       a pg_ident.conf cannot be used: the server would not take it either
    ├── StateError           the saved state cannot be used
    ├── SocketError          an address to listen on cannot be used: the validation socket or web.listen
    └── DemoError            the demo lacks something; the message says what to install
"""

from __future__ import annotations

from dataclasses import dataclass


class PgoauthdError(Exception):
    """The root of all errors that pgoauthd raises on purpose; its text says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: where (a dotted key or `line N`), what, and the remedy."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


class ConfigError(PgoauthdError):
    """The configuration file cannot be used; `problems` holds all that was found, at least one."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


class LogFormatError(PgoauthdError):
    """A log, or a log_line_prefix, cannot be read as what it is said to be."""


class IdentFileError(PgoauthdError):
    """A pg_ident.conf cannot be used: it cannot be read, or the server would not take it either."""


class StateError(PgoauthdError):
    """The saved state is damaged, from a newer version, or held by another daemon."""


class SocketError(PgoauthdError):
    """The validation socket or web.listen cannot be opened, or another daemon answers there."""


class DemoError(PgoauthdError):
    """The demo lacks something; the message says what to install."""
