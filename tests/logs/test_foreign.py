"""What the lines of other validators say: each text at its level, and the same in every format."""

from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.logs import foreign
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.readers import LogFormat
from pgoauthd.tokens.reasons import BY_CODE
from tests.logs.fix_lines import Entry, cut, read_all, reader, render

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"
OPAQUE = "not-a-jwt"
EXCEPTION = "OAuth validation failed with exception: "
KID = "Zm9v-YmFyYmF6cXV1eDEyMzQ1Njc4OTBhYmNkZWYwMTIz"
SCOPES = "Authorization failed because of scope mismatch. Required scopes: db, openid. Received scopes: openid"
CLAIM = "OAuth failed: claim 'email' (authn_field) is missing. Available claims: aud, exp, iss, sub"
CODES = "validator={} issuer_key={} http={} metadata=ok jwks={} signature={} claims={} identity={}"

PERCONA = [
    ("WARNING", EXCEPTION + "token expired", "expired"),
    ("WARNING", EXCEPTION + "failed to verify signature: VerifyFinal failed", "signature_invalid"),
    ("WARNING", EXCEPTION + "invalid signature", "signature_invalid"),
    ("WARNING", EXCEPTION + "wrong algorithm", "key_unknown"),
    ("WARNING", EXCEPTION + "claim value does not match expected value", "issuer_mismatch"),
    ("WARNING", EXCEPTION + "claim type does not match expected type", "claim_invalid"),
    ("WARNING", EXCEPTION + "decoded JWT is missing required claim(s)", "claim_mismatch"),
    ("WARNING", EXCEPTION + "token doesn't contain the required audience", "audience_mismatch"),
    ("WARNING", EXCEPTION + "invalid token supplied", "token_opaque"),
    ("WARNING", EXCEPTION + "Invalid input: not within alphabet", "base64_invalid"),
    ("WARNING", EXCEPTION + "invalid json", "json_invalid"),
    ("WARNING", EXCEPTION + "claim not found", "kid_invalid"),
    ("WARNING", EXCEPTION + "HTTP request failed: Couldn't connect to server", "idp_unreachable"),
    ("WARNING", EXCEPTION + "HTTP request failed: Timeout was reached", "idp_timeout"),
    ("WARNING", EXCEPTION + "HTTP request returned status code: 503", "idp_error"),
    ("WARNING", EXCEPTION + "JSON parsing failed: syntax error at line 1 near: <html>", "idp_metadata_invalid"),
    ("WARNING", EXCEPTION + "JWKS info is not a JSON object", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "Invalid JWKS format: not a json object", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "Required parameter 'kid' is missing", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "RSA key missing required 'n'/'e' components (kid: k)", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "EC key missing required 'x'/'y'/'crv' components (kid: k)", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "HMAC key missing required 'k' component (kid: k)", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "Unsupported RSA algorithm: RS1 (kid: k)", "idp_keys_invalid"),
    ("WARNING", EXCEPTION + "map::at", "validator_internal_error"),
    ("WARNING", "OAuth validation failed with unknown internal error", "validator_internal_error"),
    ("WARNING", CLAIM, "identity_missing"),
    ("WARNING", "OAuth failed: out of memory", "validator_internal_error"),
    (
        "WARNING",
        "OAuth failed: pg_oidc_validator.audience is invalid: list syntax is invalid",
        "validator_internal_error",
    ),
    ("WARNING", "OpenID configuration from issuer is not a JSON object", "idp_metadata_invalid"),
    ("WARNING", "jwks_uri not present in issuer info. Is this an OIDC provider?", "idp_metadata_invalid"),
    ("WARNING", "Could not parse JWKS URI from issuer configuration", "idp_metadata_invalid"),
    ("LOG", SCOPES, "scope_missing"),
]
TANTOR = [
    ("LOG", f"Invalid token format, two dots required: {OPAQUE}", "token_opaque"),
    ("LOG", "Invalid token format: base64 decoding error", "base64_invalid"),
    ("LOG", f"Invalid token: missing payload: {OPAQUE}", "token_malformed"),
    ("LOG", f"Invalid token: missing sub and/or scope fields: {JWT}", "claim_mismatch"),
]
KC_DECISION = 'kc: decision resp http={} time=12.5ms body_len=0 decision={} rc={}({}) err="{}"'
CLOUDNATIVEPG = [
    ("DEBUG", "kc: issuer check failed -> deny", "issuer_mismatch"),
    ("DEBUG", KC_DECISION.format(401, "false", 22, "HTTP response code said error", "error: 401"), "token_inactive"),
    ("DEBUG", KC_DECISION.format(403, "false", 22, "HTTP response code said error", "error: 403"), "validator_refused"),
    ("DEBUG", KC_DECISION.format(200, "false", 0, "No error", "(no detail)"), "validator_refused"),
    ("DEBUG", KC_DECISION.format(500, "false", 22, "HTTP response code said error", "error: 500"), "idp_error"),
    ("DEBUG", KC_DECISION.format(0, "false", 28, "Timeout was reached", "after 2000 ms"), "idp_timeout"),
    ("DEBUG", KC_DECISION.format(0, "false", 7, "Couldn't connect to server", "refused"), "idp_unreachable"),
    ("DEBUG", 'kc: authorization = FALSE for perm="appdb#alice"', "validator_refused"),
    ("DEBUG", "kc: early return: missing one of (token, role, resource_name)", "validator_internal_error"),
    ("DEBUG", "kc: curl_easy_init failed", "validator_internal_error"),
    ("DEBUG", "kc: decision setup failed (e.g., header append)", "validator_internal_error"),
    ("DEBUG", "kc: kc_decision: missing required params (endpoint=NULL, …)", "validator_internal_error"),
]


