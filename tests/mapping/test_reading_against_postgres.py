"""How files are divided into lines and names, and which expressions are valid, beside the server's own view of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from pgoauthd.mapping.aretree import InvalidExpressionError, UnsureExpressionError
from pgoauthd.mapping.identfile import read_ident_file
from pgoauthd.mapping.pgregex import PgRegex
from pgoauthd.runtime.identfiles import Disk, read_ident_map
from tests.mapping.fix_maps import INCLUDED, damaged_expression, random_lines
from tests.mapping.mapserver import Login, MapServer, Row, map_server

SEED = 18
EXPRESSIONS = 1_500


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def server(runner: asyncio.Runner) -> Iterator[MapServer]:
    stack = AsyncExitStack()
    server = runner.run(stack.enter_async_context(map_server("m alice alice\n", ["m"])))
    for name, text in INCLUDED.items():
        server.write(server.ident_path.parent / name, text)
    yield server
    runner.run(stack.aclose())


def ours(server: MapServer) -> set[Row]:
    """The rows that we would have the server's view show, without the words of errors."""
    disk = Disk()
    lines = read_ident_file(str(server.ident_path), disk.read, disk.list_directory).lines
    bad = {(line.file, line.number or 0) for line in read_ident_map(str(server.ident_path), Disk()).bad}
    good = {Row(line.file, line.number, line.map, line.system.text, line.role.text, None) for line in lines}
    return {row for row in good if (row.file, row.line) not in bad} | {
        Row(file, line, None, None, None, "bad") for file, line in bad
    }


async def theirs(server: MapServer) -> set[Row]:
    return {
        Row(row.file, row.line, row.map, row.system, row.role, "bad" if row.error else None)
        for row in await server.view()
    }


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_random_files_are_read_as_the_server_reads_them(server: MapServer, runner: asyncio.Runner, seed: int) -> None:
    server.write(server.ident_path, random_lines(random.Random(seed)))  # noqa: S311 - the same for every run

    shown = runner.run(theirs(server))

    assert ours(server) == shown
    assert sum(row.error is None for row in shown) > 40
    assert sum(row.error is not None for row in shown) > 40


@pytest.mark.parametrize(
    "text",
    [
        "include loop.conf\nm a b\n",
        "include_dir inc.d\n",
        "include_dir nowhere\n",
        'include_dir "  "\n',
        "include_if_exists nowhere\nm a b\n",
        "include_if_exists names/below\n",
        "include nowhere\n",
        '"include" more.inc\n',
        "include,x more.inc,y\n",
        "include a b\n",
        "m @names @names\n",
        "m @loop.conf b\n",
        "m a b \\\n  c\\\n\nm2 a b\n",
        "m a b\\",
        "m a /(\nm a b\n",
        "m a\n",
        "m,n a b\n",
        "m a b c,d\n",
        "",
    ],
)
def test_a_file_is_read_as_the_server_reads_it(server: MapServer, runner: asyncio.Runner, text: str) -> None:
    server.write(server.ident_path, text)

    assert ours(server) == runner.run(theirs(server))


def test_an_expression_is_invalid_where_the_server_says_so(server: MapServer, runner: asyncio.Runner) -> None:
    dice = random.Random(SEED)  # noqa: S311 - the same for every run
    expressions = [damaged_expression(dice) for _ in range(EXPRESSIONS)]
    server.write(server.ident_path, "".join(f'm "/{expression}" role\n' for expression in expressions))
    refused = {row.line: row.error for row in runner.run(server.view())}

    said = {number: is_valid(expression) for number, expression in enumerate(expressions, 1)}

    wrong = [expressions[n - 1] for n, valid in said.items() if valid is not None and valid is not (refused[n] is None)]
    assert wrong == []
    assert 0.25 < sum(valid is False for valid in said.values()) / EXPRESSIONS < 0.75
    assert sum(valid is None for valid in said.values()) < EXPRESSIONS / 10


def is_valid(expression: str) -> bool | None:
    """None where it is not sure."""
    try:
        PgRegex(expression.encode())
    except InvalidExpressionError:
        return False
    except UnsureExpressionError:
        return None
    return True


async def reload(server: MapServer) -> None:
    """Until new sessions have what is on the disk."""
    before = await server.cluster.run_sql("SELECT pg_conf_load_time(); SELECT pg_reload_conf();")
    async with asyncio.timeout(20):
        while (await server.cluster.run_sql("SELECT pg_conf_load_time()")).split("\n")[0] == before.split("\n")[0]:
            pass


def test_a_reload_takes_no_file_with_an_error_and_the_old_map_stays(server: MapServer, runner: asyncio.Runner) -> None:
    logins = [Login("m", "alice", "alice"), Login("m", "bob", "alice")]
    server.write(server.ident_path, "m bob alice\nbad\n")
    runner.run(reload(server))
    assert runner.run(server.lets_in(logins)) == [True, False]

    server.write(server.ident_path, "m bob alice\n")
    runner.run(reload(server))
    assert runner.run(server.lets_in(logins)) == [False, True]


async def test_a_server_that_starts_with_an_error_in_the_file_has_no_maps() -> None:
    async with map_server("m alice alice\nbad\n", ["m"]) as server:
        assert await server.lets_in([Login("m", "alice", "alice")]) == [False]
