"""JWTs that are refused although their issuer calls them active, or that it must not even be asked about."""

from __future__ import annotations

from typing import Final

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, mint
from tests.tokens.case import EC_FORGER
from tests.tokens.case_introspection import (
    ASKED,
    CLIENT,
    LIGHTWEIGHT,
    LOGOUT_EVENT,
    MERGING,
    OTHER,
    Bytes,
    IntrospectionCase,
    Text,
    at,
    jwt,
    raw,
    says,
    settings,
    unread,
)


def _merged(
    name: str, reason: Reason, token: Text, answer: Bytes | None = None, *, asked: bool = True
) -> IntrospectionCase:
    return IntrospectionCase(name, reason, answer or says(), MERGING, token, asked=asked)


def _apart(name: str, *, token: dict[str, object], answer: dict[str, object]) -> IntrospectionCase:
    return _merged(name, Reason.INTROSPECTION_MISMATCH, jwt(name, **token), says(**answer))


def _unasked(name: str, reason: Reason, **token: object) -> IntrospectionCase:
    return _merged(name, reason, jwt(name, **token), asked=False)


CONTRADICTIONS: Final = (
    _apart("answer about another subject", token={}, answer={"sub": "bob"}),
    _apart("answer about a subject that is a number", token={"sub": "7"}, answer={"sub": 7}),
    _apart("answer about another token id", token={"jti": "a"}, answer={"jti": "b"}),
    _apart("answer about another issuer's token", token={}, answer={"iss": OTHER}),
    _apart("answer that lives longer than the token", token={"exp": at(200)}, answer={"exp": at(300)}),
    _apart("answer with exp as a string", token={}, answer={"exp": "4000000000"}),
    _apart("answer about another client", token={"azp": "psql"}, answer={"client_id": "admin-cli"}),
    _apart("answer with another azp", token={"azp": "psql"}, answer={"azp": "admin-cli", "client_id": "psql"}),
    _apart("answer for audiences that the token has not", token={"aud": "account"}, answer={"aud": AUDIENCE}),
    _apart("answer with an audience for a token with none that can be read", token={"aud": 1}, answer={}),
    _apart("answer about another kind of token", token={"typ": "Bearer"}, answer={"typ": "DPoP"}),
    _apart("answer with another word for its use", token={"token_use": "access"}, answer={"token_use": "id"}),
    _apart("answer with other events", token={"events": {"x": {}}}, answer={"events": {}}),
    IntrospectionCase(
        "token that is bound to another key",
        Reason.INTROSPECTION_MISMATCH,
        says(cnf={"jkt": "a"}),
        settings(mode="jwt_then_introspect", accept_sender_constrained=True),
        jwt("bound to another", cnf={"jkt": "b"}),
    ),
    _merged(
        "bound token with a plain answer",
        Reason.SENDER_CONSTRAINED,
        jwt("bound token with a plain answer", cnf={"jkt": "x"}),
        asked=False,
    ),
    _merged(
        "plain token with a bound answer",
        Reason.SENDER_CONSTRAINED,
        jwt("plain token with a bound answer"),
        says(cnf={"jkt": "x"}),
    ),
)

MERGING_REFUSALS: Final = (
    *CONTRADICTIONS,
    _unasked("expired token with a good answer", Reason.EXPIRED, exp=at(-60)),
    _unasked("token of the future with a good answer", Reason.NOT_YET_VALID, nbf=at(120)),
    _unasked("ID token with a good answer", Reason.TOKEN_USE_FORBIDDEN, typ="ID"),
    _unasked("ID token by its at_hash with a good answer", Reason.TOKEN_USE_FORBIDDEN, at_hash="77QmUPtjPfzWtF2A"),
    _unasked("ID token by its nonce with a good answer", Reason.TOKEN_USE_FORBIDDEN, nonce="n-0S6", scope=DROP),
    _unasked("logout token with a good answer", Reason.TOKEN_USE_FORBIDDEN, events={LOGOUT_EVENT: {}}),
    _unasked("token of another issuer with a good answer", Reason.ISSUER_MISMATCH, iss=OTHER),
    _unasked("token without an issuer with a good answer", Reason.ISSUER_MISSING, iss=DROP),
    _unasked("token with another typ with a good answer", Reason.TYPE_FORBIDDEN, header={"typ": "id+jwt"}),
    _unasked(
        "signed answer as a token",
        Reason.TYPE_FORBIDDEN,
        header={"typ": "token-introspection+jwt"},
        aud=[AUDIENCE, CLIENT],
    ),
    _merged(
        "forged token with a good answer",
        Reason.SIGNATURE_INVALID,
        lambda now: mint(now, key=EC_FORGER, header={"kid": "ec-256"}, jti=DROP),
        asked=False,
    ),
    _merged("good token that was revoked", Reason.TOKEN_INACTIVE, jwt("revoked"), raw(b'{"active":false}')),
    _merged(
        "good token and an answer without active", Reason.INTROSPECTION_INVALID, jwt("no active"), says(active=DROP)
    ),
    _merged(
        "good token with a refresh token's answer", Reason.TOKEN_USE_FORBIDDEN, jwt("refresh"), says(token_type="N_A")
    ),
    _merged("good token that expires earlier", Reason.EXPIRED, jwt("earlier"), says(exp=at(-60))),
    _merged("good token whose scopes were taken", Reason.SCOPE_MISSING, jwt("narrowed"), says(scope="profile")),
    _merged(
        "good token whose scopes were taken under another name",
        Reason.SCOPE_MISSING,
        jwt("narrowed scp", scope=DROP, scp=["postgres"]),
        says(scope="profile"),
    ),
    _merged(
        "lightweight token without an audience in the answer",
        Reason.AUDIENCE_MISSING,
        jwt("light 1", **LIGHTWEIGHT),
        says(aud=DROP),
    ),
    _merged(
        "lightweight token for another audience",
        Reason.AUDIENCE_MISMATCH,
        jwt("light 2", **LIGHTWEIGHT),
        says(aud="account"),
    ),
    _merged(
        "lightweight token without a subject in the answer",
        Reason.IDENTITY_MISSING,
        jwt("light 3", **LIGHTWEIGHT),
        says(sub=DROP),
    ),
)


def _shown(name: str, token: Text, reason: Reason = Reason.ISSUER_MISMATCH) -> IntrospectionCase:
    """A token that must not be shown to this issuer, though it would say that it is good."""
    return IntrospectionCase(name, reason, says(), ASKED, token, asked=False)


DISCLOSURES: Final = (
    _shown("another issuer's token", jwt("another", iss=OTHER)),
    _shown(
        "another issuer's token with a header that is not understood", jwt("crit", iss=OTHER, header={"crit": ["x"]})
    ),
    _shown("another issuer's token without alg", unread(b'{"typ":"JWT"}', b'{"iss":"https://evil.example/"}')),
    _shown(
        "another issuer's token that names ours, too",
        unread(b'{"alg":"RS256"}', b'{"iss":"%s","iss":"x"}' % ISSUER.encode()),
    ),
    _shown(
        "another issuer's encrypted token",
        unread(b'{"alg":"dir","enc":"A256GCM","iss":"https://evil.example/"}', b"", ".aaaa.aaaa.aaaa"),
    ),
    _shown("token with a list of issuers", jwt("list", iss=[ISSUER])),
)
