"""Makes reports of outcomes as the daemon writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pgoauthd.correlation.outcome_json import encode
from pgoauthd.reporting.aggregation import Aggregation, Asked
from pgoauthd.reporting.values import Report
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims
from tests.fix_outcomes import AT, outcome

HOUR = 3_600.0
CLAIMS = KeptClaims(iss="https://idp.example.org/realms/main", sub="4711", client_id="psql")


def line(reason: Reason = Reason.USERMAP_NO_MATCH, **fields: Any) -> bytes:  # noqa: ANN401 - any field
    """One outcome as a JSON line."""
    return encode(outcome(reason, **fields))


def report_of(lines: Iterable[bytes], asked: Asked | None = None, *, top: int = 10, **limits: int) -> Report:
    """What is said of these lines."""
    aggregation = Aggregation(asked, **limits)
    for one in lines:
        aggregation.add(one)
    return aggregation.report(now=AT + HOUR, top=top)


def a_day() -> list[bytes]:
    """Logins of a day: some of everything."""
    logins = [
        line(
            Reason.OK,
            time=AT + hour * HOUR,
            identity=f"person{hour % 5}@example.org",
            client_addr=f"192.0.2.{hour}",
            claims=CLAIMS,
            validation_seconds=0.001 * (hour + 1),
            server_authentication_seconds=0.01 * (hour + 1),
        )
        for hour in range(24)
    ]
    discoveries = [line(Reason.DISCOVERY, time=AT + hour * HOUR - 1, identity=None) for hour in range(1, 24)]
    refused = [line(Reason.EXPIRED, time=AT + hour * HOUR, identity=None, cluster="standby") for hour in (3, 4, 4)]
    return [*logins, *discoveries, *refused, line(time=AT + HOUR), line(Reason.CLIENT_GONE, time=AT, identity=None)]


HOSTILE = "<script>alert('1')</script>\u202e]]>&amp;\x1b[31m\"" + "x" * 400
"""A name as nobody has it."""


def hostile() -> list[bytes]:
    """Every text that somebody else may have chosen is hostile."""
    names = dict.fromkeys(("role", "identity", "client_addr", "cluster", "method", "issuer"), HOSTILE)
    names["method"] = HOSTILE[:64]
    claims = KeptClaims(iss=HOSTILE, client_id=HOSTILE)
    return [
        line(reason, message=HOSTILE, remedy=HOSTILE, claims=claims, **names)
        for reason in (Reason.OK, Reason.USERMAP_NO_MATCH)
    ]
