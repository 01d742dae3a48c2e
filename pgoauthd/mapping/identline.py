"""One line of a map asked about one login: its answer, and the words for it; knows nothing of other lines."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from pgoauthd.mapping.arespans import Doubt, Effort
from pgoauthd.mapping.aretree import InvalidExpressionError, UnsureExpressionError
from pgoauthd.mapping.identfile import IdentLine, Token, shown
from pgoauthd.mapping.pgregex import PgRegex
from pgoauthd.mapping.prediction import TriedLine

BACK_REFERENCE = b"\\1"
MAX_NAME_CHARS = 100


class Says(Enum):
    """What a line says to an identity that asks for a role."""

    YES = auto()
    NO_IDENTITY = auto()
    """It is for other identities."""
    NO_ROLE = auto()
    """It is for the identity, and gives it another role."""
    STOPS = auto()
    """Its `\\1` stands for nothing: the server gives up, and looks at no further line."""
    PERHAPS = auto()
    """It matches or it does not."""
    PERHAPS_STOPS = auto()
    """It may also make the server give up."""


class Answer(NamedTuple):
    """What a line says, and why."""

    says: Says
    why: str


class Login(NamedTuple):
    """An identity that asks for a role, as the server has them: bytes; and what the answer may cost."""

    identity: bytes
    role: bytes
    effort: Effort

    @classmethod
    def of(cls, identity: str, role: str) -> Login:
        """From texts."""
        return cls(in_bytes(identity), in_bytes(role), Effort())

    def lowered(self) -> Login:
        """The same login, had the identity no capital letters."""
        return Login(self.identity.lower(), self.role, self.effort.for_another())


_YES = Answer(Says.YES, "")


class Unsure(NamedTuple):
    """An expression that only PostgreSQL understands."""

    why: str


class Entry:
    """A line, ready to be asked. InvalidExpressionError where the server would refuse it."""

    __slots__ = ("gives_all", "line", "member_of", "role", "role_regex", "system", "system_regex")

    def __init__(self, line: IdentLine) -> None:
        self.line = line
        self.system = in_bytes(line.system.text)
        self.role = in_bytes(line.role.text)
        # quotes take the meaning from all and +, and leave it to the slash
        self.gives_all = not line.role.quoted and self.role == b"all"
        self.member_of = self.role[1:] if not line.role.quoted and self.role.startswith(b"+") else None
        self.system_regex = _regex(line.system)
        self.role_regex = _regex(line.role)

    def ask(self, login: Login) -> Answer:
        """What this line says to a login."""
        given = self.for_identity(login.identity, login.effort)
        return given if isinstance(given, Answer) else self._ask_role(given, login.role)

    def for_identity(self, identity: bytes, effort: Effort) -> bytes | Answer:
        r"""The line's third field for an identity, `\1` being replaced, or why the line gives it nothing."""
        if self.system_regex is None:
            if self.system != identity:
                return Answer(Says.NO_IDENTITY, f"its identity {named(self.system)} is another")
            return self.role
        if isinstance(self.system_regex, Unsure):
            says = Says.PERHAPS_STOPS if self._substitutes else Says.PERHAPS
            return Answer(says, f"only PostgreSQL knows its expression for identities: {self.system_regex.why}")
        if not self.system_regex.matches(identity):
            return Answer(Says.NO_IDENTITY, f"its expression does not match {named(identity)}")
        return self._substituted(identity, self.system_regex, effort) if self._substitutes else self.role

    @property
    def _substitutes(self) -> bool:
        r"""Whether `\1` stands for the first group: not in what has another meaning already."""
        return self.member_of is None and self.role_regex is None and BACK_REFERENCE in self.role

    def _substituted(self, identity: bytes, regex: PgRegex, effort: Effort) -> bytes | Answer:
        try:
            span = regex.first_capture(identity, effort).span
        except Doubt:
            return Answer(Says.PERHAPS_STOPS, r"only PostgreSQL knows which part of the identity its \1 is")
        if span is None:
            return Answer(Says.STOPS, r"its \1 stands for nothing, because its expression has no (…) that took part")
        return self.role.replace(BACK_REFERENCE, identity[slice(*span)], 1)

    def _ask_role(self, given: bytes, role: bytes) -> Answer:
        if self.member_of is not None:
            return Answer(Says.PERHAPS, f"it is for members of {named(self.member_of)}, whom only the server knows")
        if self.gives_all:
            return _YES
        if isinstance(self.role_regex, Unsure):
            return Answer(Says.PERHAPS, f"only PostgreSQL knows its expression for roles: {self.role_regex.why}")
        if self.role_regex is not None:
            if self.role_regex.matches(role):
                return _YES
            return Answer(Says.NO_ROLE, f"its expression for roles does not match {named(role)}")
        if given == role:
            return _YES
        return Answer(Says.NO_ROLE, f"it gives the role {named(given)}, asked was {named(role)}")


def _regex(token: Token) -> PgRegex | Unsure | None:
    """The expression after a slash, quoted or not."""
    if not token.text.startswith("/"):
        return None
    try:
        return PgRegex(in_bytes(token.text[1:]))
    except UnsureExpressionError as unsure:
        return Unsure(str(unsure))
    except InvalidExpressionError as invalid:
        raise InvalidExpressionError(
            f"invalid regular expression {named(in_bytes(token.text[1:]))}: {invalid}"
        ) from None


def in_bytes(text: str) -> bytes:
    """As the file or the connection had it."""
    return text.encode("utf-8", "surrogateescape")


def named(name: bytes) -> str:
    """A name in quotes for a sentence, cut where it is long."""
    text = name.decode("utf-8", "replace")
    return f'"{text if len(text) <= MAX_NAME_CHARS else f"{text[:MAX_NAME_CHARS]}…"}"'


def shown_name(text: str) -> str:
    """The same of a text."""
    return named(in_bytes(shown(text)))


def tried(entry: Entry, why: str) -> TriedLine:
    """The line for a prediction."""
    return TriedLine(file=entry.line.file, line=entry.line.number, text=entry.line.text, why=why)
