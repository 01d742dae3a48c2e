"""A whole pg_ident.conf, its maps by name, ready to be asked quickly; answers nothing itself and reads no files."""

from __future__ import annotations

from collections import defaultdict

from pgoauthd.mapping.aretree import InvalidExpressionError
from pgoauthd.mapping.identfile import BadLine, IdentFile
from pgoauthd.mapping.identline import Entry


class Lines:
    """The entries of one map name in order, with a way to those that may be for an identity."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._of_identity: defaultdict[bytes, list[int]] = defaultdict(list)
        self._of_many: list[int] = []

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        place = self._of_many if entry.system_regex is not None else self._of_identity[entry.system]
        place.append(len(self.entries))
        self.entries.append(entry)

    def for_identity(self, identity: bytes) -> list[Entry]:
        """Those that name this identity, and those with an expression, in order."""
        named = self._of_identity.get(identity, [])
        return [self.entries[at] for at in (sorted(named + self._of_many) if named else self._of_many)]


class IdentMap:
    """A pg_ident.conf ready to be asked. `problem` says why it cannot be; then the server has not taken it either."""

    def __init__(self, path: str, ident_file: IdentFile) -> None:
        self.path = path
        self.maps: defaultdict[str, Lines] = defaultdict(Lines)
        self.bad = list(ident_file.bad)
        for line in ident_file.lines:
            try:
                self.maps[line.map].add(Entry(line))
            except InvalidExpressionError as invalid:
                self.bad.append(BadLine(file=line.file, number=line.number, why=str(invalid)))

    @property
    def problem(self) -> str | None:
        """The first thing that is wrong."""
        return str(self.bad[0]) if self.bad else None
