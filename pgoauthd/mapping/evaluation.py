r"""What the server will do with a login that a map decides: the first line that matches, or why none does.

PostgreSQL asks the lines of a map in their order and stops at the first that matches, or at one whose `\1` stands for
nothing. A file with one bad line is not taken: the server keeps what it had. Nothing is read here.
"""

from __future__ import annotations

from pgoauthd.mapping.identline import Answer, Entry, Login, Says, shown_name, tried
from pgoauthd.mapping.identmap import IdentMap, Lines
from pgoauthd.mapping.nearest import find_nearest
from pgoauthd.mapping.prediction import MAX_TRIED, Expected, MapPrediction, TriedLine

_FINAL = frozenset({Says.YES, Says.STOPS})
_PERHAPS = frozenset({Says.PERHAPS, Says.PERHAPS_STOPS})


def predict(ident_map: IdentMap, map_name: str, identity: str, role: str) -> MapPrediction:
    r"""What the server will do with a login whose line of pg_hba.conf has `map=map_name`."""
    if ident_map.problem is not None:
        message = (
            f"It cannot be said what the server's map is, because it takes no file with an error: {ident_map.problem}."
        )
        return MapPrediction(expected=Expected.UNKNOWN, map=map_name, message=message)
    login = Login.of(identity, role)
    unsure: list[tuple[Entry, Answer]] = []
    lines = ident_map.maps.get(map_name) or Lines()
    question = _Question(ident_map, map_name, login, lines)
    for entry in lines.for_identity(login.identity):
        answer = entry.ask(login)
        if answer.says in _FINAL:
            return _decided(entry, answer, unsure, question)
        if answer.says in _PERHAPS:
            unsure.append((entry, answer))
    return question.unknown(*unsure[0]) if unsure else question.no_match()


def _decided(entry: Entry, answer: Answer, unsure: list[tuple[Entry, Answer]], question: _Question) -> MapPrediction:
    """A line ends the search; one before it, of which only the server knows, may have ended it already."""
    if answer.says is Says.YES:
        stops = next((it for it in unsure if it[1].says is Says.PERHAPS_STOPS), None)
        return question.match(entry, unsure) if stops is None else question.unknown(*stops)
    return question.unknown(*unsure[0]) if unsure else question.stopped(entry, answer)


class _Question:
    """A login that is asked for, and the words of the answers to it."""

    def __init__(self, ident_map: IdentMap, map_name: str, login: Login, lines: Lines) -> None:
        self._ident_map = ident_map
        self._map = map_name
        self._login = login
        self._lines = lines
        identity, role = (shown_name(name.decode("utf-8", "replace")) for name in (login.identity, login.role))
        self._map_shown = shown_name(map_name)
        self._lets = f"lets {identity} be {role}"

    def match(self, entry: Entry, unsure: list[tuple[Entry, Answer]]) -> MapPrediction:
        line = entry.line
        perhaps = f", if line {unsure[0][0].line.number} does not already" if unsure else ""
        return MapPrediction(
            expected=Expected.MATCH,
            map=self._map,
            message=f"Line {line.number} of {line.file}: map {self._map_shown} {self._lets}{perhaps}.",
            file=line.file,
            line=line.number,
        )

    def unknown(self, entry: Entry, answer: Answer) -> MapPrediction:
        line = entry.line
        return MapPrediction(
            expected=Expected.UNKNOWN,
            map=self._map,
            message=f"Whether map {self._map_shown} {self._lets} hangs on line {line.number} of {line.file}: "
            f"{answer.why}.",
            tried=self._tried(),
        )

    def stopped(self, entry: Entry, answer: Answer) -> MapPrediction:
        line = entry.line
        return MapPrediction(
            expected=Expected.NO_MATCH,
            map=self._map,
            message=f"The server stops looking at line {line.number} of {line.file}: {answer.why}; "
            "correct the line, or move it behind the others.",
            tried=self._tried(),
            nearest=tried(entry, answer.why),
        )

    def no_match(self) -> MapPrediction:
        nearest = find_nearest(self._ident_map.maps, self._map, self._login)
        if nearest is not None:
            advice = f"nearest is line {nearest.line} of {nearest.file}: {nearest.why}"
        else:
            advice = "add a line for the identity and the role"
        where = self._ident_map.path
        if self._lines.entries:
            said = f"No line of map {self._map_shown} in {where} {self._lets}; {advice}."
        else:
            said = f"There is no map {self._map_shown} in {where}; {advice}."
        return MapPrediction(
            expected=Expected.NO_MATCH, map=self._map, message=said, tried=self._tried(), nearest=nearest
        )

    def _tried(self) -> tuple[TriedLine, ...]:
        first = self._lines.entries[:MAX_TRIED]
        return tuple(tried(entry, entry.ask(self._login).why or "it would let the login in") for entry in first)
