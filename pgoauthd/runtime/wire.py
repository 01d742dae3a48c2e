"""The words on the validation socket: requests read, replies written (docs/callout.md); never judges, never waits."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec

from pgoauthd import __version__
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.tokens.reasons import Fault, Reason, Stage
from pgoauthd.tokens.verdict import LoginRequest, Refusal, Verdict

REQUEST_BYTES_BESIDE_TOKEN = 16_384
"""Room for everything in a request but the token; PostgreSQL's startup packet has at most 10,000 bytes."""

LARGEST_POSTGRES_TOKEN = 65_535
"""No SASL message is larger, so no request with one is too large to be read, judged and answered for its session."""

MAX_MESSAGE_CHARACTERS = 2_000
"""Of a reply. With every character escaped and the other members it stays far below the 64 KiB of the contract."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
_Text = Annotated[str, msgspec.Meta(max_length=1_024)]
_Path = Annotated[str, msgspec.Meta(max_length=4_096)]
"""These wait with the verdict, in memory and in the state: what no server has is turned away."""
_SessionId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{1,16}\.[0-9a-f]{1,8}\Z")]
"""`%lx.%x`: a 64-bit time and a 32-bit process id. Nothing else can be in a log, so nothing else is kept."""
_Int32 = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""What PostgreSQL has as a C int; the saved state and every reader of an outcome can hold it."""
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class ValidateRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The body of POST /v1/validate. Its repr does not show the token."""

    token: str
    role: _Name
    session_id: _SessionId
    issuer: _Name
    database: _Text | None = None
    client_addr: _Text | None = None
    client_port: _Port | None = None
    pid: _Int32 = 0
    hba_file: _Path | None = None
    hba_line: _Int32 | None = None
    scope: str = ""
    """Separated by spaces, as in pg_hba.conf."""
    audience: _Name | None = None
    """One that the token must have beside one of the issuer's, never instead."""
    usermap: _Text | None = None
    delegate: bool = False
    server_version: _Int32 | None = None
    cluster_name: _Text | None = None

    def __repr__(self) -> str:
        return f"<ValidateRequest of session {self.session_id}>"

    @property
    def login(self) -> LoginRequest:
        """What the core is asked."""
        return LoginRequest(
            role=self.role,
            issuer=self.issuer,
            required_scopes=tuple(self.scope.split()),
            required_audience=self.audience,
            delegated=self.delegate,
        )

    def judged(self, verdict: Verdict, *, time: float, seconds: float) -> SessionVerdict:
        """The verdict with the session that it is for; `time` since the epoch, `seconds` our own share."""
        return SessionVerdict(
            session_id=self.session_id,
            pid=self.pid,
            time=time,
            seconds=seconds,
            verdict=verdict,
            role=self.role,
            database=self.database,
            client_addr=self.client_addr,
            client_port=self.client_port,
            hba_file=self.hba_file,
            hba_line=self.hba_line,
            issuer=self.issuer,
            usermap=self.usermap,
            delegated=self.delegate,
            server_version=self.server_version,
        )


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The body of every reply but those of introspection and health; `authorized` is the only word that lets in."""

    authorized: bool
    authn_id: str | None
    reason: Reason
    stage: Stage
    fault: Fault
    message: str
    remedy: str


class Introspected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The body of POST /v1/introspect for an active token (RFC 7662 section 2.2); times are whole seconds."""

    active: bool
    iss: str | None = None
    sub: str | None = None
    aud: tuple[str, ...] = ()
    client_id: str | None = None
    scope: str = ""
    exp: int | None = None
    iat: int | None = None
    jti: str | None = None
    username: str | None = None
    token_type: str | None = None


INACTIVE = b'{"active":false}'
"""All that a caller learns of a token that is not good (RFC 7662 section 2.2)."""

HEALTHY = msgspec.json.encode({"status": "ok", "version": __version__})

_decoder = msgspec.json.Decoder(ValidateRequest)
_encoder = msgspec.json.Encoder()

_STATUS = {
    Reason.REQUEST_INVALID: HTTPStatus.BAD_REQUEST,
    Reason.PEER_FORBIDDEN: HTTPStatus.FORBIDDEN,
    Reason.TOKEN_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Reason.VALIDATOR_OVERLOADED: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.VALIDATOR_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Reason.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def largest_request(max_token_bytes: int) -> int:
    """How many bytes of a request are read."""
    return max(max_token_bytes, LARGEST_POSTGRES_TOKEN) + REQUEST_BYTES_BESIDE_TOKEN


def read_validate(body: bytes) -> ValidateRequest | Refusal:
    """The request; request_invalid with what is wrong where, and none of the values."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        return Refusal(Reason.REQUEST_INVALID, f"the request is not as docs/callout.md has it: {error}")
    except RecursionError:  # also where an unknown member, which is skipped, is nested
        return Refusal(Reason.REQUEST_INVALID, "the request is nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal(Reason.REQUEST_INVALID, "the request is not JSON in UTF-8")


def read_introspect(body: bytes) -> str | Refusal:
    """The token of an application/x-www-form-urlencoded body (RFC 7662 section 2.1); request_invalid otherwise."""
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=16)
    except ValueError:
        return Refusal(Reason.REQUEST_INVALID, "the request is not a form (application/x-www-form-urlencoded)")
    tokens = [value for name, value in fields if name == "token"]
    if len(tokens) != 1:
        return Refusal(Reason.REQUEST_INVALID, f"the form has {len(tokens)} parameters named token; one is expected")
    return tokens[0]


def status_of(reason: Reason) -> int:
    """The HTTP status: 200 for every token that was judged, the machinery's own reasons have others."""
    return _STATUS.get(reason, HTTPStatus.OK)


def write_reply(verdict: Verdict) -> bytes:
    """The reply for a verdict, at most 64 KiB."""
    reason, message = verdict.reason, verdict.message
    return _encoder.encode(
        Reply(
            authorized=verdict.authorized,
            authn_id=verdict.authn_id,
            reason=reason,
            stage=reason.stage,
            fault=reason.fault,
            message=message if len(message) <= MAX_MESSAGE_CHARACTERS else message[:MAX_MESSAGE_CHARACTERS] + "…",
            remedy=reason.remedy,
        )
    )


def refusal_body(refusal: Refusal) -> bytes:
    """The reply for a request that was not judged."""
    return write_reply(Verdict.refused(refusal))


def write_introspection(verdict: Verdict) -> bytes:
    """The RFC 7662 reply for a verdict."""
    claims = verdict.claims
    if not verdict.authorized or claims is None:
        return INACTIVE
    return _encoder.encode(
        Introspected(
            active=True,
            iss=claims.iss,
            sub=claims.sub,
            aud=claims.aud,
            client_id=claims.client_id,
            scope=" ".join(claims.scope),
            exp=None if claims.exp is None else int(claims.exp),
            iat=None if claims.iat is None else int(claims.iat),
            jti=claims.jti,
            username=verdict.authn_id,
            token_type="Bearer",  # noqa: S106 - the name of a type
        )
    )
