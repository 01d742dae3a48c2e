"""The demo's identity provider: its good tokens are good, its bad ones bad in exactly one way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pgoauthd.demo.issuer import AUDIENCE, INTROSPECTION_CLIENT, DemoIssuer, Outage, SigningKey, alter_payload


@pytest.fixture
async def issuer() -> AsyncIterator[DemoIssuer]:
    async with DemoIssuer() as issuer:
        yield issuer


async def get(url: str, seconds: float = 5.0) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, asyncio.timeout(seconds), session.get(url) as response:
        response.raise_for_status()
        document: dict[str, Any] = await response.json()
        return document


async def key_set(issuer: DemoIssuer) -> jwt.PyJWKSet:
    metadata = await get(f"{issuer.issuer}/.well-known/openid-configuration")
    return jwt.PyJWKSet.from_dict(await get(metadata["jwks_uri"]))


async def verify(issuer: DemoIssuer, token: str) -> dict[str, Any]:
    """As any resource server would: by the key set that the issuer publishes."""
    key = (await key_set(issuer))[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=[key.algorithm_name], audience=AUDIENCE, issuer=issuer.issuer
    )
    return claims


async def ask_for_token(issuer: DemoIssuer, **form: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(issuer.token_endpoint, data=form) as response:
        return response.status, await response.json()


async def test_the_metadata_names_the_issuer_exactly(issuer: DemoIssuer) -> None:
    assert (await get(f"{issuer.issuer}/.well-known/openid-configuration"))["issuer"] == issuer.issuer


async def test_the_metadata_of_rfc_8414_is_the_same(issuer: DemoIssuer) -> None:
    origin, path = issuer.issuer.removesuffix("/realms/demo"), "/realms/demo"

    assert await get(f"{origin}/.well-known/oauth-authorization-server{path}") == await get(
        f"{issuer.issuer}/.well-known/openid-configuration"
    )


async def test_the_issuer_is_on_loopback_with_the_port_that_was_free(issuer: DemoIssuer) -> None:
    assert issuer.issuer.startswith("http://127.0.0.1:")
    assert not issuer.issuer.startswith("http://127.0.0.1:0/")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_minted_token_verifies_against_the_key_set(issuer: DemoIssuer, algorithm: str) -> None:
    token = issuer.mint("alice", key=issuer.key(algorithm))

    assert (await verify(issuer, token))["sub"] == "alice"
    assert jwt.get_unverified_header(token)["alg"] == algorithm


async def test_a_token_says_that_it_is_an_access_token(issuer: DemoIssuer) -> None:
    assert jwt.get_unverified_header(issuer.mint("alice"))["typ"] == "at+jwt"


async def test_the_key_set_holds_no_private_part(issuer: DemoIssuer) -> None:
    for key in (await get(f"{issuer.issuer}/jwks"))["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)


async def test_keys_are_bound_to_their_algorithm_and_to_signatures(issuer: DemoIssuer) -> None:
    keys = (await get(f"{issuer.issuer}/jwks"))["keys"]

    assert [(key["alg"], key["use"]) for key in keys] == [("RS256", "sig"), ("ES256", "sig")]


async def test_further_claims_replace_ours_and_none_leaves_one_out(issuer: DemoIssuer) -> None:
    claims = await verify(issuer, issuer.mint("alice", azp="psql", jti=None, groups=["dba"]))

    assert (claims["azp"], claims["groups"]) == ("psql", ["dba"])
    assert "jti" not in claims


async def test_an_expired_token_is_signed_and_expired(issuer: DemoIssuer) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        await verify(issuer, issuer.mint("alice", issued_ago=3600))


async def test_a_token_for_another_audience_is_for_it_alone(issuer: DemoIssuer) -> None:
    with pytest.raises(jwt.InvalidAudienceError):
        await verify(issuer, issuer.mint("alice", audience="shop"))


async def test_the_clock_of_the_tokens_can_be_another() -> None:
    claims = jwt.decode(DemoIssuer(clock=lambda: 1_000_000.0).mint("alice"), options={"verify_signature": False})

    assert (claims["iat"], claims["exp"]) == (1_000_000, 1_000_300)


async def test_an_altered_token_says_something_else_under_a_signature_that_is_wrong(issuer: DemoIssuer) -> None:
    altered = alter_payload(issuer.mint("bob"), sub="alice")

    assert jwt.decode(altered, options={"verify_signature": False})["sub"] == "alice"
    with pytest.raises(jwt.InvalidSignatureError):
        await verify(issuer, altered)


async def test_an_impostor_has_the_kid_and_not_the_key(issuer: DemoIssuer) -> None:
    forged = issuer.mint("alice", key=issuer.impostor_key())

    assert jwt.get_unverified_header(forged)["kid"] == issuer.keys[0].kid
    with pytest.raises(jwt.InvalidSignatureError):
        await verify(issuer, forged)


async def test_a_new_key_is_not_in_the_key_set(issuer: DemoIssuer) -> None:
    with pytest.raises(KeyError):
        await verify(issuer, issuer.mint("alice", key=SigningKey.generate("ES256")))


async def test_an_unsigned_token_would_be_good_to_whoever_does_not_look(issuer: DemoIssuer) -> None:
    token = issuer.mint_unsigned("alice")

    assert jwt.get_unverified_header(token)["alg"] == "none"
    assert token.endswith(".")
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "alice"


async def test_the_confused_token_would_verify_with_the_public_key_as_secret(issuer: DemoIssuer) -> None:
    token = issuer.mint_with_public_key("alice")
    secret = next(iter((await key_set(issuer)).keys)).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing_input, _, signature = token.rpartition(".")

    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    assert hmac.verify(signing_input.encode(), secret, jwt.utils.base64url_decode(signature))
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


async def test_after_a_rotation_the_new_key_signs_and_the_old_ones_are_still_listed(issuer: DemoIssuer) -> None:
    before = issuer.mint("alice")
    old = issuer.keys

    issuer.rotate()

    after = issuer.mint("alice")
    assert jwt.get_unverified_header(after)["kid"] not in {key.kid for key in old}
    assert (await verify(issuer, before))["sub"] == (await verify(issuer, after))["sub"] == "alice"


async def test_a_rotation_can_retire_the_old_keys_at_once(issuer: DemoIssuer) -> None:
    before = issuer.mint("alice")

    issuer.rotate(keep_old=False)

    with pytest.raises(KeyError):
        await verify(issuer, before)


async def test_an_outage_can_drop_connections(issuer: DemoIssuer) -> None:
    issuer.outage(Outage.DROPPED)

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await get(f"{issuer.issuer}/jwks")


async def test_an_outage_can_be_an_error(issuer: DemoIssuer) -> None:
    issuer.outage(Outage.ERROR)

    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await get(f"{issuer.issuer}/jwks")
    assert caught.value.status == 503


async def test_an_outage_can_be_silence(issuer: DemoIssuer) -> None:
    issuer.outage(Outage.SILENT)

    with pytest.raises(TimeoutError):
        await get(f"{issuer.issuer}/jwks", seconds=0.2)


async def test_an_outage_ends(issuer: DemoIssuer) -> None:
    issuer.outage(Outage.ERROR)
    issuer.outage(Outage.NONE)

    assert (await get(f"{issuer.issuer}/jwks"))["keys"]


async def test_tokens_can_be_minted_in_an_outage(issuer: DemoIssuer) -> None:
    issuer.outage(Outage.DROPPED)
    token = issuer.mint("alice")
    issuer.outage(Outage.NONE)

    assert (await verify(issuer, token))["sub"] == "alice"


async def test_the_token_endpoint_gives_a_good_token_to_whoever_asks(issuer: DemoIssuer) -> None:
    status, answer = await ask_for_token(issuer, grant_type="client_credentials", client_id="alice")

    assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 300)
    assert (await verify(issuer, answer["access_token"]))["sub"] == "alice"


async def test_the_token_endpoint_gives_bad_tokens_to_whoever_asks(issuer: DemoIssuer) -> None:
    _, answer = await ask_for_token(
        issuer, grant_type="client_credentials", client_id="alice", scope="none", audience="shop", lifetime="-90"
    )

    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["scope"], claims["aud"], claims["exp"] - claims["iat"]) == ("none", "shop", -90)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password", "client_id": "alice"}, 400, "unsupported_grant_type"),
        ({"client_id": "alice"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "alice", "lifetime": "long"}, 400, "invalid_request"),
        ({"grant_type": "client_credentials", "client_id": "alice", "lifetime": "nan"}, 400, "invalid_request"),
        ({"grant_type": "client_credentials", "client_id": "alice", "lifetime": "inf"}, 400, "invalid_request"),
    ],
)
async def test_the_token_endpoint_refuses_as_rfc_6749_has_it(
    issuer: DemoIssuer, form: dict[str, str], status: int, error: str
) -> None:
    assert await ask_for_token(issuer, **form) == (status, {"error": error})


async def test_stopping_frees_the_port() -> None:
    async with DemoIssuer() as issuer:
        url = f"{issuer.issuer}/jwks"
        port = int(issuer.issuer.split(":")[2].split("/")[0])

    with pytest.raises(aiohttp.ClientConnectorError):
        await get(url)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


async def test_a_silence_ends_with_the_outage(issuer: DemoIssuer) -> None:
    issuer.outage(Outage.SILENT)
    hanging = asyncio.create_task(get(f"{issuer.issuer}/jwks"))
    await asyncio.wait([hanging], timeout=0.2)
    assert not hanging.done()

    issuer.outage(Outage.NONE)

    with pytest.raises(aiohttp.ClientResponseError):
        await hanging


async def test_a_port_can_be_chosen() -> None:
    async with DemoIssuer() as first:
        port = int(first.issuer.split(":")[2].split("/")[0])

    async with DemoIssuer(port=port, realm="other") as second:
        assert second.issuer == f"http://127.0.0.1:{port}/realms/other"
        assert json.dumps(await get(f"{second.issuer}/.well-known/openid-configuration")).count(second.issuer) == 5


async def introspect(issuer: DemoIssuer, token: str, secret: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": aiohttp.encode_basic_auth(INTROSPECTION_CLIENT, secret or issuer.client_secret)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{issuer.issuer}/introspect", data={"token": token}, headers=headers) as response,
    ):
        return response.status, await response.json()


async def test_an_opaque_token_says_what_it_stands_for_to_the_introspecting_client(issuer: DemoIssuer) -> None:
    token = issuer.mint_opaque("courier", audience="shop")

    status, answer = await introspect(issuer, token)

    assert (status, answer["active"], answer["sub"], answer["aud"]) == (200, True, "courier", "shop")
    assert answer["iss"] == issuer.issuer


async def test_an_opaque_token_says_nothing_with_a_wrong_secret(issuer: DemoIssuer) -> None:
    status, answer = await introspect(issuer, issuer.mint_opaque("courier"), "guessed")

    assert (status, answer) == (401, {"error": "invalid_client"})


async def post(url: str, **form: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
        response.raise_for_status()
        return await response.read()


async def test_whoever_asks_gets_an_opaque_token_and_can_revoke_it(issuer: DemoIssuer) -> None:
    given = await post(issuer.token_endpoint, grant_type="client_credentials", client_id="courier", opaque="1")
    token = json.loads(given)["access_token"]
    assert "." not in token
    assert (await introspect(issuer, token))[1]["sub"] == "courier"

    await post(issuer.revocation_endpoint, token=token)

    assert await introspect(issuer, token) == (200, {"active": False})


@pytest.mark.parametrize("kind", ["revoked", "expired", "foreign"])
async def test_an_opaque_token_that_is_not_good_is_inactive(issuer: DemoIssuer, kind: str) -> None:
    token = {
        "revoked": lambda: issuer.revoke(issuer.mint_opaque("courier")),
        "expired": lambda: issuer.mint_opaque("courier", lifetime=-1),
        "foreign": lambda: DemoIssuer().mint_opaque("courier"),
    }[kind]()

    assert await introspect(issuer, token) == (200, {"active": False})
