"""A probe as JSON (docs/kong.md) and in words; no secret and no piece of a token is in either."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from pgoauthd.probing.advice import issuer_of, warnings
from pgoauthd.probing.parameters import Parameters
from pgoauthd.probing.steps import Probed, Step, Wanted
from pgoauthd.probing.tokenfacts import TokenFacts
from pgoauthd.telemetry.log import redact

_OUTCOME = ("id", "time", "cluster", "session_id", "reason", "stage", "fault", "message", "remedy", "identity")
"""What of an outcome is told with a probe."""


def as_members(probed: Probed) -> dict[str, Any]:
    """The members of the JSON object."""
    parameters, failure = probed.parameters, probed.failure
    done = {one.step: one for one in probed.steps}
    return {
        "probe": parameters.name,
        "server": parameters.server.value,
        "ok": probed.ok,
        "failed_step": probed.failed,
        "message": redact(failure.message) if failure is not None else None,
        "remedy": redact(failure.remedy) if failure is not None else None,
        "host": parameters.host,
        "port": parameters.port,
        "database": parameters.database,
        "user": parameters.user,
        "client_id": parameters.oauth.client_id,
        "steps": [
            {
                "step": step.value,
                "ok": done[step].ok if step in done else None,
                "seconds": round(done[step].seconds, 6) if step in done else None,
            }
            for step in Step
        ],
        "token_endpoint": probed.token_endpoint,
        "token": _plain(probed.token),
        "seen": _plain(probed.seen),
        "outcome": outcome_members(probed),
        "hints": list(probed.hints),
        "warnings": list(warnings(parameters)),
    }


def outcome_members(probed: Probed) -> dict[str, Any] | None:
    """What our own side says of the login."""
    return None if probed.outcome is None else {name: probed.outcome.get(name) for name in _OUTCOME}


def says_of_token(token: TokenFacts) -> str:
    """The facts in one line."""
    parts = [
        ("of", token.issuer),
        ("aud", " ".join(token.audience) or ("none" if token.form == "JWT" else None)),
        ("scope", " ".join(token.scope) or "none"),
        ("client", token.client),
        ("sub is", token.subject),
        ("expires in", None if token.expires_in_seconds is None else f"{token.expires_in_seconds} s"),
    ]
    return f"{token.form} " + ", ".join(f"{name} {value}" for name, value in parts if value is not None)


def says_of_wanted(wanted: Wanted, parameters: Parameters) -> str:
    """What the server wants beside what was asked for."""
    issuer = issuer_of(wanted.openid_configuration) if wanted.openid_configuration else "not said"
    asked = parameters.oauth.scope or "none"
    return f"issuer {issuer}, scope {wanted.scope or 'none'} (asked for: {asked}); it said {wanted.status}"


def where_to_look(probed: Probed) -> str:
    """The command that shows our own side of a login which the server refused, on the database's host."""
    words = ["pgoauthd", "events", "--role", probed.parameters.user, "--last", "5"]
    port = probed.seen.local_port
    return shlex.join(words) + (f"  (the login came from port {port})" if port is not None else "")


def _plain(value: object) -> Any:  # noqa: ANN401 - what JSON can be
    return msgspec.to_builtins(value)
