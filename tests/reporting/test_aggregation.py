"""What is counted, line by line."""

from __future__ import annotations

import json
import random
from typing import Any, get_args

import pytest

from pgoauthd.correlation.outcome import Result
from pgoauthd.reporting.aggregation import Asked
from pgoauthd.reporting.lines import Ended
from pgoauthd.reporting.overtime import RESULTS
from pgoauthd.reporting.values import Counts, IdentityRow, Ranking
from pgoauthd.tokens.reasons import Reason
from tests.fix_outcomes import AT
from tests.reporting.fix_reports import CLAIMS, HOUR, a_day, line, report_of

RANKINGS = ("identities", "roles", "client_addrs", "issuers", "client_ids", "methods", "clusters")


def people(ranking: Ranking) -> dict[str, IdentityRow]:
    return {row.name: row for row in ranking.rows if isinstance(row, IdentityRow)}


def test_totals_count_how_attempts_ended_and_discoveries_apart() -> None:
    report = report_of(a_day())
    assert report.totals == Counts(attempts=29, success=24, refused=4, abandoned=1, discoveries=23)
    assert report.lines.counted == 52


def test_the_success_ratio_is_that_of_oauth_logins_that_came_to_an_end() -> None:
    others = [line(Reason.OTHER_METHOD_FAILED, method="md5")] * 5
    ended = [line(Reason.OK)] * 3 + [line()]
    without_end = [line(Reason.DISCOVERY), line(Reason.CLIENT_GONE)]
    assert report_of(others + ended + without_end).oauth.success_ratio == 0.75
    assert report_of(others).oauth.success_ratio is None


