"""What we say of maps and what a real PostgreSQL 18 does with them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from pgoauthd.mapping.evaluation import predict
from pgoauthd.mapping.identmap import IdentMap
from pgoauthd.mapping.prediction import Expected, MapPrediction
from pgoauthd.runtime.identfiles import Disk, read_ident_map
from tests.mapping.fix_maps import Case, plain_case, strange_case
from tests.mapping.mapserver import Login, MapServer, map_server

SEED = 18
PLAIN, STRANGE = 400, 650
MAX_UNKNOWN_SHARE = 0.25

ROLES_SQL = "CREATE ROLE staff; CREATE ROLE alice LOGIN IN ROLE staff; CREATE ROLE chief LOGIN SUPERUSER;"

EXACT, TOO = Expected.MATCH, Expected.UNKNOWN
NO = Expected.NO_MATCH
DECIDED: list[tuple[str, str, str, Expected, bool]] = [
    # lines (";" between them), identity, role, what we say, what the server does
    ("alice alice", "alice", "alice", EXACT, True),
    ("Alice alice", "alice", "alice", NO, False),
    ("alice Alice", "alice", "alice", NO, False),
    ("alice all", "alice", "nobody_of_this_name", EXACT, True),
    ('alice "all"', "alice", "bob", NO, False),
    ('alice ""all', "alice", "bob", NO, False),
    ('alice a"ll"', "alice", "bob", EXACT, True),
    ("all alice", "bob", "alice", NO, False),
    ("alice ALL", "alice", "bob", NO, False),
    ("alice +alice", "alice", "alice", TOO, True),
    ("alice +missing", "alice", "missing", TOO, False),
    ("alice +staff", "alice", "alice", TOO, True),
    ("alice +staff", "alice", "chief", TOO, False),
    ('alice +"staff"', "alice", "alice", TOO, True),
    ('alice "+staff"', "alice", "alice", NO, False),
    ('alice "+staff"', "alice", "+staff", EXACT, True),
    ("alice +staff;alice bob", "alice", "bob", EXACT, True),
    ("alice /^b", "alice", "bob", EXACT, True),
    ('alice "/^b"', "alice", "bob", EXACT, True),
    ('"/^al" bob', "alice", "bob", EXACT, True),
    ("/LIC bob", "alice", "bob", NO, False),
    ("/lic bob", "alice", "bob", EXACT, True),
    (r"/^(.*)@x$ \1", "alice@x", "alice", EXACT, True),
    (r"/^(.*)@x$ \1\1", "b@x", r"b\1", EXACT, True),
    (r"/^(.*)@x$ \1\1", "b@x", "bb", NO, False),
    (r"/^(.*)@x$ \2\1", "b@x", r"\2b", EXACT, True),
    (r'/^(.*)@x$ "+\1"', "staff@x", "+staff", EXACT, True),
    (r'/^(.*)@x$ "+\1"', "staff@x", "alice", NO, False),
    (r"/^(.*)@x$ \1", "all@x", "bob", NO, False),
    (r"/^(.*)@x$ \1", "+staff@x", "alice", NO, False),
    (r"/^(.*)@x$ \1", "/^al@x", "alice", NO, False),
    (r"/^(.*)@x$ +\1", "staff@x", "alice", TOO, False),
    (r"alice@x \1", "alice@x", "alice", NO, False),
    (r"alice@x \1", "alice@x", r"\1", EXACT, True),
    (r"/^.*@x$ \1;alice@x all", "alice@x", "alice", NO, False),
    (r"/^(?:(a)|b)@x$ \1;b@x all", "b@x", "alice", NO, False),
    (r"/^nobody \1;alice@x all", "alice@x", "alice", EXACT, True),
    (r"/^(?:(a)|b)*$ \1;ab all", "ab", "a", TOO, False),
    ("/^..$ all", "é", "alice", EXACT, True),
    ("/^.$ all", "é", "alice", NO, False),
    (r"/^(zo.*)@x$ \1", "zoë@x", "zoë", EXACT, True),
    ("/^zo[ë][ë]@x$ all", "zoë@x", "zoë", EXACT, True),
    ("/(?i)ZOË all", "zoë", "alice", NO, False),
    ("/(?i)^ZO all", "zoë", "alice", EXACT, True),
    (r"/^\w+$ all", "zoë", "alice", NO, False),
    ("alice alice more fields", "alice", "alice", EXACT, True),
    (r"/(a|ab)(c|bcd)(d*) \1", "abcd", "ab", EXACT, True),
    (r"/(a|ab)(c|bcd)(d*) \1", "abcd", "a", NO, False),
    (r"/^(.*)@(.*)$ \1", "a@b@c", "a@b", EXACT, True),
    (r"/^(.*?)@(.*)$ \1", "a@b@c", "a", TOO, True),
    (r"/^([a-z]+) \1", "alice.b", "alice", EXACT, True),
]


def decided_cases() -> list[Case]:
    return [Case(tuple(lines.split(";")), identity, role) for lines, identity, role, *_ in DECIDED]


def generated_cases() -> list[Case]:
    dice = random.Random(SEED)  # noqa: S311 - the same for every run
    return [plain_case(dice) for _ in range(PLAIN)] + [strange_case(dice) for _ in range(STRANGE)]


class Tried:
    """Every case's prediction, and what the server did."""

    def __init__(self, cases: list[Case], ident_map: IdentMap, let_in: list[bool]) -> None:
        self.cases = cases
        self.predictions: list[MapPrediction] = [
            predict(ident_map, f"m{number}", case.identity, case.role) for number, case in enumerate(cases)
        ]
        self.let_in = let_in

    def wrong(self) -> list[tuple[Case, bool, str]]:
        return [
            (case, let_in, prediction.message)
            for case, prediction, let_in in zip(self.cases, self.predictions, self.let_in, strict=True)
            if prediction.expected is not Expected.UNKNOWN and let_in is not (prediction.expected is Expected.MATCH)
        ]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def server(runner: asyncio.Runner) -> Iterator[MapServer]:
    """One server for all cases: each has a map of its own."""
    cases = decided_cases() + generated_cases()
    ident = "".join(f"m{number} {line}\n" for number, case in enumerate(cases) for line in case.lines)
    stack = AsyncExitStack()
    maps = [f"m{number}" for number in range(len(cases))]
    server = runner.run(stack.enter_async_context(map_server(ident, maps, ROLES_SQL)))
    yield server
    runner.run(stack.aclose())


