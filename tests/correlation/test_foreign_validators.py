"""Logins at servers with the validator of somebody else: which reason follows from its lines; who hears of leaks."""

from __future__ import annotations

import pytest

from pgoauthd.correlation.engine import Engine, Limits
from pgoauthd.correlation.outcome import Outcome, Result, Unmatched
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.tokens.reasons import Reason
from tests.fix_events import START, authenticated, authorized, cause, event, fatal, ready, received, verdict

TEXT = "OAuth validation failed with exception: token expired"
LEAKED = "Invalid token: missing payload: [redacted]"


def foreign(code: str | None = "expired", at: float = 0.012, *, detail: str = TEXT, leaked: bool = False) -> AuthEvent:
    return cause(Saying.FOREIGN, at, method="oauth", reason_code=code, detail=detail, leaked=leaked)


def outcome_of(*events: AuthEvent, verdicts: Verdicts | None = None) -> Outcome:
    (outcome,) = Engine("main", verdicts or Verdicts(max_age=90)).observe(events, START)
    return outcome


@pytest.mark.parametrize("then", [Saying.VALIDATOR_INTERNAL_ERROR, Saying.VALIDATOR_REFUSED])
def test_the_reason_is_what_the_validator_said_and_not_what_the_server_made_of_it(then: Saying) -> None:
    outcome = outcome_of(received(), foreign(), cause(then), fatal())
    assert (outcome.result, outcome.reason, outcome.method) == (Result.REFUSED, Reason.EXPIRED, "oauth")


def test_the_message_quotes_the_validator_and_says_so() -> None:
    assert outcome_of(received(), foreign(), fatal()).message == f"The server's validator said: {TEXT}"


def test_no_identity_is_taken_from_such_a_line() -> None:
    outcome = outcome_of(received(), foreign(detail='identity="root" authn_id=root'), fatal())
    assert outcome.identity is None
    assert outcome.claims is None


def test_the_first_reason_counts() -> None:
    outcome = outcome_of(received(), foreign("base64_invalid"), foreign("token_malformed", leaked=True), fatal())
    assert outcome.reason is Reason.BASE64_INVALID


def test_a_line_that_does_not_say_why_gives_way_to_one_that_does() -> None:
    outcome = outcome_of(received(), foreign(None, leaked=True), foreign("expired"), fatal())
    assert outcome.reason is Reason.EXPIRED
    outcome = outcome_of(received(), foreign(None, leaked=True), cause(Saying.USERMAP_NO_MATCH), fatal())
    assert outcome.reason is Reason.USERMAP_NO_MATCH


def test_a_line_that_does_not_say_why_leaves_a_refusal_without_a_reason() -> None:
    outcome = outcome_of(received(), foreign(None, detail=LEAKED, leaked=True), fatal())
    assert outcome.reason is Reason.VALIDATOR_REFUSED


def test_our_own_validators_line_goes_before_it() -> None:
    own = cause(Saying.SHIM, 0.013, reason_code="audience_mismatch", detail="for somebody else")
    for lines in ((foreign(), own), (own, foreign())):
        outcome = outcome_of(received(), *lines, fatal())
        assert (outcome.reason, outcome.message) == (Reason.AUDIENCE_MISMATCH, "for somebody else")


def test_our_own_verdict_goes_before_it() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(verdict(Reason.SCOPE_MISSING), START)
    outcome = outcome_of(received(), foreign(), fatal(), verdicts=verdicts)
    assert (outcome.reason, outcome.message) == (Reason.SCOPE_MISSING, "the verdict says scope_missing")


def test_a_yes_of_ours_does_not_hide_the_no_of_another() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(verdict(), START)
    assert outcome_of(received(), foreign(), fatal(), verdicts=verdicts).reason is Reason.EXPIRED


def test_a_code_that_is_none_is_no_reason() -> None:
    assert outcome_of(received(), foreign("of_tomorrow"), fatal()).reason is Reason.VALIDATOR_REFUSED


def test_what_a_validator_raises_is_the_reason_too() -> None:
    raised = fatal(Saying.FOREIGN, reason_code="idp_unreachable", detail="HTTP request failed: x")
    outcome = outcome_of(received(), raised)
    assert (outcome.reason, outcome.method) == (Reason.IDP_UNREACHABLE, "oauth")
    assert outcome.message == "The server's validator said: HTTP request failed: x"


def test_the_servers_own_reason_for_the_end_goes_before_it() -> None:
    outcome = outcome_of(received(), foreign("idp_timeout"), fatal(Saying.HANDSHAKE_TIMEOUT))
    assert outcome.reason is Reason.HANDSHAKE_TIMEOUT


def test_a_login_may_succeed_after_such_a_line() -> None:
    outcome = outcome_of(received(), foreign(None, leaked=True), authenticated(), authorized(), ready())
    assert (outcome.result, outcome.identity) == (Result.SUCCESS, "alice")


def test_a_login_whose_token_stands_in_several_lines_is_one_finding() -> None:
    engine = Engine("main", Verdicts(max_age=90))
    engine.observe([received(), foreign("token_opaque", leaked=True), foreign("token_malformed", leaked=True)], START)
    assert len(engine.leaks) == 1
    assert engine.leaks[0].session_id == received().session_id
    engine.observe([fatal(leaked=True), *(event(kind, pid=5) for kind in (EventKind.RECEIVED,))], START)
    engine.observe([cause(Saying.FOREIGN, leaked=True)], START + 1)
    assert len(engine.leaks) == 2


def test_a_finding_is_not_made_again_after_a_restart() -> None:
    first = Engine("main", Verdicts(max_age=90))
    first.observe([received(), foreign(leaked=True)], START)
    second = Engine("main", Verdicts(max_age=90), state=first.state)
    (outcome,) = second.observe([foreign(leaked=True), fatal()], START)
    assert outcome.reason is Reason.EXPIRED
    assert second.leaks == []


def test_an_engine_that_takes_no_verdicts_leaves_them_to_others() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(verdict(Reason.SCOPE_MISSING), START)
    log_only, ours = Engine("other", verdicts), Engine("main", verdicts)
    log_only.use(Limits(), validated_since=None, takes_verdicts=False)
    (outcome,) = log_only.observe([received(), foreign(), fatal()], START)
    assert (outcome.reason, outcome.issuer) == (Reason.EXPIRED, None)
    (outcome,) = ours.observe([received(), fatal()], START)
    assert outcome.reason is Reason.SCOPE_MISSING
    assert log_only.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 0
