"""What the validators of others say of a login: their lines, as a reason and a text without tokens.

It never takes from them who somebody is, nor that a login was good. The texts are those of Percona's pg_oidc_validator
up to 1.1.0 (with those of jwt-cpp, which it passes on), Tantor's oauth_validator, proddata's pg_oauth_validator 0.1.0
and CloudNativePG's kc_validator 1.0 (docs/log-only.md). Reasons are codes of tokens.reasons.Reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pgoauthd.logs.redaction import REDACTED, redact

DEBUG = "DEBUG"
"""All of DEBUG1 to DEBUG5, as error_severity() writes them."""
MAX_TEXT_CHARS = 300

_WARNING = frozenset({"WARNING", "FATAL"})
"""An ERROR during authentication is a FATAL; older versions raised what they warn of now."""
_LOG = frozenset({"LOG"})
_DEBUG = frozenset({DEBUG})

_INTERNAL = "validator_internal_error"
_REFUSED = "validator_refused"

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{13,}")
"""No key id looks like this, which some texts have, too."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What PostgreSQL hands to a validator at all."""
_SEVERITY = re.compile(r"\b(?:LOG|WARNING|ERROR|FATAL|PANIC|NOTICE|INFO|DEBUG):  ")
"""Behind a name in log_line_prefix comes the line's own severity, so a name that imitates such a line ends with one."""


class Told(NamedTuple):
    """What a line says."""

    text: str
    """The line itself, without tokens and short enough to be shown."""
    reason_code: str | None
    """None where it does not say why a login ends."""
    leaked: bool
    """A token stands in it."""


class _Row(NamedTuple):
    start: str
    severities: frozenset[str]
    reason: str | Callable[[str, str], str | None] | None
    """The code, or what finds it in the rest of the message and in the DETAIL; None: the line does not say why."""
    ends_in_token: bool = False


_EXCEPTIONS: tuple[tuple[str, str], ...] = (
    ("token expired", "expired"),
    ("failed to verify signature", "signature_invalid"),
    ("invalid signature", "signature_invalid"),
    ("wrong algorithm", "key_unknown"),
    ("claim value does not match expected value", "issuer_mismatch"),
    ("claim type does not match expected type", "claim_invalid"),
    ("decoded JWT is missing required claim(s)", "claim_mismatch"),
    ("token doesn't contain the required audience", "audience_mismatch"),
    ("invalid token supplied", "token_opaque"),
    ("Invalid input", "base64_invalid"),
    ("invalid json", "json_invalid"),
    ("claim not found", "kid_invalid"),
    ("HTTP request failed: Timeout was reached", "idp_timeout"),
    ("HTTP request failed: ", "idp_unreachable"),
    ("HTTP request returned status code: ", "idp_error"),
    ("JSON parsing failed: ", "idp_metadata_invalid"),
    ("JWKS info is not a JSON object", "idp_keys_invalid"),
    ("Invalid JWKS format", "idp_keys_invalid"),
    ("Required parameter '", "idp_keys_invalid"),
    ("RSA key missing required ", "idp_keys_invalid"),
    ("EC key missing required ", "idp_keys_invalid"),
    ("HMAC key missing required ", "idp_keys_invalid"),
    ("Unsupported ", "idp_keys_invalid"),
)
"""Percona's, and those of jwt-cpp: only `kid` and `iss` are asked for by name, and no key fits an unknown `kid`."""


def _of_exception(rest: str, _: str) -> str:
    return next((code for start, code in _EXCEPTIONS if rest.startswith(start)), _INTERNAL)


_HTTP = {
    "http_timeout": "idp_timeout",
    "http_network_failure": "idp_unreachable",
    "http_tls_failure": "idp_unreachable",
    "http_status": "idp_error",
    "http_content_type": "idp_error",
    "http_response_too_large": "idp_error",
    "http_invalid_url": "idp_metadata_invalid",
    "http_insecure_url": "idp_metadata_invalid",
    "http_host_not_allowed": "idp_metadata_invalid",
}
_KEY_SET = {
    "key_not_found": "key_unknown",
    "duplicate_key_id": "key_ambiguous",
    "algorithm_mismatch": "key_mismatch",
    "key_not_for_signature": "key_mismatch",
}
_CLAIMS = {
    "invalid_issuer": "issuer_mismatch",
    "invalid_audience": "audience_mismatch",
    "missing_expiry": "expiry_missing",
    "invalid_expiry": "claim_invalid",
    "expired": "expired",
    "invalid_not_before": "claim_invalid",
    "not_yet_valid": "not_yet_valid",
    "invalid_issued_at": "claim_invalid",
    "issued_in_future": "issued_in_future",
    "invalid_identity": "identity_invalid",
    "invalid_scope": "claim_invalid",
    "insufficient_scope": "scope_missing",
    "invalid_roles": "claim_invalid",
    "unauthorized_role": "claim_mismatch",
}
_CODES = re.compile(r"\b([a-z_]+)=([a-z_]+)")


