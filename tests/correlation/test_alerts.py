from __future__ import annotations

import json
from typing import Any

import pytest

from pgoauthd.correlation import alert_json
from pgoauthd.correlation.alerts import (
    GIVE_UP_SECONDS,
    MAX_ALERTS_A_POST,
    MAX_TEXT,
    Alert,
    Alerts,
    Policy,
    Severity,
    Status,
    severity,
)
from pgoauthd.correlation.outcome import Result
from pgoauthd.tokens.reasons import Fault, Reason, Stage
from tests.fix_outcomes import AT, outcome

INTERVAL = 60.0
RESOLVE = 300.0
DEFAULT = frozenset(
    {Reason.USERMAP_NO_MATCH, Reason.IDENTITY_MISMATCH, Reason.DELEGATION_REFUSED, Reason.SCOPE_MISSING}
)


def alerts_of(reasons: frozenset[Reason] = DEFAULT, **limits: Any) -> Alerts:  # noqa: ANN401 - fields of Policy
    return Alerts(Policy(reasons=reasons, group_interval=INTERVAL, resolve_after=RESOLVE, **limits))


def posted(alerts: Alerts, now: float) -> tuple[Alert, ...]:
    """What is due, delivered at once."""
    due = alerts.due(now)
    alerts.delivered(due, now)
    return due


@pytest.mark.parametrize("reason", sorted(DEFAULT))
def test_a_refusal_for_a_chosen_reason_is_due_at_once(reason: Reason) -> None:
    alerts = alerts_of()
    assert alerts.add(outcome(reason), AT)
    (alert,) = alerts.due(AT)
    assert (alert.status, alert.cluster, alert.reason, alert.count) == (Status.FIRING, "main", reason, 1)
    assert alert.starts_at == alert.last_seen_at == AT


@pytest.mark.parametrize("reason", sorted(set(Reason) - DEFAULT))
def test_a_reason_that_was_not_chosen_is_no_news(reason: Reason) -> None:
    alerts = alerts_of()
    assert not alerts.add(outcome(reason), AT)
    assert alerts.due(AT + 10 * RESOLVE) == ()
    assert len(alerts) == 0


@pytest.mark.parametrize("reason", [Reason.OK, Reason.DISCOVERY])
def test_neither_success_nor_discovery_is_news_even_if_chosen(reason: Reason) -> None:
    alerts = alerts_of(frozenset(Reason))
    assert not alerts.add(outcome(reason), AT)
    assert alerts.next_due() is None


def test_a_discovery_is_no_news_whatever_its_reason() -> None:
    alerts = alerts_of()
    assert not alerts.add(outcome(Reason.SCOPE_MISSING, result=Result.DISCOVERY), AT)


def test_an_abandoned_attempt_is_news_if_its_reason_was_chosen() -> None:
    alerts = alerts_of(frozenset({Reason.CLIENT_GONE}))
    assert alerts.add(outcome(Reason.CLIENT_GONE), AT)


def test_outcomes_of_one_cluster_and_reason_are_one_alert_with_their_count() -> None:
    alerts = alerts_of()
    for second in range(7):
        alerts.add(outcome(role=f"role{second}"), AT + second)
    (alert,) = alerts.due(AT + 7)
    assert alert.count == 7
    assert (alert.starts_at, alert.last_seen_at) == (AT, AT + 6)


def test_clusters_and_reasons_have_alerts_of_their_own() -> None:
    alerts = alerts_of()
    for cluster in ("main", "spare"):
        for reason in (Reason.SCOPE_MISSING, Reason.USERMAP_NO_MATCH):
            alerts.add(outcome(reason, cluster=cluster), AT)
    assert {(alert.cluster, alert.reason) for alert in alerts.due(AT)} == {
        ("main", Reason.SCOPE_MISSING),
        ("main", Reason.USERMAP_NO_MATCH),
        ("spare", Reason.SCOPE_MISSING),
        ("spare", Reason.USERMAP_NO_MATCH),
    }


def test_a_second_post_waits_for_the_group_interval() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    posted(alerts, AT)
    alerts.add(outcome(), AT + 1)
    assert alerts.due(AT + INTERVAL - 0.1) == ()
    assert alerts.next_due() == AT + INTERVAL
    (alert,) = alerts.due(AT + INTERVAL)
    assert alert.count == 2


def test_nothing_is_posted_twice_without_a_new_outcome() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    posted(alerts, AT)
    assert alerts.due(AT + 2 * INTERVAL) == ()
    assert alerts.next_due() == AT + RESOLVE


def test_an_alert_is_resolved_when_no_outcome_came_for_the_whole_time() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    posted(alerts, AT)
    assert alerts.due(AT + RESOLVE - 0.1) == ()
    (alert,) = posted(alerts, AT + RESOLVE)
    assert (alert.status, alert.count, alert.ends_at) == (Status.RESOLVED, 1, AT + RESOLVE)
    assert alerts.next_due() is None


