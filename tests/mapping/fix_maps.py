"""Maps in memory, and random ones that are the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pgoauthd.mapping.arespans import Effort
from pgoauthd.mapping.aretree import InvalidExpressionError, UnsureExpressionError
from pgoauthd.mapping.identfile import Unreadable, read_ident_file
from pgoauthd.mapping.identline import Answer, in_bytes
from pgoauthd.mapping.identmap import IdentMap
from pgoauthd.mapping.pgregex import PgRegex

PATH = "/etc/postgresql/pg_ident.conf"


class Files:
    """Files and directories that are only in memory."""

    def __init__(self, **files: str) -> None:
        self.files = {name if name.startswith("/") else f"/etc/postgresql/{name}": text for name, text in files.items()}

    def __setitem__(self, path: str, text: str) -> None:
        self.files[path] = text

    def read(self, path: str) -> str | Unreadable:
        return self.files.get(path, Unreadable("No such file or directory", missing=True))

    def list_directory(self, path: str) -> list[str] | Unreadable:
        names = [name.removeprefix(f"{path}/") for name in self.files if name.startswith(f"{path}/")]
        return [name for name in names if "/" not in name] or Unreadable("No such file or directory", missing=True)


def ident_map(text: str) -> IdentMap:
    """The map of a file without includes."""
    files = Files()
    files[PATH] = text
    return IdentMap(PATH, read_ident_file(PATH, files.read, files.list_directory))


@dataclass(frozen=True, slots=True)
class Case:
    """Lines of one map, without its name, and a login that is tried with them."""

    lines: tuple[str, ...]
    identity: str
    role: str


USERS = ("alice", "bob", "Alice", "carol.smith", "zoë", "svc-1")
DOMAINS = ("example.org", "EXAMPLE.org", "sub.example.org", "example.com")
ROLES = ("alice", "bob", "app", "Alice", "reporting", "carol.smith", "zoë")


def plain_case(dice: random.Random) -> Case:
    """What people write: names, all, and the part before the @."""
    user, domain = dice.choice(USERS), dice.choice(DOMAINS)
    identity = f"{user}@{domain}"
    lines = [
        dice.choice(
            (
                f"{identity} {dice.choice(ROLES)}",
                f'"{identity}" "{dice.choice(ROLES)}"',
                f"{dice.choice(USERS)}@{dice.choice(DOMAINS)} {dice.choice(ROLES)}",
                f"{dice.choice(USERS)}@{domain} all",
                f'{identity} "all"',
                r"/^(.*)@example\.org$ \1",
                r"/^(.+)@example\.(org|com)$ \1",
                r"/^([^@]+)@.*$ \1",
                r"/^([a-z.]+)@ \1_ro",
                r"/(?i)^(.*)@example\.org$ \1",
                r"/@example\.org$ app",
                rf"{identity} /^{user[0]}",
                r"/^svc-([0-9]+)@ svc\1",
                r'"/^(\w+)\.(\w+)@[[:alnum:].-]+$" "\1"',
            )
        )
        for _ in range(dice.randint(1, 4))
    ]
    guess = dice.choice((user, *ROLES, f"{user}_ro", user.split(".")[0]))
    return Case(tuple(lines), identity, _role_for(lines, identity, dice) if dice.random() < 0.6 else guess)


LETTERS = "abA1@."
IDENTITIES = ("ab", "aab", "a@b", "ab@ab", "a.b@1A", "AbAb", "1a1", "aé", "@", "abab@a.b", "é", "b" * 12)
SPECIALS = (
    'ab "+staff"',
    "ab +staff",
    'ab ""all',
    'ab a"ll"',
    "a@b,a@c ab",
    "ab /^a+$",
    'ab "/b$"',
    "/^ab all",
    r"/a \1",
    r"/(a)(b)? \2\1",
    r"/^(b*)$ x\1y\1",
)


def strange_case(dice: random.Random) -> Case:
    """What the rules allow: whatever expression, in whatever order, for an identity that it may match."""
    identity = dice.choice((*IDENTITIES, "".join(dice.choices(LETTERS, k=dice.randint(1, 6)))))
    lines = [_strange_line(dice) for _ in range(dice.randint(1, 3))]
    return Case(tuple(lines), identity, _role_for(lines, identity, dice))


def _strange_line(dice: random.Random) -> str:
    if dice.random() < 0.15:
        return dice.choice([special for special in SPECIALS if "," not in special])
    role = dice.choice((r"\1", r"\1", r"\1", r"x\1", "all", "ab", r"/^a|b$", '"a b"'))
    return f"/{_valid_expression(dice)} {role}"


def _valid_expression(dice: random.Random) -> str:
    """PostgreSQL takes no file with an invalid one. That we know them all is a test of its own."""
    while True:
        made = expression(dice)
        try:
            PgRegex(in_bytes(made))
        except InvalidExpressionError:
            continue
        except UnsureExpressionError:
            if dice.random() < 0.5:  # all of them are unknown: let them be few
                continue
        return made


def expression(dice: random.Random) -> str:
    """An expression of few letters, nearly always valid, without blanks, quotes, commas and #."""
    begin, end = dice.choice(("", "^", "^", "(?i)", r"\A")), dice.choice(("", "$", "$", r"\Z"))
    return begin + _branches(dice, 0) + end


