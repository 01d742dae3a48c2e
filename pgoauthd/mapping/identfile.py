"""The lines of a pg_ident.conf and of what it includes, as PostgreSQL 18 divides them; opens no file itself.

Rules: PostgreSQL documentation 20.1 and 20.2; what they leave open was tried on the server (tests/mapping).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

MAX_DEPTH = 10
"""Of files that include files; the server's own limit."""
MAX_FILES = 1_000
MAX_LINES = 100_000
MAX_CHARS = 8 << 20
"""Of all files together, each as often as it is read."""
MAX_TEXT_CHARS = 200

_NEXT = re.compile(r'[ \t\r,]*+(?:((?:"(?:[^"]|"")*+"?|[^ \t\r,#"])++)(,?)|#.*|$)')
"""A token, quotes and all, and the comma right behind it; or a comment, or the end."""
_QUOTED = re.compile(r'"((?:[^"]|"")*+)"?')
_INCLUDES = frozenset({"include", "include_if_exists", "include_dir"})
_CONF = ".conf"


class Token(msgspec.Struct, frozen=True):
    """A name without its quotes; `quoted` where it began with one, which takes the meaning from `all` and `+`."""

    text: str
    quoted: bool


class IdentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `number` counts from 1; of a line that goes on after a backslash it is the first."""

    file: str
    number: int
    text: str
    """As in the file, continued lines joined, at most MAX_TEXT_CHARS."""
    map: str
    system: Token
    role: Token


class BadLine(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the server refuse the whole file; `number` is None where it is a file itself."""

    file: str
    number: int | None
    why: str

    def __str__(self) -> str:
        where = self.file if self.number is None else f"line {self.number} of {self.file}"
        return f"{where}: {self.why}"


class IdentFile(msgspec.Struct, frozen=True):
    """A file with all that it includes. The server takes none of the lines if one is bad."""

    lines: tuple[IdentLine, ...]
    bad: tuple[BadLine, ...]


class Unreadable(msgspec.Struct, frozen=True):
    """Why a file or directory cannot be read."""

    why: str
    missing: bool = False


Read = Callable[[str], str | Unreadable]
"""The text of the file at a path; bytes that are no UTF-8 as surrogates (`surrogateescape`)."""
ListDirectory = Callable[[str], Sequence[str] | Unreadable]
"""The names in the directory at a path, but for those of directories."""


class _Row(NamedTuple):
    """A line in fields, each of one token or more."""

    file: str
    number: int
    text: str
    fields: list[list[Token]]
    error: str | None


class _TooMuch(Exception):  # noqa: N818 - a bound, not an error
    pass


def read_ident_file(path: str, read: Read, list_directory: ListDirectory) -> IdentFile:
    """Read the file at `path` and all that it includes; what is wrong is in `bad`."""
    reading = _Reading(read, list_directory)
    try:
        rows = reading.open(path, 0)
    except _TooMuch as bound:
        return IdentFile((), (BadLine(file=path, number=None, why=str(bound)),))
    if isinstance(rows, Unreadable):
        return IdentFile((), (BadLine(file=path, number=None, why=rows.why),))
    entries = [_entry(row) for row in rows]
    return IdentFile(
        tuple(entry for entry in entries if isinstance(entry, IdentLine)),
        tuple(entry for entry in entries if isinstance(entry, BadLine)),
    )


def _entry(row: _Row) -> IdentLine | BadLine:
    """The line's names; fields after the third are ignored, as the server does."""
    error = row.error
    names = row.fields[:3]
    if error is None and any(len(field) > 1 for field in names):
        error = "a field holds several names: quote the comma, or write a line for each"
    if error is None and len(names) < 3:  # noqa: PLR2004 - map, system user, role
        error = "it must have three fields: map, system user, role"
    if error is not None:
        return BadLine(file=shown(row.file), number=row.number, why=shown(error))
    (name,), (system,), (role,) = names
    text = shown(row.text)[:MAX_TEXT_CHARS]
    return IdentLine(file=shown(row.file), number=row.number, text=text, map=name.text, system=system, role=role)