def test_each_outcome_puts_the_end_of_an_alert_off() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    posted(alerts, AT)
    alerts.add(outcome(), AT + RESOLVE - 1)
    (alert,) = posted(alerts, AT + RESOLVE)
    assert (alert.status, alert.count) == (Status.FIRING, 2)
    assert alerts.next_due() == AT + RESOLVE - 1 + RESOLVE


def test_an_alert_that_begins_again_counts_from_one_and_keeps_the_interval() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    posted(alerts, AT)
    posted(alerts, AT + RESOLVE)
    alerts.add(outcome(identity="bob@example.org"), AT + RESOLVE + 1)
    assert alerts.due(AT + RESOLVE + 1) == ()
    (alert,) = alerts.due(AT + RESOLVE + INTERVAL)
    assert (alert.status, alert.count, alert.starts_at) == (Status.FIRING, 1, AT + RESOLVE + 1)
    assert [example.identity for example in alert.examples] == ["bob@example.org"]


def test_a_firing_alert_outlives_two_missing_posts_at_its_receiver() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    (alert,) = alerts.due(AT)
    assert alert.ends_at == AT + RESOLVE + 2 * INTERVAL


def test_what_was_not_delivered_stays_due_with_the_newest_count() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    alerts.due(AT)
    alerts.add(outcome(), AT + 1)
    (alert,) = alerts.due(AT + 1)
    assert alert.count == 2


def test_an_outcome_that_comes_while_a_post_is_on_its_way_is_in_the_next() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    due = alerts.due(AT)
    alerts.add(outcome(), AT + 1)
    alerts.delivered(due, AT + 2)
    (alert,) = alerts.due(AT + 2 + INTERVAL)
    assert alert.count == 2


def test_an_outcome_that_comes_while_the_resolution_is_on_its_way_begins_a_new_alert() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    posted(alerts, AT)
    resolved = alerts.due(AT + RESOLVE)
    alerts.add(outcome(identity="bob@example.org"), AT + RESOLVE + 1)
    alerts.delivered(resolved, AT + RESOLVE + 2)
    (alert,) = alerts.due(AT + RESOLVE + 2 + INTERVAL)
    assert (alert.status, alert.count, alert.starts_at) == (Status.FIRING, 1, AT + RESOLVE + 1)
    assert [example.identity for example in alert.examples] == ["bob@example.org"]


def test_an_alert_that_was_never_delivered_is_told_as_resolved() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    (alert,) = alerts.due(AT + RESOLVE)
    assert (alert.status, alert.count) == (Status.RESOLVED, 1)


def test_what_the_receiver_rejects_is_counted_and_not_posted_again() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    alerts.add(outcome(), AT)
    alerts.rejected(alerts.due(AT), AT)
    assert alerts.given_up == 2
    assert alerts.due(AT + INTERVAL) == ()
    alerts.rejected(alerts.due(AT + RESOLVE), AT + RESOLVE)
    assert alerts.given_up == 2


def test_a_receiver_away_for_a_day_is_not_told_what_it_missed() -> None:
    alerts = alerts_of()
    alerts.add(outcome(), AT)
    alerts.missed(AT + GIVE_UP_SECONDS)
    assert (alerts.given_up, len(alerts)) == (0, 1)
    alerts.missed(AT + GIVE_UP_SECONDS + 1)
    assert (alerts.given_up, len(alerts)) == (1, 0)


def test_beyond_the_bound_the_alert_seen_least_recently_is_given_up() -> None:
    alerts = alerts_of(max_groups=2)
    alerts.add(outcome(cluster="one"), AT)
    alerts.add(outcome(cluster="two"), AT + 1)
    alerts.add(outcome(cluster="one"), AT + 2)
    alerts.add(outcome(cluster="three"), AT + 3)
    assert [alert.cluster for alert in alerts.due(AT + 3)] == ["one", "three"]
    assert alerts.given_up == 1


def test_delivering_an_alert_that_was_given_up_meanwhile_changes_nothing() -> None:
    alerts = alerts_of(max_groups=1)
    alerts.add(outcome(cluster="one"), AT)
    due = alerts.due(AT)
    alerts.add(outcome(cluster="two"), AT)
    alerts.delivered(due, AT)
    assert [alert.cluster for alert in alerts.due(AT)] == ["two"]


def test_quiet_groups_make_room_before_alerts_do() -> None:
    alerts = alerts_of(max_groups=2)
    alerts.add(outcome(cluster="one"), AT)
    alerts.add(outcome(cluster="two"), AT)
    posted(alerts, AT)
    alerts.add(outcome(cluster="one"), AT + INTERVAL)
    posted(alerts, AT + INTERVAL)
    posted(alerts, AT + RESOLVE)
    alerts.add(outcome(cluster="three"), AT + RESOLVE + INTERVAL)
    assert {alert.cluster for alert in alerts.due(AT + RESOLVE + INTERVAL)} == {"one", "three"}
    assert alerts.given_up == 0


