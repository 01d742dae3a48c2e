"""What the tokens and endpoints of a real Keycloak make of pgoauthd's profile, its three modes and its client."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pgoauthd.config.reader import parse
from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import Answer, Running, running_callout
from tests.real.fix_keycloak import AUDIENCE, SCOPE, WITHOUT_SCOPE, Keycloak, secret_of

CACHE_SECONDS = 0.5
MODES = ("jwt", "introspect", "jwt_then_introspect")
JWT, INTROSPECT, BOTH = MODES


@asynccontextmanager
async def validating(
    keycloak: Keycloak, directory: Path, mode: str, client: str = AUDIENCE, **introspection: str
) -> AsyncIterator[Running]:
    """A daemon's socket for the realm; without more said, its client is one of the tokens' audience."""
    secret = directory / "secret"
    secret.write_text(secret_of(client) + "\n", encoding="utf-8")
    secret.chmod(0o600)
    how = {"client_secret_file": str(secret), **introspection}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in how.items() if value)
    text = f"""
[[issuers]]
profile = "keycloak"
issuer = "{keycloak.issuer}"
audiences = ["{AUDIENCE}"]
mode = "{mode}"
identity_claims = ["preferred_username"]
allow_loopback_http = true
unknown_kid_interval_seconds = 1

[issuers.introspection]
client_id = "{client}"
cache_seconds = {CACHE_SECONDS}
{lines}
"""
    async with running_callout(directory, *parse(text).issuers) as running:
        yield running


async def ask(running: Running, keycloak: Keycloak, token: str, **members: Any) -> Answer:  # noqa: ANN401 - any member
    return await running.validate(token, keycloak.issuer, **({"scope": f"openid {SCOPE}"} | members))


KINDS: dict[tuple[str, str], dict[str, Reason]] = {
    ("psql", "access_token"): dict.fromkeys(MODES, Reason.OK),
    ("rfc9068", "access_token"): dict.fromkeys(MODES, Reason.OK),
    # no sub and no aud, which only introspection brings
    ("lightweight", "access_token"): {JWT: Reason.AUDIENCE_MISSING, INTROSPECT: Reason.OK, BOTH: Reason.OK},
    ("psql", "id_token"): dict.fromkeys(MODES, Reason.TOKEN_USE_FORBIDDEN),
    ("psql", "refresh_token"): {
        JWT: Reason.ALGORITHM_FORBIDDEN,
        INTROSPECT: Reason.TOKEN_USE_FORBIDDEN,
        BOTH: Reason.ALGORITHM_FORBIDDEN,
    },
    (WITHOUT_SCOPE, "access_token"): {
        JWT: Reason.AUDIENCE_MISMATCH,
        INTROSPECT: Reason.TOKEN_INACTIVE,  # our client may not ask about tokens that are not for it
        BOTH: Reason.TOKEN_INACTIVE,
    },
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("client", "kind"), KINDS)
async def test_each_kind_of_token_ends_in_its_reason(
    keycloak: Keycloak, tmp_path: Path, client: str, kind: str, mode: str
) -> None:
    scope = "openid" if client == WITHOUT_SCOPE else f"openid {SCOPE}"
    token = keycloak.token(client, scope=scope)[kind]
    async with validating(keycloak, tmp_path, mode) as running:
        answer = await ask(running, keycloak, token)
        assert answer.reason == KINDS[client, kind][mode], answer
        assert answer.json["authn_id"] == ("alice" if answer.json["authorized"] else None)


@pytest.mark.parametrize("mode", MODES)
async def test_a_service_account_is_named_after_its_client(keycloak: Keycloak, tmp_path: Path, mode: str) -> None:
    token = keycloak.token("psql", grant_type="client_credentials")["access_token"]
    async with validating(keycloak, tmp_path, mode) as running:
        answer = await ask(running, keycloak, token, role="etl")
        assert (answer.reason, answer.json["authn_id"]) == (Reason.OK, "service-account-psql")


async def test_the_scope_of_another_line_is_missing(keycloak: Keycloak, tmp_path: Path) -> None:
    token = keycloak.token("psql")["access_token"]
    async with validating(keycloak, tmp_path, INTROSPECT) as running:
        answer = await ask(running, keycloak, token, scope="openid dba")
        assert answer.reason == Reason.SCOPE_MISSING
        assert "'dba'" in answer.json["message"]


async def test_both_well_known_urls_name_the_realm(keycloak: Keycloak, tmp_path: Path) -> None:
    token = keycloak.token("psql")["access_token"]
    realm = keycloak.issuer.removeprefix(keycloak.url)
    async with validating(keycloak, tmp_path, JWT) as running:
        for line in (
            f"{keycloak.issuer}/.well-known/openid-configuration",
            f"{keycloak.url}/.well-known/oauth-authorization-server{realm}",
        ):
            assert (await running.validate(token, line)).reason == Reason.OK


@pytest.mark.parametrize("mode", [INTROSPECT, BOTH])
async def test_a_revoked_token_is_refused_when_its_answer_is_forgotten(
    keycloak: Keycloak, tmp_path: Path, mode: str
) -> None:
    token = keycloak.token("psql")["access_token"]
    async with validating(keycloak, tmp_path, mode) as running:
        assert (await ask(running, keycloak, token)).reason == Reason.OK
        keycloak.revoke("psql", token)
        async with asyncio.timeout(10 * CACHE_SECONDS):
            while (answer := await ask(running, keycloak, token)).reason == Reason.OK:
                pass  # held from before, which no other process could tell
        assert answer.reason == Reason.TOKEN_INACTIVE


async def test_a_token_of_a_session_that_was_logged_out_is_refused(keycloak: Keycloak, tmp_path: Path) -> None:
    tokens = keycloak.token("psql")
    keycloak.log_out("psql", tokens["refresh_token"])
    async with validating(keycloak, tmp_path, INTROSPECT) as running:
        assert (await ask(running, keycloak, tokens["access_token"])).reason == Reason.TOKEN_INACTIVE


async def test_a_secret_may_be_in_the_form(keycloak: Keycloak, tmp_path: Path) -> None:
    token = keycloak.token("psql")["access_token"]
    async with validating(keycloak, tmp_path, INTROSPECT, client_auth="client_secret_post") as running:
        assert (await ask(running, keycloak, token)).reason == Reason.OK


async def test_a_wrong_secret_is_not_the_fault_of_the_token(keycloak: Keycloak, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed", encoding="utf-8")
    wrong.chmod(0o600)
    token = keycloak.token("psql")["access_token"]
    async with validating(keycloak, tmp_path, INTROSPECT, client_secret_file=str(wrong)) as running:
        answer = await ask(running, keycloak, token)
        assert (answer.reason, answer.json["fault"]) == (Reason.IDP_CLIENT_REFUSED, "configuration")


async def test_an_assertion_signed_with_our_key_is_believed(keycloak: Keycloak, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    listed = json.dumps({"keys": [{**public, "kid": "ours", "use": "sig", "alg": "ES256"}]})
    attributes = {"use.jwks.string": "true", "jwks.string": listed, "token.endpoint.auth.signing.alg": "ES256"}
    keycloak.add_client("with-key", {"clientAuthenticatorType": "client-jwt", "attributes": attributes})
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pem.chmod(0o600)
    how = {"client_auth": "private_key_jwt", "private_key_file": str(pem), "private_key_id": "ours"}
    how |= {"private_key_algorithm": "ES256", "client_secret_file": ""}
    token = keycloak.token("psql")["access_token"]
    async with validating(keycloak, tmp_path, INTROSPECT, "with-key", **how) as running:
        assert (await ask(running, keycloak, token)).reason == Reason.OK


@pytest.mark.parametrize("mode", MODES)
async def test_a_rotation_amid_logins_refuses_nobody(keycloak: Keycloak, tmp_path: Path, mode: str) -> None:
    tokens = [keycloak.token("psql")["access_token"] for _ in range(3)]
    async with validating(keycloak, tmp_path, mode) as running:
        stopped = asyncio.Event()

        async def log_in(number: int) -> set[str]:
            reasons = set()
            for turn in itertools.count(number):
                reasons.add((await ask(running, keycloak, tokens[turn % len(tokens)])).reason)
                if stopped.is_set():
                    return reasons
            raise AssertionError

        logins = [asyncio.create_task(log_in(number)) for number in range(8)]
        await asyncio.to_thread(keycloak.rotate)
        fresh = await asyncio.to_thread(keycloak.token, "psql")
        assert kid(fresh["access_token"]) != kid(tokens[0])
        tokens.append(fresh["access_token"])
        assert (await ask(running, keycloak, fresh["access_token"])).reason == Reason.OK
        stopped.set()
        assert set().union(*await asyncio.gather(*logins)) == {Reason.OK}


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])
