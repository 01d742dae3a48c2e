"""Makes outcomes, each a refused login unless the test says otherwise."""

from __future__ import annotations

from typing import Any

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.telemetry.metrics import result_of
from pgoauthd.tokens.reasons import Reason

AT = 1_795_310_000.0


def outcome(reason: Reason = Reason.USERMAP_NO_MATCH, **fields: Any) -> Outcome:  # noqa: ANN401 - any field
    known: dict[str, Any] = {
        "time": AT,
        "started": AT - 0.02,
        "cluster": "main",
        "session_id": "6b022a30.1267",
        "pid": 4711,
        "result": result_of(reason),
        "reason": reason,
        "stage": reason.stage,
        "fault": reason.fault,
        "method": "oauth",
        "role": "app",
        "database": "shop",
        "identity": "alice@example.org",
        "client_addr": "192.0.2.7",
        "client_port": 50001,
        "application_name": "psql",
        "hba_file": "/etc/postgresql/18/main/pg_hba.conf",
        "hba_line": 7,
        "usermap": "people",
        "delegated": False,
        "issuer": "https://idp.example.org/realms/main",
        "message": reason.sentence,
        "remedy": reason.remedy,
    }
    return Outcome(**(known | fields))
