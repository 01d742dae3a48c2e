"""The whole pure pipeline over the logs of real servers, in every format and every chunking."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.correlation.outcome_json import encode, to_dict
from pgoauthd.errors import LogFormatError
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat
from pgoauthd.replay import Replay, ReplaySettings
from pgoauthd.tokens.reasons import Reason
from tests.logs.fix_corpus import corpus

CORPUS = Path(__file__).parent / "data" / "pg-logs"
SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "outcome.schema.json").read_text(encoding="utf-8"))
FILES = ("postgresql.log", "postgresql.csv", "postgresql.json")
SETTINGS = ReplaySettings(cluster="corpus", prefix=compile_prefix("%m [%p] %q%u@%d "), timezone=ZoneInfo("UTC"))

SUCCESS = (Result.SUCCESS, Reason.OK)


def refused(reason: Reason) -> tuple[Result, Reason]:
    return Result.REFUSED, reason


EXPECTED = {
    "mapped-ok": SUCCESS,
    "direct-ok": SUCCESS,
    "identity-differs-no-map": refused(Reason.IDENTITY_MISMATCH),
    "no-match-in-map": refused(Reason.USERMAP_NO_MATCH),
    "scope-missing": refused(Reason.VALIDATOR_REFUSED),
    "discovery": (Result.DISCOVERY, Reason.DISCOVERY),
    "malformed-token": refused(Reason.TOKEN_MALFORMED),
    "validator-false": refused(Reason.TOKEN_OPAQUE),
    "delegated-ok": SUCCESS,
    "role-missing": refused(Reason.ROLE_MISSING),
    "role-nologin": refused(Reason.ROLE_NOLOGIN),
    "role-conn-limit": refused(Reason.ROLE_CONNECTION_LIMIT),
    "database-missing": refused(Reason.DATABASE_MISSING),
    "database-no-connect": refused(Reason.DATABASE_NO_CONNECT),
    "non-bearer-scheme": refused(Reason.TOKEN_NOT_BEARER),
    "empty-bearer": refused(Reason.TOKEN_EMPTY),
    "channel-binding": refused(Reason.CHANNEL_BINDING_UNSUPPORTED),
    "authzid": refused(Reason.AUTHZID_UNSUPPORTED),
    "no-auth-key": refused(Reason.SASL_NO_AUTH_VALUE),
    "client-abort": (Result.ABANDONED, Reason.CLIENT_GONE),
    "unix-socket-ok": SUCCESS,
    "quoted-role-ok": SUCCESS,
    "newline-in-identity": refused(Reason.IDENTITY_MISMATCH),
    "fake-tail-identity": refused(Reason.IDENTITY_MISMATCH),
    "regex-map-ok": SUCCESS,
    'my "app" ok': SUCCESS,
    "empty-identity": refused(Reason.VALIDATOR_NO_IDENTITY),
    "unicode-identity": refused(Reason.CLAIM_MISMATCH),
    "handshake-timeout": refused(Reason.HANDSHAKE_TIMEOUT),
    "scram-abort": (Result.ABANDONED, Reason.CONNECTION_LOST),
}
"""What the rows of outcomes.txt are, in the order of the attempts, on PostgreSQL 18."""

ON_19 = EXPECTED | {
    # Nothing is logged after `connection received`, neither of a discovery nor of a client that went away.
    "discovery": (Result.ABANDONED, Reason.SILENT),
    "client-abort": (Result.ABANDONED, Reason.SILENT),
    # The validator of this run hands its words over as error_detail, where that of the other returned false.
    "validator-false": refused(Reason.VALIDATOR_REFUSED),
    "empty-identity": refused(Reason.VALIDATOR_REFUSED),
    # An ERROR raised inside the validator is the session's FATAL under its own text.
    "unicode-identity": refused(Reason.SERVER_ERROR),
}

RUNS = {"18.6-default": EXPECTED, "19rc1-default": ON_19}
BURST = {SUCCESS: 20, refused(Reason.IDENTITY_MISMATCH): 10}


def replay(run: str, name: str) -> list[Outcome]:
    return list(Replay(SETTINGS).outcomes([CORPUS / run / name]))


def in_order(outcomes: list[Outcome]) -> list[Outcome]:
    """By attempt: a session's start and, within a second, its process id."""
    return sorted(outcomes, key=lambda outcome: (outcome.started or 0.0, outcome.pid))


def oauth_scenarios(run: str) -> list[str]:
    rows = (CORPUS / run / "outcomes.txt").read_text(encoding="utf-8").splitlines()
    return [row.split("\t")[0] for row in rows if not row.startswith("burst")]


def attempts(run: str, name: str) -> list[Outcome]:
    """The attempts of outcomes.txt: without the superuser's own sessions before and after them."""
    return [o for o in in_order(replay(run, name)) if o.method != "trust"]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", FILES)
