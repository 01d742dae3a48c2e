"""What a user name map said, beside what the server did with the login."""

from __future__ import annotations

import msgspec
import pytest

from pgoauthd.correlation.engine import Engine
from pgoauthd.correlation.mapped import Agreement, agreement, with_mapping
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.logs.events import Saying
from pgoauthd.mapping.prediction import Expected, MapPrediction, TriedLine
from pgoauthd.tokens.reasons import Reason
from tests.fix_events import START, authenticated, cause, fatal, received, verdict
from tests.fix_outcomes import outcome

LINE = TriedLine(
    file="/etc/pg_ident.conf", line=3, text="people bob bob", why='it gives the role "bob", asked was "app"'
)
MATCH = MapPrediction(expected=Expected.MATCH, map="people", message="It does.", file="/etc/pg_ident.conf", line=3)
NO_MATCH = MapPrediction(expected=Expected.NO_MATCH, map="people", message="None does.", tried=(LINE,), nearest=LINE)
UNKNOWN = MapPrediction(expected=Expected.UNKNOWN, map="people", message="Who knows.")


def test_a_refusal_by_the_map_names_the_nearest_line() -> None:
    before = outcome(Reason.USERMAP_NO_MATCH)
    after = with_mapping(before, NO_MATCH)

    assert after.mapping is NO_MATCH
    assert after.message == f"{before.message} Nearest is line 3 of /etc/pg_ident.conf: {LINE.why}."


def test_a_refusal_that_the_file_does_not_explain_asks_for_a_reload() -> None:
    message = with_mapping(outcome(Reason.USERMAP_NO_MATCH), MATCH).message

    assert message.endswith("Line 3 of /etc/pg_ident.conf lets it in: was the server reloaded since it was written?")


@pytest.mark.parametrize("reason", [Reason.OK, Reason.ROLE_MISSING, Reason.CLIENT_GONE])
def test_other_outcomes_keep_their_message(reason: Reason) -> None:
    assert with_mapping(outcome(reason), NO_MATCH).message == outcome(reason).message


def test_what_is_not_known_adds_nothing() -> None:
    assert with_mapping(outcome(Reason.USERMAP_NO_MATCH), UNKNOWN).message == outcome().message


def test_without_a_prediction_there_is_nothing_to_compare() -> None:
    assert agreement(outcome(Reason.OK)) is None


def test_a_refusal_of_another_stage_says_nothing_of_the_map() -> None:
    assert agreement(outcome(Reason.EXPIRED, mapping=MATCH)) is None


def test_the_prediction_of_a_verdict_is_in_its_outcome() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(msgspec.structs.replace(verdict(), usermap="people", mapping=NO_MATCH), START)
    engine = Engine("main", verdicts)
    lines = [received(), authenticated(), cause(Saying.USERMAP_NO_MATCH, usermap="people"), fatal()]
    outcomes: list[Outcome] = engine.observe(lines, START)

    assert outcomes[0].message == (
        'No line of map "people" lets "alice" log in as "alice". '
        'Nearest is line 3 of /etc/pg_ident.conf: it gives the role "bob", asked was "app".'
    )
    assert agreement(outcomes[0]) is Agreement.AGREED