def _branches(dice: random.Random, depth: int) -> str:
    return "|".join(_branch(dice, depth) for _ in range(dice.choices((1, 2, 3), (8, 2, 1))[0]))


def _branch(dice: random.Random, depth: int) -> str:
    return "".join(_piece(dice, depth) for _ in range(dice.choices((0, 1, 2, 3, 4), (1, 4, 6, 4, 2))[0]))


def _piece(dice: random.Random, depth: int) -> str:
    atom = dice.choice(
        ("a", "b", "@", ".", ".", "[a-z]", "[^@]", r"\w", r"\d", r"\.", "[[:alpha:]]", "[]a]", r"[\w.-]", "A", "é")
    )
    if depth < 3 and dice.random() < 0.4:
        atom = f"{dice.choice(('(', '(', '(?:'))}{_branches(dice, depth + 1)})"
    elif dice.random() < 0.02:
        atom = dice.choice((r"(?=a)", r"\m", r"\y", r"(a)\1", r"\x61", "[[=a=]]"))
    # {1,2} would be two fields
    return (
        atom
        + dice.choices(
            ("", "*", "+", "?", "*?", "+?", "??", "{2}", "{1}", "{0}", "{1}?"), (30, 6, 6, 3, 1, 1, 1, 1, 1, 1, 1)
        )[0]
    )


def _role_for(lines: list[str], identity: str, dice: random.Random) -> str:
    """Half of the time what we believe a line gives: only then can the server say that it is exactly that."""
    entries = ident_map("".join(f"m {line}\n" for line in lines)).maps["m"].entries
    given = [
        role for entry in entries if not isinstance(role := entry.for_identity(in_bytes(identity), Effort()), Answer)
    ]
    begin = dice.randrange(len(identity))
    roles = [identity[begin : dice.randint(begin + 1, len(identity))], "ab", "a"]
    if dice.random() < 0.7:
        roles = [role.decode() for role in given if role and role.isascii()] or roles
    return dice.choice(roles)


SPLINTERS = (
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "*",
        "+",
        "?",
        "|",
        "^",
        "$",
        "\\",
        r"\1",
        r"\2",
        r"\12",
        "{2",
        "{2}",
        "{300}",
        "-",
    ),
    *(
        "[:",
        "[:digit:]",
        "[a-",
        "[^",
        "a-z",
        "z-a",
        r"\d",
        r"\D",
        r"\A",
        "(?",
        "(?:",
        "(?i)",
        "(?=",
        "(?<!",
        r"\x",
        r"\x4",
    ),
    *(r"\u0041", r"\c", r"\0", r"\07", r"\q", "[.a.]", "[=a=]", "[[:<:]]", "***", "***:", "[]", "[^]", "[-a]", "[a-]"),
    *("[a--]", r"[a\-z]", r"[\d-z]", "[!--]", r"(?:\y)+"),
)


def damaged_expression(dice: random.Random) -> str:
    """An expression with a splinter of another in it, or without a character: about half of them are invalid."""
    made = expression(dice).replace("é", "e")
    for _ in range(dice.choice((0, 1, 1, 2))):
        at = dice.randrange(len(made) + 1)
        made = made[:at] + dice.choice(SPLINTERS) + made[at:] if dice.random() < 0.7 else made[:at] + made[at + 1 :]
    return made


WORDS = (
    *("a", "bob", "all", "+staff", "/^x$", "/(", '"two words"', '"a,b"', '""', '"x""y"', 'a"b c"d', '"unclosed', "é"),
    *("a#b", "#c", ",", "a,", ",b", "a,b", "@names", '@"two names"', '"@names"', "@nowhere", "@", "\\", "include"),
    *("include_if_exists", "include_dir", "more.inc", "gone.inc", "inc.d", '"include"', "@bad", "@empty", "\f", "\v"),
)
BLANKS = (" ", " ", "\t", "  ", " \t ", "\r", "")
ENDS = ("\n", "\n", "\n", "\\\n", "\r\n", "\\\r\n", " \\\n", "\\\\\n")

INCLUDED = {
    "names": "one\n",
    "two names": "one two # three\n",
    "empty": "# nothing\n",
    "bad": "x @nowhere\n",
    "more.inc": 'm1 a b\n\nm2 "c" \\\nd\n',
    "inc.d/10.conf": "d10 a b\n",
    "inc.d/9.conf": "d9 a b\ninclude ../more.inc\n",
    "inc.d/.hidden.conf": "hidden a b\n",
    "inc.d/other.txt": "other a b\n",
    "inc.d/.conf": "dot a b\n",
    "loop.conf": "loop a b\ninclude loop.conf\n",
}
"""What random lines may include, by name."""


def random_lines(dice: random.Random) -> str:
    """The text of a file in which every rule of tokens, lists, continued lines and includes is broken or kept."""
    lines = []
    for _ in range(400):
        words = dice.choices(WORDS[:20] if dice.random() < 0.6 else WORDS, k=dice.choice((0, 1, 2, 2, 3, 3, 3, 4)))
        lines.append(
            "".join(dice.choice(BLANKS[:5]) + word for word in words) + dice.choice(BLANKS) + dice.choice(ENDS)
        )
    return "".join(lines) + dice.choice(("", "last line here", "last line \\"))