def test_one_post_holds_a_bounded_number_of_alerts_and_the_rest_follow() -> None:
    alerts = alerts_of()
    for number in range(MAX_ALERTS_A_POST + 1):
        alerts.add(outcome(cluster=f"c{number}"), AT)
    assert len(posted(alerts, AT)) == MAX_ALERTS_A_POST
    assert len(posted(alerts, AT)) == 1


def test_attempts_of_one_client_are_one_example_with_a_count() -> None:
    alerts = alerts_of()
    for pid in range(3):
        alerts.add(outcome(session_id=f"6b022a30.{pid}"), AT + pid)
    (alert,) = alerts.due(AT + 3)
    (example,) = alert.examples
    assert (example.count, example.session_id) == (3, "6b022a30.2")


def test_examples_are_the_last_few_different_ones() -> None:
    alerts = alerts_of(max_examples=2)
    for role in ("a", "b", "a", "c"):
        alerts.add(outcome(role=role), AT)
    (alert,) = alerts.due(AT)
    assert [(example.role, example.count) for example in alert.examples] == [("a", 2), ("c", 1)]
    assert alert.count == 4


def test_texts_in_examples_are_cut() -> None:
    alerts = alerts_of()
    alerts.add(outcome(message="x" * 100_000, identity="y" * MAX_TEXT), AT)
    (example,) = alerts.due(AT)[0].examples
    assert len(example.message) == MAX_TEXT
    assert example.message.endswith("…")
    assert example.identity == "y" * MAX_TEXT


@pytest.mark.parametrize("reason", Reason)
def test_a_broken_machinery_is_critical_and_a_refused_person_a_warning(reason: Reason) -> None:
    broken = reason.stage is Stage.IDP or (reason.stage is Stage.VALIDATOR and reason.fault is not Fault.CLIENT)
    assert severity(reason) is (Severity.CRITICAL if broken else Severity.WARNING)


def one_alert(**fields: Any) -> tuple[Alert, ...]:  # noqa: ANN401 - fields of Outcome
    alerts = alerts_of()
    alerts.add(outcome(**fields), AT)
    return alerts.due(AT)


def test_alertmanager_labels_are_closed_sets_and_configuration_only() -> None:
    (body,) = json.loads(alert_json.alertmanager(one_alert()))
    assert body["labels"] == {
        "alertname": "PgoauthdLoginsRefused",
        "cluster": "main",
        "reason": "usermap_no_match",
        "stage": "usermap",
        "severity": "warning",
    }


def test_alertmanager_annotations_say_who_and_what_to_do() -> None:
    (body,) = json.loads(alert_json.alertmanager(one_alert(), generator_url="http://127.0.0.1:9713/"))
    notes = body["annotations"]
    assert notes["summary"] == "1 login on cluster main ended with usermap_no_match"
    assert notes["description"] == Reason.USERMAP_NO_MATCH.sentence
    assert notes["remedy"] == Reason.USERMAP_NO_MATCH.remedy
    for text in ("role=app", "identity=alice@example.org", "client=192.0.2.7", "session=6b022a30.1267"):
        assert text in notes["examples"]
    assert body["generatorURL"] == "http://127.0.0.1:9713/"
    assert (body["startsAt"], body["endsAt"]) == ("2026-11-22T01:13:20.000Z", "2026-11-22T01:20:20.000Z")


def test_a_line_break_in_an_identity_makes_no_line_of_its_own() -> None:
    (body,) = json.loads(alert_json.alertmanager(one_alert(identity='mallory\n2026 role=postgres: "all is well')))
    assert len(body["annotations"]["examples"].splitlines()) == 1
    assert r"mallory\n2026" in body["annotations"]["examples"]


def test_text_that_is_no_unicode_is_still_delivered() -> None:
    document = json.loads(alert_json.webhook(one_alert(role="caf\udce9")))
    assert document["alerts"][0]["examples"][0]["role"] == "caf?"


def test_the_webhook_document_has_its_documented_members() -> None:
    document = json.loads(alert_json.webhook(one_alert()))
    assert document["version"] == 1
    (alert,) = document["alerts"]
    assert alert == {
        "status": "firing",
        "cluster": "main",
        "reason": "usermap_no_match",
        "stage": "usermap",
        "fault": "configuration",
        "severity": "warning",
        "sentence": Reason.USERMAP_NO_MATCH.sentence,
        "remedy": Reason.USERMAP_NO_MATCH.remedy,
        "count": 1,
        "starts_at": "2026-11-22T01:13:20.000Z",
        "last_seen_at": "2026-11-22T01:13:20.000Z",
        "ends_at": "2026-11-22T01:20:20.000Z",
        "examples": [
            {
                "time": "2026-11-22T01:13:20.000Z",
                "role": "app",
                "database": "shop",
                "identity": "alice@example.org",
                "client_addr": "192.0.2.7",
                "session_id": "6b022a30.1267",
                "message": Reason.USERMAP_NO_MATCH.sentence,
                "remedy": Reason.USERMAP_NO_MATCH.remedy,
                "count": 1,
            }
        ],
    }