def codes(validator: str, *others: str) -> str:
    """proddata's DETAIL: issuer_key, http, jwks, signature, claims, identity."""
    good = ("issuer_key_ok", "http_ok", "ok", "ok", "ok", "ok")
    return CODES.format(f"validator_{validator}", *others, *good[len(others) :])


PRODDATA = [
    (codes("envelope"), "header_invalid"),
    (codes("issuer_key", "issuer_key_metadata_http", "http_timeout"), "idp_timeout"),
    (codes("issuer_key", "issuer_key_jwks_http", "http_network_failure"), "idp_unreachable"),
    (codes("issuer_key", "issuer_key_jwks_http", "http_tls_failure"), "idp_unreachable"),
    (codes("issuer_key", "issuer_key_metadata_http", "http_status"), "idp_error"),
    (codes("issuer_key", "issuer_key_metadata_http", "http_host_not_allowed"), "idp_metadata_invalid"),
    (codes("issuer_key", "issuer_key_metadata_invalid"), "idp_metadata_invalid"),
    (codes("issuer_key", "issuer_key_jwks_invalid", "http_ok", "key_not_found"), "key_unknown"),
    (codes("issuer_key", "issuer_key_jwks_invalid", "http_ok", "duplicate_key_id"), "key_ambiguous"),
    (codes("issuer_key", "issuer_key_jwks_invalid", "http_ok", "algorithm_mismatch"), "key_mismatch"),
    (codes("issuer_key", "issuer_key_jwks_invalid", "http_ok", "too_many_keys"), "idp_keys_invalid"),
    (codes("issuer_key", "issuer_key_cache"), "validator_internal_error"),
    (codes("signature", "issuer_key_ok", "http_ok", "ok", "invalid_signature"), "signature_invalid"),
    (codes("signature", "issuer_key_ok", "http_ok", "ok", "key_import_failed"), "validator_internal_error"),
    (codes("claims", "issuer_key_ok", "http_ok", "ok", "ok", "expired"), "expired"),
    (codes("claims", "issuer_key_ok", "http_ok", "ok", "ok", "invalid_audience"), "audience_mismatch"),
    (codes("claims", "issuer_key_ok", "http_ok", "ok", "ok", "insufficient_scope"), "scope_missing"),
    (codes("claims", "issuer_key_ok", "http_ok", "ok", "ok", "of_tomorrow"), "validator_refused"),
    (codes("identity", "issuer_key_ok", "http_ok", "ok", "ok", "ok", "identity_too_long"), "identity_invalid"),
    ("", "validator_internal_error"),
]
LINES = [*PERCONA, *TANTOR, *CLOUDNATIVEPG]


def one(log_format: LogFormat, **fields: Any) -> AuthEvent | None:  # noqa: ANN401 - any field
    """The event of one entry, with another behind it."""
    end = Entry(message="database system is shut down", role=None, database=None, backend_type="postmaster")
    sqlstate = "01000" if fields.get("severity") == "WARNING" else "00000"
    events = read_all(log_format, render(log_format, Entry(**({"sqlstate": sqlstate} | fields)), end))
    found = [event for event in events if event.kind is not EventKind.SERVER_STOPPED]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(("severity", "message", "reason"), LINES, ids=lambda it: str(it)[:60])
def test_a_line_of_another_validator_has_its_reason(severity: str, message: str, reason: str) -> None:
    told = foreign.read(severity, message)
    assert told is not None
    assert told.reason_code == reason
    assert reason in BY_CODE


@pytest.mark.parametrize(("detail", "reason"), PRODDATA)
def test_codes_in_the_detail_have_their_reason(detail: str, reason: str) -> None:
    told = foreign.read("DEBUG", "OAuth access token rejected", detail)
    assert told is not None
    assert told.reason_code == reason
    assert reason in BY_CODE
    assert not told.leaked