def test_every_row_of_the_run_has_the_outcome_that_it_had_in_life(run: str, name: str) -> None:
    scenarios = oauth_scenarios(run)
    outcomes = attempts(run, name)
    ended = {scenario: (o.result, o.reason) for scenario, o in zip(scenarios, outcomes, strict=False)}
    assert ended == RUNS[run]
    burst = outcomes[len(scenarios) :]
    counts = {key: sum((o.result, o.reason) == key for o in burst) for key in BURST}
    assert counts == BURST
    assert len(burst) == 30


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", FILES)
def test_successes_carry_the_name_of_their_scenario(run: str, name: str) -> None:
    for scenario, outcome in zip(oauth_scenarios(run), attempts(run, name), strict=False):
        if outcome.application_name is not None:
            assert outcome.application_name == scenario


@pytest.mark.parametrize("run", RUNS)
def test_the_three_formats_give_identical_outcomes(run: str) -> None:
    texts = [[encode(outcome) for outcome in in_order(replay(run, name))] for name in FILES]
    assert len(texts[0]) >= 60
    assert texts[0] == texts[1]
    assert texts[1] == texts[2]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("plain", "wrapped"),
    [("postgresql.csv", LogFormat.CNPG), ("postgresql.log", LogFormat.JOURNAL)],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_log_of_a_pod_and_the_journal_give_identical_outcomes(
    run: str, plain: str, wrapped: LogFormat, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_bytes(gzip.compress(corpus(run, wrapped)) if suffix else corpus(run, wrapped))
    one = Replay(SETTINGS)
    assert [encode(outcome) for outcome in one.outcomes([path])] == [encode(o) for o in replay(run, plain)]
    assert (one.report.formats, one.report.parse_failures) == ({wrapped}, 0)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("wrapped", [LogFormat.CNPG, LogFormat.JOURNAL])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nor_do_theirs_depend_on_how_the_file_is_cut(run: str, wrapped: LogFormat, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = corpus(run, wrapped)
    path.write_bytes(data)
    pieces = list(cut(data, random.Random(seed)))  # noqa: S311 - a test's choice
    assert list(Chopped(SETTINGS, pieces).outcomes([path])) == list(Replay(SETTINGS).outcomes([path]))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_outcomes_do_not_depend_on_how_the_file_is_cut(run: str, name: str, seed: int, tmp_path: Path) -> None:
    whole = replay(run, name)
    data = (CORPUS / run / name).read_bytes()
    pieces = list(cut(data, random.Random(seed)))  # noqa: S311 - a test's choice
    path = tmp_path / name
    path.write_bytes(data)
    assert b"".join(pieces) == data
    assert list(Chopped(SETTINGS, pieces).outcomes([path])) == whole


def cut(data: bytes, chance: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = chance.choice([1, 2, 3, 17, 64, 300, 5000])
        yield data[at : at + size]
        at += size


class Chopped(Replay):
    """A replay whose file comes in given pieces."""

    def __init__(self, settings: ReplaySettings, pieces: list[bytes]) -> None:
        super().__init__(settings)
        self._pieces = pieces

    def _file(self, path: Path, stream: object) -> Iterator[Outcome]:  # noqa: ARG002 - the pieces stand for the stream
        reader = self._reader(path, b"".join(self._pieces))
        for piece in self._pieces:
            yield from self._engine.follow(reader.feed(piece))
        yield from self._engine.follow(reader.finish())


@pytest.mark.parametrize("run", RUNS)
def test_every_outcome_keeps_the_contract(run: str) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for outcome in replay(run, "postgresql.json"):
        document = json.loads(encode(outcome))
        validator.validate(document)
        assert set(document) == set(SCHEMA["required"])


def test_the_contract_names_every_member() -> None:
    outcome = replay("18.6-default", "postgresql.json")[0]
    assert list(to_dict(outcome)) == SCHEMA["required"]


def test_a_token_that_a_validator_leaked_into_the_log_is_in_no_outcome() -> None:
    leaked = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    assert leaked in (CORPUS / "18.6-default" / "postgresql.json").read_text(encoding="utf-8")
    for name in FILES:
        assert leaked.encode() not in b"".join(encode(outcome) for outcome in replay("18.6-default", name))


def test_a_compressed_log_is_read_as_it_is(tmp_path: Path) -> None:
    packed = tmp_path / "postgresql.json.gz"
    packed.write_bytes(gzip.compress((CORPUS / "18.6-default" / "postgresql.json").read_bytes()))
    assert list(Replay(SETTINGS).outcomes([packed])) == replay("18.6-default", "postgresql.json")


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n", encoding="utf-8")
    with pytest.raises(LogFormatError, match=r"notes\.txt: is not a PostgreSQL log .*--prefix"):
        list(Replay(SETTINGS).outcomes([path]))


def test_an_empty_file_has_no_outcomes(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    assert list(Replay(SETTINGS).outcomes([tmp_path / "empty.log"])) == []


def test_the_report_says_what_was_read() -> None:
    one = Replay(SETTINGS)
    list(one.outcomes([CORPUS / "18.6-default" / "postgresql.csv"]))
    assert one.report.files == 1
    assert one.report.formats == {LogFormat.CSVLOG}
    assert one.report.bytes_read == (CORPUS / "18.6-default" / "postgresql.csv").stat().st_size
    assert one.report.parse_failures == 0
