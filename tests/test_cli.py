"""The commands as a person or a script uses them: real processes, their output and exit status."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgoauthd import __version__

CORPUS = Path(__file__).parent / "data" / "pg-logs" / "18.6-default"
PREFIX = "%m [%p] %q%u@%d "
UNITS = Path(__file__).parent.parent / "systemd"


def pgoauthd(*words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pgoauthd", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **settings)  # type: ignore[call-overload, no-any-return]


def on_a_terminal(*words: str, columns: int = 140) -> tuple[int, str]:
    """Run with a terminal as standard output; the exit status and what it showed."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pgoauthd", *words], stdout=theirs, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(60), shown.decode()


def test_version_is_that_of_the_package() -> None:
    done = pgoauthd("--version")
    assert (done.returncode, done.stdout) == (0, f"pgoauthd, version {__version__}\n")


@pytest.mark.parametrize("command", ["run", "check-config", "events", "report", "replay", "map", "demo", "completion"])
def test_every_command_explains_itself(command: str) -> None:
    assert f"  {command} " in pgoauthd("--help").stdout
    done = pgoauthd(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 5


def test_a_wrong_command_line_ends_with_2() -> None:
    assert pgoauthd("replya").returncode == 2
    assert pgoauthd("replay").returncode == 2


def test_the_example_configuration_is_good() -> None:
    done = pgoauthd("check-config", str(UNITS / "pgoauthd.toml"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["good"] is True


ENTRA = """
[[issuers]]
name = "corp"
profile = "entra"
issuer = "https://login.microsoftonline.com/0a1b2c3d-1111-4222-8333-444455556666/v2.0"
audiences = ["9f8e7d6c-aaaa-4bbb-8ccc-ddddeeeeffff"]
identity_claims = ["upn"]
scope_claims = ["scope", "scp"]
required_claims.idtyp = "user"
proxy = "http://me:hunter2@proxy.example.org:3128"

[issuers.introspection]
client_id = "x"
endpoint = "https://gateway.example.org/introspect"
client_secret_file = "${CREDENTIALS_DIRECTORY}/hidden"

[[issuers.role_rules]]
identity_regex = '(.*)@example\\.org'
claim = "groups"
value = "dba"
roles = ['\\1']

[[issuers.role_rules]]
action = "deny"
roles_regex = "pg_.*"

[[notify]]
name = "oncall"
kind = "webhook"
url = "https://hooks.example.org/services/hunter2"
"""


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = tmp_path / "entra.toml"
    path.write_text(ENTRA, encoding="utf-8")
    return str(path)


def test_check_config_in_a_pipe_says_what_the_profile_adds_and_what_the_file(entra: str) -> None:
    (issuer,) = json.loads(pgoauthd("check-config", entra).stdout)["issuers"]
    assert issuer["profile"] == "entra"
    assert issuer["mode"] == "jwt"
    assert issuer["by_profile"]["required_claims"] == {"tid": ["0a1b2c3d-1111-4222-8333-444455556666"]}
    assert issuer["by_profile"]["pinned_key_issuers"] is True
    assert issuer["by_file"]["required_claims"] == {"idtyp": ["user"]}
    assert issuer["by_file"]["identity_claims"] == ["upn"]
    assert issuer["role_rules"] == [
        r"allow \1 where identity matches (.*)@example\.org and groups is dba",
        "deny all that match pg_.*",
    ]


def test_check_config_shows_what_takes_a_profiles_value_back_to_the_usual(entra: str) -> None:
    (issuer,) = json.loads(pgoauthd("check-config", entra).stdout)["issuers"]
    assert issuer["by_file"]["scope_claims"] == ["scope", "scp"]
    assert "leeway_seconds" not in {**issuer["by_file"], **issuer["by_profile"]}


def test_check_config_on_a_terminal_is_for_people(entra: str) -> None:
    status, shown = on_a_terminal("check-config", entra)
    assert status == 0
    assert "good; issuers: 1, clusters: 0" in shown
    assert "issuer corp" in shown
    assert "  from the profile\r\n" in shown
    assert "  role rules, the first that fits decides\r\n    1. allow" in shown
    assert "not looked for: ${CREDENTIALS_DIRECTORY}/hidden" in shown


@pytest.mark.parametrize("option", ["--json", "--table"])
def test_check_config_never_shows_a_secret(entra: str, option: str) -> None:
    shown = pgoauthd("check-config", option, entra).stdout
    assert "proxy.example.org" in shown
    assert "hooks.example.org" in shown
    assert "hunter2" not in shown


def test_check_config_finds_the_credentials_of_the_service_where_it_runs_in_it(entra: str, tmp_path: Path) -> None:
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    missing = pgoauthd("check-config", entra, env=environment)
    assert missing.returncode == 1
    assert f"'{tmp_path}/hidden' is not a file" in missing.stderr
    (tmp_path / "hidden").write_text("x\n", encoding="ascii")
    assert pgoauthd("check-config", entra, env=environment).returncode == 0


def test_check_config_finds_that_a_secret_cannot_be_used(entra: str, tmp_path: Path) -> None:
    (tmp_path / "hidden").touch()
    done = pgoauthd("check-config", entra, env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{entra}: issuers (corp).introspection.client_secret_file: " in done.stderr
    assert "hidden is empty; write the client's secret into it" in done.stderr


def test_check_config_warns_of_a_secret_that_everybody_may_read(entra: str, tmp_path: Path) -> None:
    (tmp_path / "hidden").write_text("x\n", encoding="ascii")
    (tmp_path / "hidden").chmod(0o644)
    done = pgoauthd("check-config", entra, env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert done.returncode == 0
    assert "secret_open_to_everybody" in done.stderr


def test_check_config_notes_what_it_could_not_look_at(entra: str) -> None:
    (note,) = json.loads(pgoauthd("check-config", entra).stdout)["notes"]
    assert note.startswith("not looked for: ${CREDENTIALS_DIRECTORY}/hidden")


def test_check_config_notes_that_a_map_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        f'[[clusters]]\nname = "main"\nlogs = ["{tmp_path}"]\nident_file = "{tmp_path}/none.conf"\n', encoding="utf-8"
    )
    done = pgoauthd("check-config", str(path))
    assert done.returncode == 0
    (note,) = json.loads(done.stdout)["notes"]
    assert f"ident_file cannot be used: {tmp_path}/none.conf: No such file or directory; logins go on" in note


def test_check_config_notes_where_it_finds_no_log(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    (tmp_path / "there.log").touch()
    logs = [f"{tmp_path}/there.log", f"{tmp_path}/*.lgo", f"{tmp_path}/none.log"]
    path.write_text(f'[[clusters]]\nname = "main"\nlogs = {json.dumps(logs)}\n', encoding="utf-8")
    done = pgoauthd("check-config", str(path))
    assert done.returncode == 0
    notes = json.loads(done.stdout)["notes"]
    assert [note.partition(": nothing is there")[0] for note in notes] == [
        f"cluster main: no log is found at {entry}" for entry in logs[1:]
    ]


def test_run_needs_the_credentials_that_check_config_leaves_to_it(entra: str) -> None:
    done = pgoauthd("run", "--config", entra)
    assert done.returncode == 1
    assert "CREDENTIALS_DIRECTORY, which is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_config_shows_all_problems_and_ends_with_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[web]\nlisten = "here"\n[calout]\n[[issuers]]\nissuer = "http://x"\n', encoding="utf-8")
    done = pgoauthd("check-config", str(path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "4 problems" in done.stderr, done.stderr
    assert f"{path}: line 2, web.listen: " in done.stderr
    assert "did you mean callout?" in done.stderr


def test_run_with_a_bad_configuration_ends_with_1_and_without_a_traceback(tmp_path: Path) -> None:
    done = pgoauthd("run", "--config", str(tmp_path / "missing.toml"))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_where_the_state_cannot_be_kept_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        f'[state]\npath = "{tmp_path}/no/such/state.db"\n[web]\nlisten = "127.0.0.1:0"\n'
        f'[[clusters]]\nname = "main"\nlogs = ["{tmp_path}"]\n',
        encoding="utf-8",
    )
    done = pgoauthd("run", "--config", str(path))
    assert done.returncode == 1
    assert "state.db: the state cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["postgresql.log", "postgresql.csv", "postgresql.json"])
def test_replay_in_a_pipe_writes_one_outcome_a_line(name: str) -> None:
    done = pgoauthd("replay", "--prefix", PREFIX, str(CORPUS / name))
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == 62
    assert {outcome["cluster"] for outcome in outcomes} == {"replay"}


def test_a_single_login_attempt_is_not_called_attempts(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_text(
        "2026-11-22 10:00:00.000 UTC [500] LOG:  connection received: host=192.0.2.7 port=4000\n"
        '2026-11-22 10:00:00.100 UTC [500] FATAL:  role "x" does not exist\n',
        encoding="utf-8",
    )
    assert "1 login attempt, " in pgoauthd("replay", "--table", str(log)).stdout


def test_replay_on_a_terminal_shows_a_summary_with_remedies() -> None:
    status, shown = on_a_terminal("replay", "--prefix", PREFIX, str(CORPUS / "postgresql.json"))
    assert status == 0
    assert "62 login attempts" in shown
    assert "usermap_no_match" in shown
    assert "pg_ident.conf" in shown
    assert "\x1b[" in shown, "no colours"


def test_replay_on_a_narrow_terminal_keeps_the_counts_readable() -> None:
    _, shown = on_a_terminal("replay", str(CORPUS / "postgresql.json"), columns=80)
    assert "wider terminal" in shown
    assert "channel_binding_unsupported" in shown


def test_replay_takes_the_richest_of_the_same_log_and_says_so() -> None:
    files = [str(CORPUS / f"postgresql.{ending}") for ending in ("log", "csv", "json")]
    done = pgoauthd("replay", *files)
    assert len(done.stdout.splitlines()) == 62
    assert "left out" in done.stderr
    assert "postgresql.csv" in done.stderr


def test_replay_reads_standard_input() -> None:
    done = pgoauthd("replay", "-", input=(CORPUS / "postgresql.json").read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 62


def test_replay_of_what_is_no_log_ends_with_1_and_a_next_step(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n", encoding="utf-8")
    done = pgoauthd("replay", str(path))
    assert done.returncode == 1
    assert "--prefix" in done.stderr
    assert "Traceback" not in done.stderr


def test_replay_of_a_missing_file_ends_with_1() -> None:
    done = pgoauthd("replay", "/no/such/file.json")
    assert done.returncode == 1
    assert "/no/such/file.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("option", "value"), [("--prefix", "%t "), ("--timezone", "Mars/Base")])
def test_replay_names_a_wrong_option(option: str, value: str) -> None:
    done = pgoauthd("replay", option, value, str(CORPUS / "postgresql.log"))
    assert done.returncode == 2
    assert option in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    done = pgoauthd("completion", shell)
    assert done.returncode == 0
    assert f"_PGOAUTHD_COMPLETE={shell}_complete" in done.stdout


def test_an_output_that_closes_early_is_no_error_of_ours() -> None:
    command = f"{sys.executable} -m pgoauthd replay {CORPUS / 'postgresql.json'} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_replay_with_another_servers_prefix_says_that_it_is_the_prefix() -> None:
    done = pgoauthd("replay", "--prefix", "<%c> %p %e ", str(CORPUS / "postgresql.log"))
    assert done.returncode == 1
    assert "--prefix" in done.stderr


def configuration(directory: Path, **replacements: str) -> Path:
    """Of a daemon that validates and observes, with everything in `directory`."""
    values = {"socket": f"{directory}/run/pgoauthd.sock", "listen": "127.0.0.1:0"} | replacements
    path = directory / "pgoauthd.toml"
    path.write_text(
        f'[callout]\nsocket = "{values["socket"]}"\n[web]\nlisten = "{values["listen"]}"\n'
        f'[state]\npath = "{directory}/state.db"\n'
        '[[issuers]]\nissuer = "http://127.0.0.1:9/x"\nallow_loopback_http = true\naudiences = ["a"]\n'
        f'[[clusters]]\nname = "main"\nlogs = ["{directory}"]\n',
        encoding="utf-8",
    )
    return path


def test_run_on_a_socket_that_cannot_be_opened_says_so_without_a_traceback(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    done = pgoauthd("run", "--config", str(configuration(tmp_path, socket=f"{blocker}/x.sock")))
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert f"{blocker}" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_on_a_port_in_use_says_so_without_a_traceback(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = pgoauthd("run", "--config", str(configuration(tmp_path, listen=address)))
    assert done.returncode == 1
    assert f"{address}: Address already in use; set web.listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_daemon_whose_log_cannot_be_written_goes_on(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgoauthd", "run", "--config", str(configuration(tmp_path))], stderr=full
        )
    try:
        status = ask_health(tmp_path / "run" / "pgoauthd.sock", process)
    finally:
        process.terminate()
    assert status == b"HTTP/1.1 200 OK"
    assert process.wait(20) == 0


def ask_health(path: Path, process: subprocess.Popen[bytes]) -> bytes:
    """The status line of /v1/healthz, once the socket is there."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert process.poll() is None, "the daemon has ended"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(str(path))
            except OSError:
                continue
            client.sendall(b"GET /v1/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(4096).split(b"\r\n")[0]
    raise AssertionError("no socket")


def test_a_hang_up_is_no_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgoauthd", "run", "--config", str(configuration(tmp_path))], stderr=stream
        )
    try:
        ask_health(tmp_path / "run" / "pgoauthd.sock", process)
        process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 20
        while "config_reloaded" not in log.read_text(encoding="utf-8"):
            assert time.monotonic() < until, log.read_text(encoding="utf-8")
        assert ask_health(tmp_path / "run" / "pgoauthd.sock", process) == b"HTTP/1.1 200 OK"
    finally:
        process.terminate()
    assert process.wait(20) == 0
