"""The closed vocabulary of why: one Reason for the reply, the event, the metric label and the documentation.

It never judges; it only names. Each reason has a stable code (its value), the stage at which the attempt ended, whose
fault it is, one sentence that says what happened and one that says what to do. `docs/reasons.md` is generated from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Stage(StrEnum):
    """Where on its way an attempt ended, in the order in which a login passes them."""

    NONE = "none"
    HANDSHAKE = "handshake"
    HBA = "hba"
    DISCOVERY = "discovery"
    VALIDATOR = "validator"
    TOKEN_FORMAT = "token_format"
    DECODE = "decode"
    IDP = "idp"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    SCOPE = "scope"
    IDENTITY = "identity"
    USERMAP = "usermap"
    ROLE = "role"
    DATABASE = "database"


class Fault(StrEnum):
    """Who has to act so that the next attempt succeeds."""

    NONE = "none"
    CLIENT = "client"
    CONFIGURATION = "configuration"
    IDENTITY_PROVIDER = "identity_provider"
    SERVER = "server"


class Reason(StrEnum):
    """Why an attempt ended as it did. The value is the stable code; never renamed, only added to."""

    stage: Stage
    """Where the attempt ended."""
    fault: Fault
    """Who has to act."""
    sentence: str
    """What happened, in plain English without user data."""
    remedy: str
    """What to do about it."""

    def __new__(cls, code: str, stage: Stage, fault: Fault, sentence: str, remedy: str) -> Self:  # noqa: D102 - makes one member
        member = str.__new__(cls, code)
        member._value_ = code
        member.stage, member.fault, member.sentence, member.remedy = stage, fault, sentence, remedy
        return member

    # fmt: off
    OK = (
        "ok", Stage.NONE, Fault.NONE,
        "The login succeeded.",
        "Nothing to do.",
    )

    # handshake: the login ended before or beside the token
    DISCOVERY = (
        "discovery", Stage.DISCOVERY, Fault.NONE,
        "The client asked for the issuer with an empty token, as libpq does before it fetches a token.",
        "Nothing to do: the login follows in a new session.",
    )
    CLIENT_GONE = (
        "client_gone", Stage.HANDSHAKE, Fault.CLIENT,
        "The client connected and went away without an answer.",
        "Look for health checks that only open the port, or for clients that give up while they fetch a token.",
    )
    CONNECTION_LOST = (
        "connection_lost", Stage.HANDSHAKE, Fault.CLIENT,
        "The connection broke in the middle of authentication.",
        "Look for client timeouts, proxies and network faults between client and server.",
    )
    SILENT = (
        "silent", Stage.HANDSHAKE, Fault.NONE,
        "The server logged nothing after the connection: a discovery (PostgreSQL 19 does not log it) or a client that went away.",
        "Nothing to do unless many repeat from one address without a login that follows.",
    )
    HANDSHAKE_TIMEOUT = (
        "handshake_timeout", Stage.HANDSHAKE, Fault.CLIENT,
        "The client did not finish authentication within authentication_timeout.",
        "Let the client fetch its token before it connects, or look for a network that drops packets.",
    )
    SASL_MALFORMED = (
        "sasl_malformed", Stage.HANDSHAKE, Fault.CLIENT,
        "The client's OAUTHBEARER message breaks the protocol (RFC 7628).",
        "Update or repair the client library.",
    )
    SASL_NO_AUTH_VALUE = (
        "sasl_no_auth_value", Stage.HANDSHAKE, Fault.CLIENT,
        "The client's OAUTHBEARER message has no auth value.",
        "Make the client send auth=Bearer TOKEN (RFC 7628 section 3.1).",
    )
    CHANNEL_BINDING_UNSUPPORTED = (
        "channel_binding_unsupported", Stage.HANDSHAKE, Fault.CLIENT,
        "The client asked for channel binding, which OAUTHBEARER does not have.",
        "Set channel_binding=disable or prefer in the client's connection string.",
    )
    AUTHZID_UNSUPPORTED = (
        "authzid_unsupported", Stage.HANDSHAKE, Fault.CLIENT,
        "The client sent a SASL authorization identity, which PostgreSQL does not accept.",
        "Make the client leave the GS2 authzid empty; the role goes into the startup message.",
    )
    OTHER_METHOD_FAILED = (
        "other_method_failed", Stage.HANDSHAKE, Fault.CLIENT,
        "Authentication failed with a method other than OAuth.",
        "See the server log of this session: it concerns a password, certificate or other credential.",
    )
    TOO_MANY_CONNECTIONS = (
        "too_many_connections", Stage.HANDSHAKE, Fault.SERVER,
        "The server has no free connection slot.",
        "Raise max_connections, or put a connection pooler in front.",
    )
    SERVER_NOT_READY = (
        "server_not_ready", Stage.HANDSHAKE, Fault.SERVER,
        "The server was starting up, shutting down or in recovery.",
        "Retry; if it lasts, look at the state of the server.",
    )
    SERVER_ERROR = (
        "server_error", Stage.HANDSHAKE, Fault.SERVER,
        "The server ended the session during authentication with an error of its own.",
        "Read the FATAL line of this session in the server log; if a validator module is in use, it may have raised it.",
    )

    # hba
    HBA_NO_ENTRY = (
        "hba_no_entry", Stage.HBA, Fault.CONFIGURATION,
        "No line of pg_hba.conf matches the client's address, role and database.",
        "Add a line for this client to pg_hba.conf and reload, or connect from an address that has one.",
    )
    HBA_REJECTED = (
        "hba_rejected", Stage.HBA, Fault.CONFIGURATION,
        "A reject line of pg_hba.conf matches.",
        "Remove or reorder the reject line if this client should get in.",
    )
    HBA_ISSUER_UNKNOWN = (
        "hba_issuer_unknown", Stage.HBA, Fault.CONFIGURATION,
        "The issuer of the pg_hba.conf line is not one that pgoauthd is configured to trust.",
        "Add an [[issuers]] table with exactly this issuer to pgoauthd's configuration, or correct issuer= in pg_hba.conf.",
    )

    # validator: the machinery between the server and the verdict
    VALIDATOR_REFUSED = (
        "validator_refused", Stage.VALIDATOR, Fault.CLIENT,
        "The server's validator refused the token without a reason that is known here.",
        "Look at the lines that the validator logged for this session.",
    )
    VALIDATOR_NO_IDENTITY = (
        "validator_no_identity", Stage.VALIDATOR, Fault.CONFIGURATION,
        "The validator accepted the token but returned no identity to map.",
        "Configure the claim that holds the identity, or use delegate_ident_mapping=1 with a validator made for it.",
    )
    VALIDATOR_INTERNAL_ERROR = (
        "validator_internal_error", Stage.VALIDATOR, Fault.SERVER,
        "The validator module reported an internal error.",
        "Look at the lines before it in the server log; they are the module's own.",
    )
    VALIDATOR_UNAVAILABLE = (
        "validator_unavailable", Stage.VALIDATOR, Fault.CONFIGURATION,
        "The server could not reach pgoauthd on its socket.",
        "Start pgoauthd, and check pgoauthd.socket_path and the socket's permissions.",
    )
    VALIDATOR_TIMEOUT = (
        "validator_timeout", Stage.VALIDATOR, Fault.SERVER,
        "pgoauthd did not answer within pgoauthd.timeout.",
        "Look at pgoauthd's validation latency and at the identity provider; raise pgoauthd.timeout if both are as expected.",
    )
    VALIDATOR_PROTOCOL = (
        "validator_protocol", Stage.VALIDATOR, Fault.SERVER,
        "The answer on the socket was not one that the shim understands.",
        "Check that pgoauthd listens on pgoauthd.socket_path and that shim and daemon are of matching versions.",
    )
    VALIDATOR_OVERLOADED = (
        "validator_overloaded", Stage.VALIDATOR, Fault.SERVER,
        "pgoauthd had too many requests at once and shed this one.",
        "Look for a login storm; raise callout.max_connections if the load is legitimate.",
    )
    PEER_FORBIDDEN = (
        "peer_forbidden", Stage.VALIDATOR, Fault.CONFIGURATION,
        "The process that asked runs under a user that may not use the socket.",
        "Add the server's operating system user to callout.allowed_users.",
    )
    REQUEST_INVALID = (
        "request_invalid", Stage.VALIDATOR, Fault.CONFIGURATION,
        "The request on the socket was not a valid validation request.",
        "See docs/callout.md for the request; update the shim if it is older than the daemon.",
    )

    # token format
    TOKEN_MALFORMED = (
        "token_malformed", Stage.TOKEN_FORMAT, Fault.CLIENT,
        "The token is not in the format of a bearer token (RFC 6750 section 2.1).",
        "Make the client send the access token as it was issued, without quotes or line breaks.",
    )
    TOKEN_EMPTY = (
        "token_empty", Stage.TOKEN_FORMAT, Fault.CLIENT,
        "The token is empty.",
        "Make the client fetch a token before it logs in.",
    )
    TOKEN_NOT_BEARER = (
        "token_not_bearer", Stage.TOKEN_FORMAT, Fault.CLIENT,
        "The client used an authentication scheme other than Bearer.",
        "Make the client send auth=Bearer TOKEN.",
    )
    TOKEN_TOO_LARGE = (
        "token_too_large", Stage.TOKEN_FORMAT, Fault.CLIENT,
        "The token is larger than callout.max_token_bytes.",
        "Have the identity provider put fewer claims into the token, or raise callout.max_token_bytes.",
    )
    TOKEN_OPAQUE = (
        "token_opaque", Stage.TOKEN_FORMAT, Fault.CONFIGURATION,
        "The token is not a JWT.",
        "Have the identity provider issue JWT access tokens for this audience, or configure [issuers.introspection].",
    )
    TOKEN_ENCRYPTED = (
        "token_encrypted", Stage.TOKEN_FORMAT, Fault.CONFIGURATION,
        "The token is encrypted (JWE), which a resource server without its key cannot read.",
        "Turn off access token encryption for this client at the identity provider.",
    )

    # decode
    BASE64_INVALID = (
        "base64_invalid", Stage.DECODE, Fault.CLIENT,
        "A part of the token is not canonical base64url without padding (RFC 7515 section 2).",
        "Make the client send the token exactly as it was issued.",
    )
    JSON_INVALID = (
        "json_invalid", Stage.DECODE, Fault.CLIENT,
        "The token's header or payload is not a JSON object in UTF-8.",
        "Make the client send the token exactly as it was issued.",
    )
    JSON_DUPLICATE_KEY = (
        "json_duplicate_key", Stage.DECODE, Fault.IDENTITY_PROVIDER,
        "The token's JSON has a key twice (RFC 8725 forbids ambiguity).",
        "Report it to the issuer: parsers differ on which value counts.",
    )
    HEADER_INVALID = (
        "header_invalid", Stage.DECODE, Fault.CLIENT,
        "The token's header has a member that is malformed or not allowed here.",
        "Check which software made the token; an access token needs only alg, kid and typ.",
    )
    HEADER_CRITICAL = (
        "header_critical", Stage.DECODE, Fault.CLIENT,
        "The token's header demands an extension that is not understood (crit, RFC 7515 section 4.1.11).",
        "Have the issuer leave out the extension for this audience.",
    )
    TYPE_FORBIDDEN = (
        "type_forbidden", Stage.DECODE, Fault.CLIENT,
        "The token's typ header is not that of an access token of this issuer.",
        "Send an access token, not an ID, refresh or logout token; or set the issuer's token_types.",
    )
    ALGORITHM_FORBIDDEN = (
        "algorithm_forbidden", Stage.DECODE, Fault.CLIENT,
        "The token's signature algorithm is not allowed for its issuer.",
        "Have the issuer sign with an allowed asymmetric algorithm, or add it to the issuer's algorithms.",
    )
    KID_INVALID = (
        "kid_invalid", Stage.DECODE, Fault.CLIENT,
        "The token's kid header is not a short string.",
        "Check which software made the token.",
    )

    # identity provider
    IDP_UNREACHABLE = (
        "idp_unreachable", Stage.IDP, Fault.IDENTITY_PROVIDER,
        "The identity provider could not be reached, so the token cannot be judged.",
        "Check DNS, network, TLS certificates and the state of the identity provider.",
    )
    IDP_TIMEOUT = (
        "idp_timeout", Stage.IDP, Fault.IDENTITY_PROVIDER,
        "The identity provider did not answer in time.",
        "Check the identity provider's latency and the network in between.",
    )
    IDP_ERROR = (
        "idp_error", Stage.IDP, Fault.IDENTITY_PROVIDER,
        "The identity provider answered with an error.",
        "Check the identity provider's status and the configured issuer and endpoints.",
    )
    IDP_METADATA_INVALID = (
        "idp_metadata_invalid", Stage.IDP, Fault.CONFIGURATION,
        "The identity provider's metadata cannot be used, or names another issuer.",
        "Set issuer exactly as the metadata says it, and check what the discovery URL returns.",
    )
    IDP_KEYS_INVALID = (
        "idp_keys_invalid", Stage.IDP, Fault.IDENTITY_PROVIDER,
        "The identity provider's key set cannot be used.",
        "Check what the jwks_uri returns: a JSON key set with at least one asymmetric signing key.",
    )
    IDP_CLIENT_REFUSED = (
        "idp_client_refused", Stage.IDP, Fault.CONFIGURATION,
        "The identity provider refused pgoauthd's own client at its introspection endpoint.",
        "Check client_id, client_auth and the secret or key in [issuers.introspection]; the token may be good.",
    )
    IDP_QUEUE_FULL = (
        "idp_queue_full", Stage.IDP, Fault.IDENTITY_PROVIDER,
        "Too many tokens were waiting for this identity provider already, so this one was refused at once.",
        "Check the identity provider's latency; logins with other providers and known tokens go on.",
    )
    INTROSPECTION_INVALID = (
        "introspection_invalid", Stage.IDP, Fault.IDENTITY_PROVIDER,
        "The identity provider's answer about the token cannot be used.",
        "Check what the introspection endpoint answers: a JSON object with active, as in RFC 7662 section 2.2.",
    )

    # signature
    KEY_UNKNOWN = (
        "key_unknown", Stage.SIGNATURE, Fault.CLIENT,
        "No key of the issuer has the token's kid.",
        "Get a new token: the key may have been retired; if it goes on, the token is from another issuer or realm.",
    )
    KEY_AMBIGUOUS = (
        "key_ambiguous", Stage.SIGNATURE, Fault.IDENTITY_PROVIDER,
        "More than one key of the issuer could have signed the token.",
        "Have the issuer put a kid into its tokens and give each key a kid of its own.",
    )
    KEY_MISMATCH = (
        "key_mismatch", Stage.SIGNATURE, Fault.CLIENT,
        "The key that the token names is not one for the token's algorithm or issuer.",
        "Check which software made the token; the key set binds each key to its algorithm, and some to one issuer.",
    )
    SIGNATURE_INVALID = (
        "signature_invalid", Stage.SIGNATURE, Fault.CLIENT,
        "The token's signature is wrong: it was altered or not signed by the issuer.",
        "Get a new token; if it goes on, treat it as an attempt to forge one.",
    )

    # claims
    ISSUER_MISSING = (
        "issuer_missing", Stage.CLAIMS, Fault.CLIENT,
        "The token does not name its issuer (iss).",
        "Send an access token of the configured issuer.",
    )
    ISSUER_MISMATCH = (
        "issuer_mismatch", Stage.CLAIMS, Fault.CLIENT,
        "The token is from another issuer than the one that pg_hba.conf asks for.",
        "Get a token from the issuer of the pg_hba.conf line; compare character by character, also a slash at the end.",
    )
    AUDIENCE_MISSING = (
        "audience_missing", Stage.CLAIMS, Fault.CONFIGURATION,
        "The token names no audience (aud).",
        "Have the identity provider put this database's audience into the token.",
    )
    AUDIENCE_MISMATCH = (
        "audience_mismatch", Stage.CLAIMS, Fault.CONFIGURATION,
        "The token was issued for another audience than this database.",
        "Have the identity provider add this database's audience (in Keycloak an audience mapper), or correct audiences.",
    )
    EXPIRY_MISSING = (
        "expiry_missing", Stage.CLAIMS, Fault.IDENTITY_PROVIDER,
        "The token has no expiry (exp).",
        "Have the identity provider issue tokens that expire.",
    )
    EXPIRED = (
        "expired", Stage.CLAIMS, Fault.CLIENT,
        "The token has expired.",
        "Get a new token; if new tokens are refused too, compare the clocks of both hosts.",
    )
    NOT_YET_VALID = (
        "not_yet_valid", Stage.CLAIMS, Fault.CLIENT,
        "The token is not valid yet (nbf).",
        "Wait, or compare the clocks of the identity provider and this host.",
    )
    ISSUED_IN_FUTURE = (
        "issued_in_future", Stage.CLAIMS, Fault.IDENTITY_PROVIDER,
        "The token says that it was issued in the future (iat).",
        "Compare the clocks of the identity provider and this host.",
    )
    LIFETIME_TOO_LONG = (
        "lifetime_too_long", Stage.CLAIMS, Fault.CONFIGURATION,
        "The token lives longer than the issuer's max_lifetime_seconds allow.",
        "Shorten the access token's lifetime at the identity provider, or raise max_lifetime_seconds.",
    )
    CLAIM_INVALID = (
        "claim_invalid", Stage.CLAIMS, Fault.IDENTITY_PROVIDER,
        "A claim of the token has a value of the wrong type.",
        "Check the claim mappers of the identity provider.",
    )
    TOKEN_USE_FORBIDDEN = (
        "token_use_forbidden", Stage.CLAIMS, Fault.CLIENT,
        "The token is not an access token: its payload says that it is an ID, refresh or logout token.",
        "Make the client send the access token.",
    )
    TOKEN_INACTIVE = (
        "token_inactive", Stage.CLAIMS, Fault.CLIENT,
        "The identity provider says that the token is not active: expired, revoked, or not for pgoauthd to know.",
        "Get a new token; if new ones are refused too, see that the introspecting client is in the tokens' audience.",
    )
    INTROSPECTION_MISMATCH = (
        "introspection_mismatch", Stage.CLAIMS, Fault.IDENTITY_PROVIDER,
        "The identity provider's answer about the token contradicts what the token itself says.",
        "Check that the introspection endpoint is that of the token's issuer.",
    )
    CLAIM_MISMATCH = (
        "claim_mismatch", Stage.CLAIMS, Fault.CLIENT,
        "A claim that the issuer's configuration requires is missing or has another value.",
        "Get a token of the required kind and tenant, or correct required_claims.",
    )
    SENDER_CONSTRAINED = (
        "sender_constrained", Stage.CLAIMS, Fault.CONFIGURATION,
        "The token is bound to a key of its sender (cnf), which a database login cannot prove.",
        "Have the identity provider issue plain bearer tokens to this client.",
    )

    # scope, identity
    SCOPE_MISSING = (
        "scope_missing", Stage.SCOPE, Fault.CLIENT,
        "The token lacks a required scope.",
        "Have the client ask for the scope and the identity provider grant it, or correct scope= in pg_hba.conf.",
    )
    IDENTITY_MISSING = (
        "identity_missing", Stage.IDENTITY, Fault.CONFIGURATION,
        "The token has none of the claims that hold the identity.",
        "Set the issuer's identity_claims to claims that its tokens have.",
    )
    IDENTITY_INVALID = (
        "identity_invalid", Stage.IDENTITY, Fault.IDENTITY_PROVIDER,
        "The identity claim is not a string of 1 to 256 bytes without control characters.",
        "Choose another identity claim, or correct the account at the identity provider.",
    )
    IDENTITY_UNVERIFIED = (
        "identity_unverified", Stage.IDENTITY, Fault.IDENTITY_PROVIDER,
        "The identity is an e-mail address that the identity provider has not verified.",
        "Have the account's address verified, or choose another identity claim.",
    )

    # usermap
    IDENTITY_MISMATCH = (
        "identity_mismatch", Stage.USERMAP, Fault.CLIENT,
        "The token is for another identity than the role asked for, and pg_hba.conf names no map.",
        "Log in as the role that equals the identity, or add map= and a pg_ident.conf line.",
    )
    USERMAP_NO_MATCH = (
        "usermap_no_match", Stage.USERMAP, Fault.CONFIGURATION,
        "No line of the user name map allows this identity to log in as this role.",
        "Add a line for the identity and the role to the map in pg_ident.conf and reload.",
    )
    DELEGATION_REFUSED = (
        "delegation_refused", Stage.USERMAP, Fault.CONFIGURATION,
        "pg_hba.conf delegates the mapping (delegate_ident_mapping=1), and no rule of pgoauthd allows this role.",
        "Add an [[issuers.role_rules]] table for the identity and the role to pgoauthd's configuration.",
    )
    ROLE_DENIED = (
        "role_denied", Stage.USERMAP, Fault.CONFIGURATION,
        "pg_hba.conf delegates the mapping (delegate_ident_mapping=1), and a deny rule of pgoauthd forbids this role.",
        'Log in as another role, or change the [[issuers.role_rules]] table with action = "deny".',
    )

    # role, database
    ROLE_MISSING = (
        "role_missing", Stage.ROLE, Fault.CONFIGURATION,
        "The token was good, but the role does not exist.",
        "Create the role, or log in as one that exists.",
    )
    ROLE_NOLOGIN = (
        "role_nologin", Stage.ROLE, Fault.CONFIGURATION,
        "The token was good, but the role may not log in.",
        "ALTER ROLE … LOGIN, or log in as another role.",
    )
    ROLE_CONNECTION_LIMIT = (
        "role_connection_limit", Stage.ROLE, Fault.CONFIGURATION,
        "The token was good, but the role has no connection left.",
        "Close idle sessions of the role, or ALTER ROLE … CONNECTION LIMIT.",
    )
    DATABASE_MISSING = (
        "database_missing", Stage.DATABASE, Fault.CLIENT,
        "The token was good, but the database does not exist.",
        "Correct the database name in the connection string, or create the database.",
    )
    DATABASE_NO_CONNECT = (
        "database_no_connect", Stage.DATABASE, Fault.CONFIGURATION,
        "The token was good, but the role may not connect to the database.",
        "GRANT CONNECT ON DATABASE … TO the role.",
    )
    DATABASE_CONNECTION_LIMIT = (
        "database_connection_limit", Stage.DATABASE, Fault.CONFIGURATION,
        "The token was good, but the database has no connection left.",
        "Close idle sessions, or ALTER DATABASE … CONNECTION LIMIT.",
    )
    DATABASE_NOT_ACCEPTING = (
        "database_not_accepting", Stage.DATABASE, Fault.CONFIGURATION,
        "The token was good, but the database does not accept connections.",
        "ALTER DATABASE … ALLOW_CONNECTIONS true, or connect to another database.",
    )

    # our own failure: refused, counted, reported
    INTERNAL_ERROR = (
        "internal_error", Stage.VALIDATOR, Fault.SERVER,
        "pgoauthd failed in a way that it did not foresee, and refused.",
        "Report it with pgoauthd's log of that moment; it holds no token.",
    )
    # fmt: on


BY_CODE: dict[str, Reason] = {reason.value: reason for reason in Reason}
"""Reasons by their stable code."""