@pytest.fixture(scope="module")
def tried(server: MapServer, runner: asyncio.Runner) -> Tried:
    cases = decided_cases() + generated_cases()
    logins = [Login(f"m{number}", case.identity, case.role) for number, case in enumerate(cases)]
    ident_map = read_ident_map(str(server.ident_path), Disk())
    assert ident_map.bad == []
    assert [row for row in runner.run(server.view()) if row.error] == []
    return Tried(cases, ident_map, runner.run(server.lets_in(logins)))


@pytest.mark.parametrize("number", range(len(DECIDED)), ids=lambda number: " / ".join(map(str, DECIDED[number][:3])))
def test_a_rule_is_what_the_server_does(tried: Tried, number: int) -> None:
    _, _, _, said, done = DECIDED[number]

    assert tried.let_in[number] is done
    assert tried.predictions[number].expected is said, tried.predictions[number].message


def test_what_is_said_of_generated_maps_is_what_the_server_does(tried: Tried) -> None:
    assert tried.wrong() == []


def test_generated_logins_are_let_in_and_refused(tried: Tried) -> None:
    generated = tried.let_in[len(DECIDED) :]

    assert 0.25 < sum(generated) / len(generated) < 0.75


def test_little_is_unknown(tried: Tried) -> None:
    generated = tried.predictions[len(DECIDED) :]
    unknown = sum(prediction.expected is Expected.UNKNOWN for prediction in generated)

    assert unknown < MAX_UNKNOWN_SHARE * len(generated)


def test_nothing_plain_is_unknown(tried: Tried) -> None:
    plain = tried.predictions[len(DECIDED) : len(DECIDED) + PLAIN]

    assert [prediction.message for prediction in plain if prediction.expected is Expected.UNKNOWN] == []
