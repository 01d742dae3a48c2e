"""A real PostgreSQL whose validator says what those of others say: a module of our own, built for the test.

The modules themselves cannot be had from any package registry; the texts are theirs (docs/log-only.md), everything
around them is the server's: levels, DETAILs, SQLSTATEs, the lines that follow, and the log's formats.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster, LogDestination
from pgoauthd.demo.place import find_installation
from pgoauthd.demo.shimbuild import COMPILER_FLAGS
from pgoauthd.tokens.reasons import Reason

SOURCE = Path(__file__).with_name("othervalidator.c")
HBA = 'host all all 127.0.0.1/32 oauth issuer="https://issuer.example.org" scope="openid db"\n'
PREFIX = "%m [%p] %q%u@%d "
EXCEPTION = "OAuth validation failed with exception: "


@dataclass(frozen=True, slots=True)
class Line:
    """What a validator says; %s stands for the token."""

    level: str
    text: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One role, what the validator says when it logs in, how that ends, and what must be known of it."""

    role: str
    lines: tuple[Line, ...]
    ending: str
    reason: Reason
    leaks: bool = False


def _percona(role: str, text: str, reason: Reason) -> Case:
    return Case(role, (Line("WARNING", EXCEPTION + text),), "FAILS", reason)


def _cloudnativepg(role: str, http: int, curl: str, reason: Reason) -> Case:
    said = f'kc: decision resp http={http} time=12.5ms body_len=0 decision=false rc={curl} err="(no detail)"'
    last = f'kc: authorization = FALSE for perm="appdb#{role}"'
    return Case(role, (Line("DEBUG1", said), Line("DEBUG1", last)), "REFUSES", reason)


def _proddata(role: str, codes: str, reason: Reason) -> Case:
    return Case(role, (Line("DEBUG1", "OAuth access token rejected", codes),), "REFUSES_NOBODY", reason)


_SCOPES = "Authorization failed because of scope mismatch. Required scopes: db, openid. Received scopes: openid"
_CLAIM = "OAuth failed: claim 'email' (authn_field) is missing. Available claims: aud, exp, iss, sub"
_MISSING = "Invalid token: missing payload: %s"
_GOOD = "http=http_ok metadata=ok"

CASES = (
    _percona("p_expired", "token expired", Reason.EXPIRED),
    _percona("p_forged", "failed to verify signature: VerifyFinal failed", Reason.SIGNATURE_INVALID),
    _percona("p_kid", "wrong algorithm", Reason.KEY_UNKNOWN),
    _percona("p_issuer", "claim value does not match expected value", Reason.ISSUER_MISMATCH),
    _percona("p_audience", "token doesn't contain the required audience", Reason.AUDIENCE_MISMATCH),
    _percona("p_opaque", "invalid token supplied", Reason.TOKEN_OPAQUE),
    _percona("p_down", "HTTP request failed: Couldn't connect to server", Reason.IDP_UNREACHABLE),
    _percona("p_late", "HTTP request failed: Timeout was reached", Reason.IDP_TIMEOUT),
    _percona("p_error", "HTTP request returned status code: 503", Reason.IDP_ERROR),
    _percona("p_html", "JSON parsing failed: syntax error\nnear: <html>\n\tLOG,", Reason.IDP_METADATA_INVALID),
    _percona("p_else", "of tomorrow", Reason.VALIDATOR_INTERNAL_ERROR),
    Case("p_claim", (Line("WARNING", _CLAIM),), "FAILS", Reason.IDENTITY_MISSING),
    Case("p_scope", (Line("LOG", _SCOPES),), "REFUSES", Reason.SCOPE_MISSING),
    Case("p_raises", (Line("ERROR", EXCEPTION + "token expired"),), "FAILS", Reason.EXPIRED),
    Case("p_says", (Line("WARNING", EXCEPTION + "no good: %s"),), "FAILS", Reason.VALIDATOR_INTERNAL_ERROR, leaks=True),
    Case(
        "t_dots",
        (Line("LOG", "Invalid token format, two dots required: %s"), Line("LOG", _MISSING)),
        "FAILS",
        Reason.TOKEN_OPAQUE,
        leaks=True,
    ),
    Case(
        "t_base64",
        (Line("LOG", "Invalid token format: base64 decoding error"), Line("LOG", _MISSING)),
        "FAILS",
        Reason.BASE64_INVALID,
        leaks=True,
    ),
    Case(
        "t_claims",
        (Line("LOG", "Invalid token: missing sub and/or scope fields: %s"),),
        "FAILS",
        Reason.CLAIM_MISMATCH,
        leaks=True,
    ),
    Case("t_scope", (Line("DEBUG1", "nothing"),), "REFUSES", Reason.VALIDATOR_REFUSED),
    Case("f_success", (Line("LOG", "Found decoded_token: %s"),), "ACCEPTS", Reason.OK, leaks=True),
    _proddata(
        "d_expired", f"validator=validator_claims issuer_key=issuer_key_ok {_GOOD} claims=expired", Reason.EXPIRED
    ),
    _proddata(
        "d_down",
        "validator=validator_issuer_key issuer_key=issuer_key_metadata_http http=http_network_failure claims=ok",
        Reason.IDP_UNREACHABLE,
    ),
    _cloudnativepg("k_token", 401, "22(HTTP response code said error)", Reason.TOKEN_INACTIVE),
    _cloudnativepg("k_denied", 403, "22(HTTP response code said error)", Reason.VALIDATOR_REFUSED),
    _cloudnativepg("k_late", 0, "28(Timeout was reached)", Reason.IDP_TIMEOUT),
    Case("k_issuer", (Line("DEBUG1", "kc: issuer check failed -> deny"),), "REFUSES_NOBODY", Reason.ISSUER_MISMATCH),
    Case("k_good", (Line("DEBUG1", 'kc: authorization = TRUE for perm="appdb#k_good"'),), "ACCEPTS", Reason.OK),
)
"""p: Percona, t: Tantor, f: a copy of Percona's, d: proddata, k: CloudNativePG."""


def _table() -> str:
    rows = (
        f"\t{{{_c(case.role)}, {line.level}, {_c(line.text)}, {_c(line.detail)}, {case.ending}}},\n"
        for case in CASES
        for line in case.lines
    )
    return "".join(rows)


def _c(text: str | None) -> str:
    return "NULL" if text is None else json.dumps(text)


def _build(directory: Path) -> Path:
    (directory / "othervalidator_lines.h").write_text(_table(), encoding="ascii")
    pg_config = find_installation() / "bin" / "pg_config"
    words: list[str | Path] = [pg_config, "--includedir-server"]
    headers = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    library = directory / "othervalidator.so"
    words = ["cc", *COMPILER_FLAGS, "-Wall", "-Werror", "-isystem", headers, "-I", directory, "-o", library, SOURCE]
    subprocess.run(words, check=True)
    return library


@contextlib.asynccontextmanager
async def foreign_cluster(**extra: str) -> AsyncIterator[DemoCluster]:
    """A server with that module, which writes its log in all three formats, with levels down to DEBUG1."""
    with tempfile.TemporaryDirectory() as directory:
        library = _build(Path(directory))
        settings = ClusterSettings(
            hba=HBA,
            shim=library,
            log_destinations=tuple(LogDestination),
            log_line_prefix=PREFIX,
            extra={"log_min_messages": "debug1"} | extra,
        )
        async with DemoCluster(settings) as cluster:
            await cluster.run_sql("".join(f"CREATE ROLE {case.role} LOGIN;" for case in CASES))
            yield cluster