def _of_codes(_: str, detail: str) -> str:
    """The DETAIL of proddata's validator, a code of each step: that of the step that failed counts."""
    codes = dict(_CODES.findall(detail))
    match codes.get("validator"), codes.get("issuer_key"):
        case "validator_envelope", _:
            return "header_invalid"
        case "validator_issuer_key", ("issuer_key_metadata_http" | "issuer_key_jwks_http"):
            return _HTTP.get(codes.get("http", ""), _INTERNAL)
        case "validator_issuer_key", "issuer_key_metadata_invalid":
            return "idp_metadata_invalid"
        case "validator_issuer_key", "issuer_key_jwks_invalid":
            return _KEY_SET.get(codes.get("jwks", ""), "idp_keys_invalid")
        case "validator_signature", _ if codes.get("signature") == "invalid_signature":
            return "signature_invalid"
        case "validator_claims", _:
            return _CLAIMS.get(codes.get("claims", ""), _REFUSED)
        case "validator_identity", _:
            return "identity_invalid"
        case _:
            return _INTERNAL


_DECISION = re.compile(r"http=(\d{1,9}) .* decision=(true|false) rc=(\d{1,9})\(", re.DOTALL)
_HTTP_OK, _HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN = 200, 401, 403
_CURL_OK, _CURL_HTTP_ERROR, _CURL_TIMEOUT = 0, 22, 28


def _of_decision(rest: str, _: str) -> str | None:
    """CloudNativePG's answer of Keycloak: HTTP's status, and libcurl's code."""
    found = _DECISION.match(rest)
    if found is None or found[2] == "true":
        return None
    status, curl = int(found[1]), int(found[3])
    if curl not in (_CURL_OK, _CURL_HTTP_ERROR):
        return "idp_timeout" if curl == _CURL_TIMEOUT else "idp_unreachable"
    if status == _HTTP_UNAUTHORIZED:
        return "token_inactive"
    return _REFUSED if status in (_HTTP_OK, _HTTP_FORBIDDEN) else "idp_error"


_ROWS = (
    # Percona
    _Row("OAuth validation failed with exception: ", _WARNING, _of_exception),
    _Row("OAuth validation failed with unknown internal error", _WARNING, _INTERNAL),
    _Row("OAuth failed: claim '", _WARNING, "identity_missing"),
    _Row("OAuth failed: ", _WARNING, _INTERNAL),
    _Row("OpenID configuration from issuer is not a JSON object", _WARNING, "idp_metadata_invalid"),
    _Row("jwks_uri not present in issuer info", _WARNING, "idp_metadata_invalid"),
    _Row("Could not parse JWKS URI from issuer configuration", _WARNING, "idp_metadata_invalid"),
    _Row("Authorization failed because of scope mismatch. ", _LOG, "scope_missing"),
    # copies of it
    _Row("Found decoded_token: ", _LOG, None, ends_in_token=True),
    # Tantor
    _Row("Invalid token format, two dots required: ", _LOG, "token_opaque", ends_in_token=True),
    _Row("Invalid token format: base64 decoding error", _LOG, "base64_invalid"),
    _Row("Invalid token: missing payload: ", _LOG, "token_malformed", ends_in_token=True),
    _Row("Invalid token: missing sub and/or scope fields: ", _LOG, "claim_mismatch", ends_in_token=True),
    # proddata
    _Row("OAuth access token rejected", _DEBUG, _of_codes),
    # CloudNativePG
    _Row("kc: issuer check failed", _DEBUG, "issuer_mismatch"),
    _Row("kc: decision resp ", _DEBUG, _of_decision),
    _Row("kc: authorization = FALSE", _DEBUG, _REFUSED),
    _Row("kc: early return: ", _DEBUG, _INTERNAL),
    _Row("kc: curl_easy_init failed", _DEBUG, _INTERNAL),
    _Row("kc: decision setup failed", _DEBUG, _INTERNAL),
    _Row("kc: kc_decision: missing required params", _DEBUG, _INTERNAL),
    _Row("kc: response body: ", _DEBUG, None),
)
"""The first that fits counts."""

STARTS = (
    "OAuth validation failed with ",
    "OAuth failed: ",
    "OpenID configuration from issuer is not a JSON object",
    "jwks_uri not present in issuer info",
    "Could not parse JWKS URI from issuer configuration",
    "Authorization failed because of scope mismatch. ",
    "Found decoded_token: ",
    "Invalid token",
    "OAuth access token rejected",
    "kc: ",
)
"""How all of these begin, in few words: what a reader has to look for."""


def read(severity: str, message: str, detail: str | None = None) -> Told | None:
    """What a line at this level says; None if it is none of theirs, or says neither why nor what it should not."""
    if not message.startswith(STARTS) or _SEVERITY.search(message):
        return None
    for row in _ROWS:
        if message.startswith(row.start) and severity in row.severities:
            return _tell(row, message, detail)
    return None


def holds_jwt(text: str) -> bool:
    """Whether a token stands in a text that validators write, where keys may be named, which look random, too."""
    return _JWT.search(text) is not None


def shown(text: str) -> str:
    """One line of it, without tokens and no longer than is good to read."""
    line = " ".join(redact(text).split())
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"


def _tell(row: _Row, message: str, detail: str | None) -> Told | None:
    rest = message[len(row.start) :]
    reason = row.reason(rest, detail or "") if callable(row.reason) else row.reason
    if row.ends_in_token:
        return Told(row.start + REDACTED, reason, leaked=_TOKEN.fullmatch(rest) is not None or holds_jwt(rest))
    whole = f"{message}: {detail}" if detail else message
    leaked = holds_jwt(whole)
    return Told(shown(whole), reason, leaked) if leaked or reason is not None else None