@pytest.mark.parametrize(("severity", "message", "reason"), LINES, ids=lambda it: str(it)[:60])
def test_a_reader_finds_each_of_them(severity: str, message: str, reason: str) -> None:
    assert message.startswith(foreign.STARTS)
    event = one(LogFormat.JSONLOG, severity=severity, message=message)
    assert event is not None
    assert event.reason_code == reason


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize(
    "fields",
    [
        {"severity": "WARNING", "message": EXCEPTION + "token expired"},
        {"severity": "LOG", "message": SCOPES},
        {"severity": "DEBUG", "message": "OAuth access token rejected", "detail": PRODDATA[0][0]},
        {"severity": "WARNING", "message": EXCEPTION + 'JSON parsing failed:\nnear "x",\n\t42'},
    ],
)
def test_each_level_is_read_in_every_format(log_format: LogFormat, fields: dict[str, Any]) -> None:
    event = one(log_format, **fields)
    assert event is not None
    assert (event.kind, event.saying, event.method) == (EventKind.CAUSE, Saying.FOREIGN, "oauth")
    assert event.reason_code is not None
    assert event.detail is not None
    assert event.detail.startswith(fields["message"].partition("\n")[0])
    assert "\n" not in event.detail
    assert not event.leaked


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize(
    "message",
    [
        f"Invalid token format, two dots required: {OPAQUE}",
        f"Invalid token: missing payload: {JWT}",
        f"Invalid token: missing sub and/or scope fields: {JWT}",
        f"Found decoded_token: {JWT}",
        f"Invalid token: missing payload: first\n{JWT}",
    ],
)
def test_a_token_in_a_line_is_reported_and_not_taken_along(log_format: LogFormat, message: str) -> None:
    event = one(log_format, message=message)
    assert event is not None
    assert event.leaked
    assert event.detail is not None
    assert event.detail.endswith(": [redacted]")
    assert not [piece for piece in (OPAQUE, *JWT.split(".")) if piece in repr(event)]


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_token_in_the_middle_of_a_text_is_reported_too(log_format: LogFormat) -> None:
    event = one(log_format, severity="WARNING", message=f"{EXCEPTION}bad\ntoken {JWT} given")
    assert event is not None
    assert event.leaked
    assert event.detail == f"{EXCEPTION}bad token [redacted] given"


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_token_is_reported_however_the_log_is_cut_into_pieces(log_format: LogFormat) -> None:
    data = render(log_format, Entry(message=f"Invalid token: missing payload: {JWT}"))
    for at in range(0, len(data), 23):
        made = reader(log_format)
        events = [event for piece in cut(data, [at]) for event in made.feed(piece)] + made.finish()
        assert [event.leaked for event in events] == [True]


def test_a_random_key_id_is_no_token() -> None:
    told = foreign.read("WARNING", f"{EXCEPTION}Unsupported RSA algorithm: RS1 (kid: {KID})")
    assert told is not None
    assert not told.leaked
    assert KID not in told.text


def test_an_answer_of_the_provider_matters_only_with_a_token_in_it() -> None:
    assert foreign.read("DEBUG", 'kc: response body: {"result":true}') is None
    told = foreign.read("DEBUG", f'kc: response body: {{"access_token":"{JWT}"}}')
    assert told is not None
    assert (told.leaked, told.reason_code) == (True, None)
    assert JWT[:20] not in told.text


@pytest.mark.parametrize(
    "message",
    [
        KC_DECISION.format(200, "true", 0, "No error", "(no detail)"),
        "kc: issuer_ok=true",
        'kc: authorization = TRUE for perm="appdb#alice"',
        "kc: decision resp nothing",
        "kc: validator_startup: libcurl=8, timeout_ms=2000",
        "Invalid token",
        "OAuth access token",
    ],
)
def test_lines_that_do_not_say_why_are_none(message: str) -> None:
    assert all(foreign.read(severity, message) is None for severity in ("DEBUG", "LOG", "WARNING"))