@pytest.mark.parametrize("member", RANKINGS)
@pytest.mark.parametrize("limit", [4, 1_000])
@pytest.mark.parametrize("seed", range(3))
def test_rows_others_and_unnamed_are_always_all_that_was_counted(member: str, limit: int, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test
    reasons = [Reason.OK, Reason.DISCOVERY, Reason.CLIENT_GONE, Reason.USERMAP_NO_MATCH]
    lines = [
        line(
            dice.choice(reasons),
            identity=dice.choice([None, f"p{dice.randrange(30)}"]),
            role=dice.choice([None, f"r{dice.randrange(30)}"]),
            client_addr=dice.choice([None, f"192.0.2.{dice.randrange(30)}"]),
            cluster=f"c{dice.randrange(3)}",
            issuer=None,
            claims=dice.choice([None, CLAIMS]),
        )
        for _ in range(300)
    ]
    report = report_of(lines, top=3, max_identities=limit, max_names=limit)
    ranking: Ranking = getattr(report, member)
    parts = [*ranking.rows, ranking.others, ranking.unnamed]
    for name in Counts.__struct_fields__:
        assert sum(getattr(part, name) for part in parts) == getattr(report.totals, name), name


def test_a_name_that_comes_often_keeps_its_row_among_very_many_and_says_what_it_may_lack() -> None:
    lines = []
    for number in range(2_000):
        lines.append(line(role=f"guess{number}"))
        if number % 20 == 0:
            lines.append(line(role="postgres"))
    roles = report_of(lines, max_names=100).roles
    assert not roles.exact
    assert roles.distinct >= 100
    (first, *_) = roles.rows
    assert first.name == "postgres"
    assert first.attempts <= 100 <= first.attempts + roles.undercounted_by_at_most


@pytest.mark.parametrize("seed", range(5))
def test_a_row_never_says_too_much_nor_lacks_more_than_it_may(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test
    names = [f"r{int(dice.paretovariate(0.5)) % 200}" for _ in range(1_000)]
    roles = report_of([line(role=name) for name in names], top=100, max_names=20).roles
    lacking = [names.count(row.name) - row.attempts for row in roles.rows]
    assert 0 < max(lacking) <= roles.undercounted_by_at_most
    assert min(lacking) >= 0


def test_who_logged_in_is_kept_before_who_did_not() -> None:
    lines = [line(Reason.OK, identity="alice")]
    lines += [line(identity=f"guess{number}") for number in range(500) for _ in range(2)]
    identities = report_of(lines, top=100, max_identities=50).identities
    assert "alice" in people(identities)
    assert identities.succeeded == 1


def test_below_the_limit_all_is_exact() -> None:
    roles = report_of([line(role=f"r{number % 100}") for number in range(1_000)], max_names=100).roles
    assert (roles.exact, roles.distinct, roles.undercounted_by_at_most) == (True, 100, 0)


def test_an_identity_has_its_roles_and_the_number_of_its_addresses() -> None:
    lines = [line(role=f"r{number % 3}", client_addr=f"192.0.2.{number % 7}") for number in range(50)]
    row = people(report_of(lines).identities)["alice@example.org"]
    assert (row.roles, row.more_roles) == (("r0", "r1", "r2"), False)
    assert (row.client_addrs, row.more_client_addrs, row.last_client_addr) == (7, False, "192.0.2.0")


def test_of_very_many_roles_of_an_identity_it_is_said_that_there_are_more() -> None:
    row = people(report_of([line(role=f"r{number}") for number in range(50)]).identities)["alice@example.org"]
    assert (len(row.roles), row.more_roles) == (8, True)


def test_a_cause_says_who_has_to_act_what_to_do_and_gives_its_newest_example() -> None:
    lines = [line(time=AT + 5, message="second"), line(time=AT, message="first"), line(Reason.OK)]
    (cause,) = report_of(lines).causes.rows
    reason = Reason.USERMAP_NO_MATCH
    assert (cause.reason, cause.stage, cause.fault, cause.remedy) == (reason, reason.stage, reason.fault, reason.remedy)
    assert (cause.count, cause.example) == (2, "second")
    assert cause.first_seen < cause.last_seen


def test_the_newest_refusal_of_a_name_is_told_whatever_the_order_of_the_lines() -> None:
    lines = [line(Reason.ROLE_MISSING, time=AT + 5), line(Reason.USERMAP_NO_MATCH, time=AT)]
    for order in (lines, lines[::-1]):
        assert report_of(order).roles.rows[0].last_refusal == "role_missing"


def test_neither_a_success_nor_a_discovery_has_a_cause() -> None:
    assert report_of([line(Reason.OK), line(Reason.DISCOVERY)]).causes.rows == ()


def test_only_what_lies_in_the_period_counts_its_beginning_included() -> None:
    lines = [line(time=AT + second) for second in range(10)]
    report = report_of(lines, Asked(since=AT + 2, until=AT + 5))
    assert (report.lines.counted, report.lines.left_out) == (3, 7)


def test_only_the_clusters_asked_for_count() -> None:
    report = report_of(a_day(), Asked(clusters=("standby",)))
    assert report.totals == Counts(attempts=3, refused=3)
    assert [row.name for row in report.clusters.rows] == ["standby"]


def test_without_an_issuer_in_the_outcome_that_of_the_claims_counts() -> None:
    lines = [line(issuer=None, claims=CLAIMS), line(issuer=None)]
    issuers = report_of(lines).issuers
    assert [row.name for row in issuers.rows] == [CLAIMS.iss]
    assert issuers.unnamed.attempts == 1


def changed(**members: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps(json.loads(line()) | members).encode()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"version":1',
        line()[:-1],
        line() + b"x",
        changed(version=2),
        changed(result="maybe"),
        changed(time="yesterday"),
        changed(time="2026-11-22T01:11:56.599"),
        changed(time="9999-12-31T23:59:59.999Z"),
        changed(time="1969-12-31T23:59:59.999Z"),
        changed(reason="x" * 65),
        changed(role=7),
        changed(cluster=None),
        changed(validation_seconds="1"),
    ],
)
def test_a_line_that_is_no_outcome_is_counted_as_unreadable(bad: bytes) -> None:
    report = report_of([bad, line()])
    assert (report.lines.unreadable, report.lines.counted) == (1, 1)


def test_members_that_a_newer_version_adds_and_reasons_that_it_knows_are_taken() -> None:
    newer = changed(new_member={"a": [1]}, reason="solar_flare", stage="orbit", fault="sun")
    (cause,) = report_of([newer]).causes.rows
    assert (cause.reason, cause.stage, cause.fault) == ("solar_flare", "orbit", "sun")


def test_long_names_are_cut_and_those_that_begin_alike_stay_apart() -> None:
    roles = report_of([line(role="r" * 5_000 + end) for end in "ab"]).roles
    assert roles.distinct == 2
    assert max(len(row.name) for row in roles.rows) <= 128


def test_of_no_lines_there_is_a_report_of_nothing() -> None:
    report = report_of([])
    assert report.totals == Counts()
    assert (report.over_time, report.period.first, report.validation_seconds) == (None, None, None)


def test_every_result_is_counted_in_the_steps_of_time() -> None:
    over_time = report_of(a_day()).over_time
    assert over_time is not None
    totals = report_of(a_day()).totals
    for name in Counts.__struct_fields__:
        assert sum(getattr(bar, name) for bar in over_time.bars) == getattr(totals, name)


def test_the_steps_show_the_period_asked_for_and_not_only_where_there_was_something() -> None:
    over_time = report_of([line(time=AT), line(time=AT + 6 * HOUR)], Asked(since=AT - 6 * HOUR, until=AT + 12 * HOUR))
    shown = over_time.over_time
    assert shown is not None
    assert 17.5 * HOUR <= shown.step_seconds * len(shown.bars) <= 18.5 * HOUR


def test_where_next_to_nothing_is_in_the_period_the_steps_show_that_part() -> None:
    shown = report_of([line(time=AT), line(time=AT + HOUR)], Asked(since=0)).over_time
    assert shown is not None
    assert shown.step_seconds == 60


def test_all_results_are_known() -> None:
    assert {*Result} == {*get_args(Ended)} == {*RESULTS}
