"""`pgoauthd events` as a person or a script uses it."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgoauthd.cli import cli
from pgoauthd.correlation import outcome as vocabulary
from pgoauthd.errors import StateError
from pgoauthd.tokens.reasons import Reason
from tests.fix_history import HistoryFile, history
from tests.fix_outcomes import AT, outcome
from tests.test_cli import on_a_terminal, pgoauthd


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def ask(state: Path, *words: str) -> Result:
    """In this process; there is no terminal."""
    return CliRunner().invoke(cli, ["events", "--state", str(state), *words])


def ids(said: str) -> list[int]:
    return [json.loads(line)["id"] for line in said.splitlines()]


def test_in_a_pipe_the_lines_come_byte_for_byte(state: Path) -> None:
    lines = history(state, outcome(role="café \x1b[31m"), outcome(Reason.OK))
    done = subprocess.run(
        [sys.executable, "-m", "pgoauthd", "events", "--state", str(state)], capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b"".join(line + b"\n" for line in lines)
    assert done.stderr == b""


def test_the_state_is_that_of_the_configuration(tmp_path: Path, state: Path) -> None:
    history(state, outcome())
    config = tmp_path / "pgoauthd.toml"
    config.write_text(
        f'[state]\npath = "{state}"\n[[clusters]]\nname = "main"\nlogs = ["{tmp_path}"]\n', encoding="utf-8"
    )
    done = CliRunner().invoke(cli, ["events", "--config", str(config)])
    assert ids(done.stdout) == [1]


def test_without_a_time_or_a_number_there_are_the_last_50_and_a_word_on_the_rest(state: Path) -> None:
    history(state, *(outcome() for _ in range(51)))
    done = ask(state)
    assert ids(done.stdout) == list(range(2, 52))
    assert done.stderr == "the last 50; there are older ones: --last NUMBER, --since TIME or --all shows them\n"


def test_where_nothing_is_left_out_nothing_is_said_of_it(state: Path) -> None:
    history(state, *(outcome() for _ in range(50)))
    assert ask(state).stderr == ""
    assert ask(state, "--last", "3").stderr == ""


def test_all_is_all(state: Path) -> None:
    history(state, *(outcome() for _ in range(60)))
    assert len(ids(ask(state, "--all").stdout)) == 60


def test_last_counts_what_fits(state: Path) -> None:
    history(state, *(outcome(role=f"r{i % 2}") for i in range(10)))
    assert ids(ask(state, "--role", "r0", "--last", "2").stdout) == [7, 9]
    assert ask(state, "--last", "0").stdout == ""


def test_the_times_of_the_command_line_are_those_of_the_outcomes(state: Path) -> None:
    day = 1_795_305_600.0  # 2026-11-22
    history(state, *(outcome(time=day + seconds) for seconds in (-0.1, 0, 36_000, 86_399, 86_400)))
    assert ids(ask(state, "--since", "2026-11-22", "--until", "2026-11-23").stdout) == [2, 3, 4]
    assert ids(ask(state, "--since", "2026-11-22T10:00Z").stdout) == [3, 4, 5]
    assert ids(ask(state, "--since", "2026-11-22T12:00+02:00", "--last", "1").stdout) == [5]


def test_a_time_ago_is_before_now(state: Path) -> None:
    now = time.time()
    history(state, outcome(time=now - 7_300), outcome(time=now - 7_100), outcome(time=now - 10))
    assert ids(ask(state, "--since", "2h").stdout) == [2, 3]
    assert ids(ask(state, "--since", "1d", "--until", "30m").stdout) == [1, 2]


EVERYTHING_ELSE = [
    ["--role", "web"],
    ["--identity", "*@example.net"],
    ["--client", "198.51.100.0/24"],
    ["--client", "198.51.100.8/24"],
    ["--client", "198.51.100.9"],
    ["--reason", "expired", "--reason", "scope_missing"],
    ["--result", "refused"],
    ["--method", "oauth"],
    ["--cluster", "b"],
]


@pytest.mark.parametrize("words", EVERYTHING_ELSE, ids=" ".join)
def test_each_option_picks(state: Path, words: list[str]) -> None:
    fits = outcome(
        Reason.EXPIRED,
        role="web",
        identity="carol@example.net",
        client_addr="198.51.100.9",
        cluster="b",
        method="oauth",
    )
    history(state, outcome(Reason.OK, method="scram-sha-256", role="webb"), fits, outcome(Reason.OK, method="md5"))
    assert ids(ask(state, *words).stdout) == [2]


def test_an_ipv6_address_may_be_written_in_any_way(state: Path) -> None:
    history(state, outcome(client_addr="2001:db8::7"))
    assert ids(ask(state, "--client", "2001:DB8:0::0007").stdout) == [1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "tomorrow-ish"], "--since: 'tomorrow-ish' is no moment; give how long ago (30m, 2h, 7d), a date"),
        (["--until", "2026-13-01"], "--until: '2026-13-01' is no moment"),
        (["--since", "1h", "--until", "2h"], "--until is not after --since"),
        (["--reason", "token_expired"], "there is no reason 'token_expired'; did you mean token_e"),
        (["--reason", "zzz"], "docs/reasons.md lists them"),
        (["--result", "failed"], "'success', 'refused', 'discovery', 'abandoned'"),
        (
            ["--client", "192.0.2"],
            "--client: '192.0.2' is neither an address nor a network; give one such as 192.0.2.7",
        ),
        (["--client", "2001:db8:::"], "is neither an address nor a network"),
        (["--client", "host/24"], "is neither an address nor a network"),
        (["--all", "--last", "5"], "--all is everything"),
        (["--all", "--since", "1h"], "--all is everything"),
        (["--follow", "--until", "1h"], "leave out --until"),
        (["--last", "-1"], "-1"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_used_says_what_could(state: Path, words: list[str], said: str) -> None:
    history(state, outcome())
    done = ask(state, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())


def test_every_result_can_be_asked_for(state: Path) -> None:
    history(state, outcome())
    for result in vocabulary.Result:
        assert ask(state, "--result", result.value).exit_code == 0


def test_the_shell_completes_reasons() -> None:
    environment = os.environ | {
        "_PGOAUTHD_COMPLETE": "bash_complete",
        "COMP_WORDS": "pgoauthd events --reason usermap_",
        "COMP_CWORD": "3",
    }
    command = [str(Path(sys.executable).parent / "pgoauthd")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "plain,usermap_no_match" in done.stdout.splitlines()
    assert "plain,expired" not in done.stdout


def test_help_says_that_times_are_utc_and_shows_how_to_ask() -> None:
    said = CliRunner().invoke(cli, ["events", "--help"]).stdout
    assert "Without a zone it is UTC" in said
    assert "pgoauthd events --identity alice@example.org" in said


def test_nothing_that_fits_is_no_failure_and_says_what_is_kept(state: Path) -> None:
    history(state, outcome(time=AT), outcome(time=AT + 60))
    done = ask(state, "--identity", "alice")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing fits; kept are outcomes from 2026-11-22 01:13:20 to 2026-11-22 01:14:20 UTC" in done.stderr
    assert "* stands for any text: 'alice*'" in done.stderr


def test_a_history_that_begins_later_than_asked_for_says_so(state: Path) -> None:
    history(state, outcome(time=AT))
    assert "the history begins at 2026-11-22 01:13:20 UTC" in ask(state, "--since", "2026-11-01").stderr
    assert ask(state, "--since", "2026-11-23").stdout == ""


def test_an_empty_history_is_called_empty(state: Path) -> None:
    history(state)
    assert "the history is empty" in ask(state).stderr


def test_a_state_that_cannot_be_read_ends_with_1_and_without_a_traceback(tmp_path: Path) -> None:
    done = pgoauthd("events", "--state", str(tmp_path / "none.db"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}/none.db: there is no such file; start the daemon")


def test_a_table_neutralises_what_a_terminal_would_obey(state: Path) -> None:
    history(state, outcome(role="\x1b[2J", identity="a\u202eb", client_addr="x\ny"))
    shown = ask(state, "--table").stdout
    assert "\\x1b[2J" in shown
    assert "a\\u202eb" in shown
    assert "x\\ny" in shown
    assert not set("\x1b\u202e") & set(shown)


def test_a_table_says_the_day_where_it_changes(state: Path) -> None:
    day = 1_795_305_600.0
    history(state, *(outcome(time=day + seconds) for seconds in (-1, 0.5, 7)))
    firsts = [line.split()[0] for line in ask(state, "--table").stdout.splitlines()]
    assert firsts == ["UTC", "2026-11-21", "23:59:59.000", "2026-11-22", "00:00:00.500", "00:00:07.000"]


def test_a_table_does_not_say_that_today_is_today(state: Path) -> None:
    history(state, outcome(time=time.time()))
    assert len(ask(state, "--table").stdout.splitlines()) == 2


def test_a_table_names_the_clusters_where_there_are_several(state: Path) -> None:
    with HistoryFile(state, clusters=("east", "west")) as file:
        file.add(outcome(cluster="east"), outcome(cluster="west"))
    assert "west" in ask(state, "--table").stdout
    assert "west" not in ask(state, "--table", "--cluster", "west").stdout


def test_a_reason_of_a_later_version_is_shown_as_it_is(state: Path) -> None:
    with HistoryFile(state) as file:
        file.add(outcome(remedy="Wait."))
        file.connection.execute(
            "UPDATE outcome SET body = replace(CAST(body AS TEXT), 'usermap_no_match', 'moonphase')"
        )
    assert "moonphase" in ask(state, "--table").stdout


def test_an_outcome_that_cannot_be_read_is_an_error_that_says_how_to_see_it(state: Path) -> None:
    with HistoryFile(state) as file:
        file.add(outcome())
        file.connection.execute("UPDATE outcome SET body = '{'")
    done = ask(state, "--table")
    assert isinstance(done.exception, StateError)
    assert "--json shows it" in str(done.exception)


def test_a_terminal_shows_a_table_with_colours_and_remedies(state: Path) -> None:
    history(state, outcome())
    status, shown = on_a_terminal("events", "--state", str(state))
    assert status == 0
    assert "\x1b[31m" in shown
    assert "what to do" in shown


def test_a_terminal_of_80_columns_shows_each_reason_and_each_success(state: Path) -> None:
    history(state, outcome(Reason.VALIDATOR_INTERNAL_ERROR), outcome(Reason.OK))
    _, shown = on_a_terminal("events", "--state", str(state), columns=80)
    assert "validator_internal_error" in shown
    assert "success" in shown
    assert "what to do" not in shown


@contextmanager
def following(state: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    # Whoever starts the tests in the background may have the interrupt ignored, which is inherited.
    listening = ["env", "--default-signal=INT"]
    command = [*listening, sys.executable, "-m", "pgoauthd", "events", "--state", str(state), "--follow", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[bytes], size: int, seconds: float = 30.0) -> bytes:
    """So many bytes of what it writes, and no more than there are by then; a failure instead of waiting for ever."""
    assert process.stdout is not None
    said = b""
    while len(said) < size:
        assert select.select([process.stdout], [], [], seconds)[0], f"{len(said)} of {size} bytes came"
        part = os.read(process.stdout.fileno(), 65536)
        assert part, f"it ended after {len(said)} of {size} bytes"
        said += part
    return said


def text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_follow_shows_what_is_kept_and_then_each_commit_until_interrupted(state: Path) -> None:
    with HistoryFile(state) as file:
        kept = file.add(outcome(), outcome(role="other"), outcome())
        with following(state, "--role", "app", "--last", "1") as process:
            assert read(process, len(text(kept[2:]))) == text(kept[2:])
            for _ in range(3):
                added = file.add(outcome(role="other"), outcome(), outcome(Reason.OK))
                assert read(process, len(text(added[1:]))) == text(added[1:])
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=30)
    assert (process.returncode, rest, said.strip()) == (130, b"", b"")


def test_follow_goes_on_with_the_state_that_takes_the_place_of_another(state: Path) -> None:
    with HistoryFile(state) as file, following(state) as process:
        first = file.add(outcome())
        assert read(process, len(text(first))).endswith(text(first))
        last = file.add(outcome(role="last"))
        for ending in ("-shm", "-wal", ""):
            state.with_name(f"state.db{ending}").rename(state.with_name(f"state.db.damaged{ending}"))
        with HistoryFile(state) as new:
            added = new.add(outcome(role="new"))
            expected = text([*last, *added])
            assert read(process, len(expected)) == expected


def test_follow_ends_as_soon_as_nobody_reads_it(state: Path) -> None:
    (line,) = history(state, outcome())
    with following(state) as process:
        read(process, len(line) + 1)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("form", ["--json", "--table"])
def test_a_reader_who_has_seen_enough_is_no_error(state: Path, form: str) -> None:
    history(state, *(outcome() for _ in range(1000)))
    command = shlex.join([sys.executable, "-m", "pgoauthd", "events", "--state", str(state), "--all", form])
    pipe = ["bash", "-c", f"set -o pipefail; {command} | head -n 1"]
    done = subprocess.run(pipe, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