@pytest.mark.parametrize(("severity", "message", "reason"), LINES, ids=lambda it: str(it)[:60])
def test_at_another_level_it_is_somebody_elses(severity: str, message: str, reason: str) -> None:
    del reason
    for other in {"DEBUG", "LOG", "WARNING", "ERROR", "INFO"} - {severity}:
        assert foreign.read(other, message) is None
        assert one(LogFormat.CSVLOG, severity=other, message=message) is None


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize(
    "fields",
    [
        {"message": f"statement: {EXCEPTION}token expired"},
        {"message": "connection received: host=x", "application_name": EXCEPTION},
        {
            "message": EXCEPTION + "token expired",
            "severity": "WARNING",
            "context": "PL/pgSQL function f() line 1 at RAISE",
        },
        {"message": "kc: issuer check failed -> deny", "severity": "DEBUG", "context": "PL/pgSQL function f()"},
        {"message": f"duration: 1 ms\nLOG:  {SCOPES}"},
        {"message": f"statement: select\n2026-11-22 01:11:56.131 UTC [30463] a@b WARNING:  {EXCEPTION}token expired"},
        {"message": f'statement: x"\n",LOG,00000,"{SCOPES}",,,'},
    ],
)
def test_the_texts_of_others_imitate_nothing(log_format: LogFormat, fields: dict[str, Any]) -> None:
    event = one(log_format, **fields)
    assert event is None or event.saying is not Saying.FOREIGN


@pytest.mark.parametrize("log_format", LogFormat)
def test_an_identity_that_quotes_such_a_line_is_an_identity(log_format: LogFormat) -> None:
    identity = f"x\nWARNING:  {EXCEPTION}token expired\nLOG:  Invalid token: missing payload: {JWT}"
    event = one(log_format, message=f'connection authenticated: identity="{identity}" method=oauth (/hba:1)')
    assert event is not None
    assert (event.kind, event.saying, event.leaked) == (EventKind.AUTHENTICATED, None, False)


@pytest.mark.parametrize("log_format", [LogFormat.CSVLOG, LogFormat.JSONLOG, LogFormat.CNPG])
def test_only_backends_of_clients_have_validators(log_format: LogFormat) -> None:
    assert one(log_format, message=SCOPES, backend_type="logical replication worker") is None


def test_a_role_that_looks_like_a_token_is_no_leak() -> None:
    event = one(LogFormat.JSONLOG, severity="FATAL", message=f'role "{JWT}" does not exist', sqlstate="28000")
    assert event is not None
    assert not event.leaked


def test_a_setting_that_a_client_asks_for_is_no_leak() -> None:
    message = f'invalid value for parameter "TimeZone": "{JWT}"'
    event = one(LogFormat.JSONLOG, severity="FATAL", message=message, sqlstate="22023")
    assert event is not None
    assert not event.leaked


@pytest.mark.parametrize("log_format", LogFormat)
def test_an_error_that_a_validator_raises_is_the_sessions_fatal(log_format: LogFormat) -> None:
    event = one(log_format, severity="FATAL", message=EXCEPTION + "token expired", sqlstate="XX000")
    assert event is not None
    assert (event.kind, event.saying, event.reason_code) == (EventKind.FATAL, Saying.FOREIGN, "expired")


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_token_in_the_detail_of_postgresql_19_is_reported(log_format: LogFormat) -> None:
    message = 'OAuth bearer authentication failed for user "alice"'
    detail = f'cannot read {JWT}\nConnection matched file "/hba" line 1: "host all all all oauth"'
    event = one(log_format, severity="FATAL", message=message, detail=detail, sqlstate="28000")
    assert event is not None
    assert event.leaked
    assert event.detail == "cannot read [redacted]"


def test_a_long_text_is_cut_after_its_tokens_were_taken_out() -> None:
    told = foreign.read("WARNING", f"{EXCEPTION}{'x ' * 120}{JWT * 3}{'y ' * 9000}")
    assert told is not None
    assert len(told.text) == foreign.MAX_TEXT_CHARS
    assert told.text.endswith("…")
    assert "eyJ" not in told.text


def test_a_token_of_the_largest_size_is_looked_at_in_no_time() -> None:
    told = foreign.read("WARNING", EXCEPTION + "eyJhbGciOiJ" + "Ab1" * 2_000_000)
    assert told is not None
    assert told.text == EXCEPTION + "[redacted]"


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize(
    "role",
    [
        "x@y LOG:  Invalid token: missing payload: eyJhbGciOiJSUzI1NiJ9",
        "x@y WARNING:  OAuth failed: claim 'x",
        "x@y FATAL:  OAuth failed: claim 'x",
        "x@y DEBUG:  kc: issuer check failed",
    ],
)
@pytest.mark.parametrize("severity", ["LOG", "FATAL", "ERROR"])
def test_a_role_that_imitates_such_a_line_does_not_leak_a_token(
    log_format: LogFormat, role: str, severity: str
) -> None:
    event = one(log_format, severity=severity, role=role, message="statement: select 1")
    assert event is None or (event.saying is not Saying.FOREIGN and not event.leaked)


def test_what_no_client_can_send_as_a_token_is_none() -> None:
    told = foreign.read("LOG", "Invalid token: missing payload: what is this")
    assert told is not None
    assert (told.leaked, told.text) == (False, "Invalid token: missing payload: [redacted]")
