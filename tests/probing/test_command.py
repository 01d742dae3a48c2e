"""`pgoauthd probe` as a person or a script uses it: its output and its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from pgoauthd.cli import cli
from pgoauthd.errors import PgoauthdError
from tests.probing.fix_providers import SECRET, Okta, Running, running

HELP = "nothing says where to log in"


@dataclass(frozen=True)
class Done:
    """What came of the command."""

    returncode: int
    stdout: str
    stderr: str


async def run(*words: str, given: str = "", **environment: str) -> Done:
    """In this process, in a thread of its own: the provider goes on here."""
    others = dict.fromkeys((name for name in os.environ if name.startswith("KONG_")), None)
    invoke = partial(CliRunner().invoke, cli, ["probe", *words], input=given, env=others | environment)
    result = await asyncio.to_thread(invoke)
    if isinstance(result.exception, PgoauthdError | OSError):
        return silent_about_secrets(Done(1, result.stdout, str(result.exception)))
    return silent_about_secrets(Done(result.exit_code, result.stdout, result.stderr))


async def run_process(*words: str, **environment: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pgoauthd", "probe", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kept | {"PYTHONIOENCODING": "utf-8"} | environment,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return silent_about_secrets(Done(process.returncode, output.decode(), errors.decode()))


def silent_about_secrets(done: Done) -> Done:
    assert SECRET not in done.stdout + done.stderr
    assert "eyJ" not in done.stdout + done.stderr
    return done


def kong(served: Running) -> dict[str, str]:
    """An environment as Kong has it, with a server where nobody listens."""
    return {
        "KONG_PG_HOST": "127.0.0.1",
        "KONG_PG_PORT": "1",
        "KONG_PG_OAUTH_AUTH": "on",
        "KONG_PG_OAUTH_CLIENT_ID": "0oa1b2c3",
        "KONG_PG_OAUTH_CLIENT_SECRET": SECRET,
        "KONG_PG_OAUTH_TOKEN_ENDPOINT": served.token_endpoint,
        "KONG_PG_OAUTH_SCOPE": "db.login",
    }


def only(done: Done) -> dict[str, Any]:
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


async def test_the_environment_of_kong_is_enough() -> None:
    async with running(Okta()) as served:
        found = only(await run_process(**kong(served)))
    assert (found["failed_step"], found["message"]) == ("connect", "nothing listens at 127.0.0.1:1")
    assert [(one["step"], one["ok"]) for one in found["steps"]] == [
        ("token", True),
        ("connect", False),
        ("tls", None),
        ("sasl", None),
        ("ready", None),
    ]
    assert found["token"]["audience"] == ["api://pg-cluster"]


async def test_a_replica_is_probed_beside_the_primary() -> None:
    async with running(Okta()) as served:
        done = await run(**kong(served), KONG_PG_RO_HOST="127.0.0.2")
        replica = await run("--server", "replica", **kong(served), KONG_PG_RO_HOST="127.0.0.2")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["server"], one["host"]) for one in found] == [("primary", "127.0.0.1"), ("replica", "127.0.0.2")]
    assert only(replica)["server"] == "replica"


async def test_a_replica_that_is_none_is_not_the_primary_under_another_name() -> None:
    async with running(Okta()) as served:
        done = await run("--server", "replica", **kong(served))
    assert done.returncode == 2
    assert "pg_ro_host" in done.stderr


async def test_the_environment_wins_over_the_file_and_options_over_both(tmp_path: Path) -> None:
    conf = tmp_path / "kong.conf"
    conf.write_text("pg_user = of_the_file\npg_database = of_the_file\npg_port = 3\n", encoding="utf-8")
    async with running(Okta()) as served:
        environment = kong(served) | {"KONG_PG_DATABASE": "of_the_environment"}
        found = only(await run("--kong-conf", str(conf), "--port", "2", **environment))
    assert (found["user"], found["database"], found["port"]) == ("of_the_file", "of_the_environment", 2)


async def test_a_secret_comes_from_a_file_or_from_standard_input(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    secret.chmod(0o600)
    async with running(Okta()) as served:
        words = ["--host", "127.0.0.1", "--port", "1", "--oauth-client-id", "0oa1b2c3", "--oauth-scope", "db.login"]
        words += ["--oauth-token-endpoint", served.token_endpoint, "--oauth-client-secret-file"]
        for done in (await run(*words, str(secret)), await run(*words, "-", given=SECRET + "\n")):
            assert only(done)["failed_step"] == "connect"


async def test_people_see_the_steps_the_failure_and_the_remedy() -> None:
    async with running(Okta()) as served:
        done = await run("--table", **kong(served))
    assert done.returncode == 1
    first, note, token, connect, *rest = done.stdout.splitlines()
    assert first == "primary: 127.0.0.1:1/kong as kong"
    assert "whoever answers there gets the token" in note
    assert token.startswith("  ✓ token")
    assert connect.startswith("  ✗ connect")
    assert [line.split() for line in rest[:3]] == [["-", "tls"], ["-", "sasl"], ["-", "ready"]]
    assert rest[3].startswith("  what to do: start PostgreSQL")


async def test_a_terminal_without_the_signs_gets_words() -> None:
    async with running(Okta()) as served:
        done = await run_process("--table", **kong(served), PYTHONIOENCODING="ascii:backslashreplace")
    assert "  ok token" in done.stdout
    assert "  FAILED connect" in done.stdout


async def test_a_name_with_controls_in_it_is_escaped() -> None:
    async with running(Okta()) as served:
        done = await run("--table", "--user", "ko\u202e\rng", **kong(served))
    assert r"as ko\u202e\rng" in done.stdout


async def test_all_problems_of_the_parameters_are_said_at_once(tmp_path: Path) -> None:
    conf = tmp_path / "kong.conf"
    conf.write_text("pg_oauth_auth = off\npg_port = x\n", encoding="utf-8")
    done = await run("--kong-conf", str(conf))
    assert done.returncode == 1
    for key in ("pg_oauth_auth", "pg_port", "pg_oauth_client_id", "pg_oauth_client_secret", "pg_oauth_token_endpoint"):
        assert f"{conf}: {key}: " in done.stderr


async def test_without_parameters_it_says_where_they_could_come_from() -> None:
    done = await run()
    assert (done.returncode, HELP in done.stderr) == (2, True)


async def test_a_file_that_is_not_there_is_said() -> None:
    done = await run("--kong-conf", "/nowhere/kong.conf")
    assert (done.returncode, "/nowhere/kong.conf" in done.stderr) == (1, True)


async def test_a_table_of_the_daemons_configuration_can_be_probed(tmp_path: Path) -> None:
    secret, config = tmp_path / "secret", tmp_path / "pgoauthd.toml"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    secret.chmod(0o600)
    async with running(Okta()) as served:
        tables = [
            f"""
[[probes]]
name = "{name}"
server = "{server}"
host = "127.0.0.1"
port = 1
database = "kong"
user = "kong"
allow_loopback_http = true
oauth_client_id = "0oa1b2c3"
oauth_client_secret_file = "{secret}"
oauth_token_endpoint = "{served.token_endpoint}"
oauth_scope = "db.login"
"""
            for name, server in (("one", "primary"), ("two", "replica"))
        ]
        config.write_text("".join(tables), encoding="utf-8")
        both = await run("--config", str(config))
        named = await run("--config", str(config), "--name", "two")
        unknown = await run("--config", str(config), "--name", "three")
    assert [json.loads(line)["probe"] for line in both.stdout.splitlines()] == ["one", "two"]
    assert (only(named)["probe"], only(named)["server"]) == ("two", "replica")
    assert (unknown.returncode, "there are: one, two" in unknown.stderr) == (2, True)