def shown(text: str) -> str:
    """The text with a mark for each byte that was no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _Reading:
    """One pass over a file and its includes."""

    def __init__(self, read: Read, list_directory: ListDirectory) -> None:
        self._read = read
        self._list_directory = list_directory
        self._files = 0
        self._lines = 0
        self._chars = 0

    def open(self, path: str, depth: int) -> list[_Row] | Unreadable:
        """The rows of a file and of those that it includes."""
        if depth > MAX_DEPTH:
            return Unreadable(f"files include each other more than {MAX_DEPTH} deep")
        self._files += 1
        if self._files > MAX_FILES:
            raise _TooMuch(f"it includes more than {MAX_FILES:,} files")
        text = self._read(path)
        if isinstance(text, Unreadable):
            return text
        self._chars += len(text)
        if self._chars > MAX_CHARS:
            raise _TooMuch(f"it has more than {MAX_CHARS:,} characters with all that it includes")
        if "\0" in text:
            return Unreadable("holds a NUL character, so it is no text")
        return self._rows(path, text, depth)

    def _rows(self, path: str, text: str, depth: int) -> list[_Row]:
        rows: list[_Row] = []
        for number, line in _logical_lines(text):
            fields, error = self._fields(line, path, depth)
            if error is None:
                if not fields:
                    continue
                if len(fields) == 2 and fields[0][0].text in _INCLUDES:  # noqa: PLR2004 - the word and the file
                    error = self._include(fields[0][0].text, fields[1][0].text, path, depth, rows)
                    if error is None:
                        continue
            self._lines += 1
            if self._lines > MAX_LINES:
                raise _TooMuch(f"it has more than {MAX_LINES:,} lines")
            rows.append(_Row(path, number, line, fields, error))
        return rows

    def _fields(self, line: str, path: str, depth: int) -> tuple[list[list[Token]], str | None]:
        """The fields of a line; names joined by commas are one field, and @FILE stands for the names in a file."""
        fields: list[list[Token]] = []
        field: list[Token] = []
        at = 0
        while (found := _NEXT.match(line, at)) is not None and found[1] is not None:
            at = found.end()
            token = _token(found[1])
            if not token.quoted and len(token.text) > 1 and token.text[0] == "@":
                names = self._names(token.text[1:], path, depth)
                if isinstance(names, str):
                    return fields, names
                field += names
            else:
                field.append(token)
            if not found[2]:
                fields += [field] if field else []
                field = []
        return fields + ([field] if field else []), None

    def _names(self, name: str, path: str, depth: int) -> list[Token] | str:
        """All names in the file that @ refers to, or what is wrong with it."""
        inner = _location(name, path)
        rows = self.open(inner, depth + 1)
        if isinstance(rows, Unreadable):
            return f"{inner}: {rows.why}"
        for row in rows:
            if row.error is not None:
                return f"line {row.number} of {row.file}: {row.error}"
        return [token for row in rows for field in row.fields for token in field]

    def _include(self, word: str, name: str, path: str, depth: int, rows: list[_Row]) -> str | None:
        """Append the rows of what is included; what is wrong with it."""
        if word == "include_dir":
            return self._include_directory(name, path, depth, rows)
        return self._include_file(_location(name, path), depth, rows, optional=word == "include_if_exists")

    def _include_file(self, path: str, depth: int, rows: list[_Row], *, optional: bool = False) -> str | None:
        inner = self.open(path, depth + 1)
        if isinstance(inner, Unreadable):
            return None if optional and inner.missing else f"{path}: {inner.why}"
        rows += inner
        return None

    def _include_directory(self, name: str, path: str, depth: int, rows: list[_Row]) -> str | None:
        if not name.strip(" \t\r\n"):
            return "include_dir has an empty name"
        directory = _location(name, path)
        names = self._list_directory(directory)
        if isinstance(names, Unreadable):
            return f"{directory}: {names.why}"
        for inner in sorted((name for name in names if _is_included(name)), key=_bytes):
            if (error := self._include_file(posixpath.join(directory, inner), depth, rows)) is not None:
                return error
        return None


def _is_included(name: str) -> bool:
    return name.endswith(_CONF) and len(name) > len(_CONF) and not name.startswith(".")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _location(name: str, calling_file: str) -> str:
    """A path as the server finds it: relative to the directory of the file that names it."""
    if name.startswith("/"):
        return name
    return posixpath.normpath(posixpath.join(posixpath.dirname(calling_file), name))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with the number of their first; a backslash at the end of one joins the next to it."""
    number, continued, joined = 1, 0, ""
    least = 0
    for line in text.split("\n"):
        joined = (joined + line).rstrip("\r\n")
        if len(joined) > least and joined.endswith("\\"):
            joined = joined[:-1]
            least = len(joined)
            continued += 1
            continue
        yield number, joined
        number, continued, joined, least = number + continued + 1, 0, "", 0
    if continued:
        yield number, joined


def _token(raw: str) -> Token:
    if '"' not in raw:
        return Token(raw, quoted=False)
    return Token(_QUOTED.sub(lambda found: found[1].replace('""', '"'), raw), quoted=raw[0] == '"')
