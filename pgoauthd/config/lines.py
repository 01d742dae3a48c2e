"""Where the keys and tables of a TOML text stand, so that a problem has a line; never reads a value.

It looks at the text line by line: what it cannot place gets the line of its table.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pgoauthd.errors import Problem

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAMES = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"\s*(?P<list>\[)?\[\s*(?P<names>{_NAMES})\s*\]\]?\s*(?:#.*)?")
_INDEX_AT_END = re.compile(r"\[\d+\]$")
_KEY = re.compile(rf"\s*(?P<names>{_NAMES})\s*=")


class Lines:
    """The lines of keys and tables, by dotted path with the index of each table of a list."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), 1):
            if (header := _HEADER.fullmatch(line)) is not None:
                table = self._enter(_split(header["names"]), is_list=header["list"] is not None)
                self._lines.setdefault(table, number)
                self._lines.setdefault(_INDEX_AT_END.sub("", table), number)
            elif (key := _KEY.match(line)) is not None:
                self._place(table, _split(key["names"]), number)

    def of(self, where: str) -> int | None:
        """The line of a key or, where it is not there, of the table that lacks it."""
        while where:
            key, _, index = where.rpartition("[")
            line = self._lines.get(where) or (self._lines.get(key) if index.endswith("]") else None)
            if line is not None:
                return line
            where = where.rpartition(".")[0]
        return None

    def tell(self, problem: Problem) -> Problem:
        """The problem with its line."""
        line = self.of(problem.where)
        return problem if line is None else replace(problem, where=f"line {line}, {problem.where}")

    def _place(self, table: str, names: list[str], number: int) -> None:
        path = table
        for name in names:
            path = f"{path}.{name}".lstrip(".")
            self._lines.setdefault(path, number)

    def _enter(self, names: list[str], *, is_list: bool) -> str:
        """The path of a table, with the index of each list of tables that it is in."""
        path = ""
        *outer, last = names
        for name in outer:
            path = f"{path}.{name}".lstrip(".")
            path += f"[{self._counts[path] - 1}]" if path in self._counts else ""
        path = f"{path}.{last}".lstrip(".")
        if not is_list:
            return path
        self._counts[path] = self._counts.get(path, 0) + 1
        return f"{path}[{self._counts[path] - 1}]"


def _split(names: str) -> list[str]:
    return [name.strip("\"'") for name in re.findall(_NAME, names)]
