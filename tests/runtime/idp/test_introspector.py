from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from pgoauthd.errors import ConfigError
from pgoauthd.runtime.idp.introspector import QUEUE_FACTOR
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_callout import NAME, issuer_settings
from tests.fix_certificates import Authority
from tests.fix_clock import SteppedClock
from tests.fix_introspector import TOKEN, Asking, GivenKeys, asking, introspecting
from tests.fix_issuer import (
    INTROSPECTION,
    OAUTH,
    OPENID,
    SIGNED_ANSWER,
    Answer,
    LocalIssuer,
    babbles,
    compressed,
    cuts_short,
    endless,
    first,
    hangs_up,
    redirects,
    resets,
    running_issuer,
    says,
)
from tests.fix_tokens import signing_key

DEADLINE = 20.0
ALICE = {"sub": "alice", "username": "alice", "scope": "postgres"}
NOW = 1_795_310_000.0


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


async def settle() -> None:
    """Let what is ready to run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


# What is asked, and what is made of the answer


async def test_an_active_token_comes_back_with_what_the_issuer_says(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path)) as it:
        assert await it.ask() == {"active": True, **ALICE}
        assert (it.fetches(), it.results(), it.durations()) == ({"success": 1}, {"miss": 1}, 1)


async def test_another_token_is_inactive(provider: LocalIssuer, tmp_path: Path) -> None:
    async with asking(introspecting(provider, tmp_path)) as it:
        assert (await it.refusal()).reason is Reason.TOKEN_INACTIVE
        assert it.fetches() == {"success": 1}


async def test_a_request_says_which_token_and_what_it_is(provider: LocalIssuer, tmp_path: Path) -> None:
    async with asking(introspecting(provider, tmp_path)) as it:
        await it.ask()
    assert provider.forms == [{"token": TOKEN, "token_type_hint": "access_token"}]
    assert provider.headers[-1]["Accept"] == "application/json"


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
async def test_the_issuer_knows_its_client_by_the_secret(provider: LocalIssuer, tmp_path: Path, way: str) -> None:
    provider.client.auth = way
    async with asking(introspecting(provider, tmp_path)) as it:
        assert (await it.refusal()).reason is Reason.TOKEN_INACTIVE


def private_key_file(provider: LocalIssuer, directory: Path, clock: SteppedClock) -> str:
    """The file with the key of the issuer's client, which authenticates by it from now on."""
    key = signing_key("client-1", "ES256")
    provider.client.auth, provider.client.key, provider.client.now = "private_key_jwt", key, clock.time
    path = directory / "client.pem"
    path.write_bytes(
        key.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return str(path)


async def test_the_issuer_knows_its_client_by_an_assertion(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    key = {"private_key_file": private_key_file(provider, tmp_path, clock), "private_key_algorithm": "ES256"}
    async with asking(introspecting(provider, tmp_path, private_key_id="client-1", **key), clock=clock) as it:
        for text in ("one", "two"):
            assert (await it.refusal(text)).reason is Reason.TOKEN_INACTIVE
    assert len(provider.client.assertions) == 2


async def test_a_retry_has_an_assertion_of_its_own(provider: LocalIssuer, tmp_path: Path, clock: SteppedClock) -> None:
    key = {"private_key_file": private_key_file(provider, tmp_path, clock), "private_key_algorithm": "ES256"}

    async def takes_it_and_fails(request: web.BaseRequest) -> web.StreamResponse:
        await provider.introspect(request)
        return web.Response(status=503)

    provider.script[INTROSPECTION] = first(takes_it_and_fails, then=provider.introspect)
    async with asking(introspecting(provider, tmp_path, private_key_id="client-1", **key), clock=clock) as it:
        assert (await it.refusal()).reason is Reason.TOKEN_INACTIVE
    assert len(provider.client.assertions) == 2


async def test_the_issuer_knows_its_client_by_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.certify("pgoauthd")
    files = {"ca_file": authority.ca_file, "tls_certificate_file": certificate, "tls_key_file": key}
    async with running_issuer(authority.server("127.0.0.1", wants_client=True)) as provider:
        provider.client.auth, provider.client.client_id = "tls_client_auth", "pgoauthd"
        async with asking(introspecting(provider, tmp_path, issuer=files)) as it:
            assert (await it.refusal()).reason is Reason.TOKEN_INACTIVE


async def test_a_wrong_secret_is_a_refused_client_and_no_verdict_on_the_token(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    settings = introspecting(provider, tmp_path)
    provider.client.secret = "changed"
    async with asking(settings) as it:
        refused = await it.refusal()
        assert refused.reason is Reason.IDP_CLIENT_REFUSED
        assert refused.message == f"{provider.issuer}/introspect answered with status 401"
        assert it.fetches() == {"client_refused": 1}
        assert it.held() is None


def json_says(status: int, text: str) -> Answer:
    return says(status, text.encode(), Content_Type="application/json")


Misbehaviour = Callable[[LocalIssuer], Answer]

MISBEHAVIOUR: list[tuple[Misbehaviour, Reason, str]] = [
    (lambda _: says(401), Reason.IDP_CLIENT_REFUSED, "client_refused"),
    (lambda _: says(403), Reason.IDP_CLIENT_REFUSED, "client_refused"),
    (lambda _: json_says(400, '{"error": "invalid_client"}'), Reason.IDP_CLIENT_REFUSED, "client_refused"),
    (lambda _: json_says(400, '{"error": "unauthorized_client"}'), Reason.IDP_CLIENT_REFUSED, "client_refused"),
    (lambda _: json_says(400, '{"error": "invalid_request"}'), Reason.IDP_ERROR, "error"),
    (lambda _: json_says(400, '{"error": ["invalid_client"]}'), Reason.IDP_ERROR, "error"),
    (lambda _: json_says(400, "["), Reason.IDP_ERROR, "error"),
    (lambda _: says(404), Reason.IDP_ERROR, "error"),
    (lambda _: says(429), Reason.IDP_ERROR, "error"),
    (lambda _: says(500), Reason.IDP_ERROR, "error"),
    (lambda _: says(204), Reason.IDP_ERROR, "error"),
    (lambda p: redirects(f"{p.issuer}/login"), Reason.IDP_ERROR, "error"),
    (lambda _: babbles, Reason.IDP_ERROR, "error"),
    (lambda _: cuts_short, Reason.IDP_ERROR, "error"),
    (lambda _: resets, Reason.IDP_UNREACHABLE, "unreachable"),
    (lambda _: hangs_up, Reason.IDP_UNREACHABLE, "unreachable"),
    (lambda p: p.hang, Reason.IDP_TIMEOUT, "timeout"),
    (lambda p: p.drip, Reason.IDP_TIMEOUT, "timeout"),
    (lambda _: endless(), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: compressed({"active": True}), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: says(200, b'{"active": true}', Content_Type="text/html"), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: says(200, b'{"active": true}', Content_Type=SIGNED_ANSWER), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: json_says(200, "<html>"), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: json_says(200, ""), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: json_says(200, "[]"), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: json_says(200, "{}"), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: json_says(200, '{"active": "true"}'), Reason.INTROSPECTION_INVALID, "invalid"),
    (lambda _: json_says(200, '{"active": false, "active": true}'), Reason.INTROSPECTION_INVALID, "invalid"),
]


@pytest.mark.parametrize(("misbehaviour", "reason", "outcome"), MISBEHAVIOUR)
async def test_each_misbehaviour_has_its_reason_and_is_not_remembered(
    provider: LocalIssuer, tmp_path: Path, misbehaviour: Misbehaviour, reason: Reason, outcome: str
) -> None:
    provider.script[INTROSPECTION] = misbehaviour(provider)
    async with asking(introspecting(provider, tmp_path, timeout_seconds=0.2)) as it:
        refused = await it.refusal()
        assert refused.reason is reason, refused.message
        assert refused.message.isprintable()
        assert len(refused.message) < 1_000
        assert set(it.fetches()) == {outcome}
        assert it.held() is None


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
async def test_json_by_any_of_its_names_is_taken(provider: LocalIssuer, tmp_path: Path, kind: str) -> None:
    provider.script[INTROSPECTION] = says(200, b'{"active": true}', Content_Type=kind)
    async with asking(introspecting(provider, tmp_path)) as it:
        assert await it.ask() == {"active": True}


@pytest.mark.parametrize(
    "echo",
    [
        redirects(f"https://id.example/{TOKEN}?{TOKEN}"),
        says(200, b"{}", Content_Type=f"text/{TOKEN}"),
        says(200, b"x", Content_Encoding=TOKEN),
        json_says(400, json.dumps({"error": TOKEN, "error_description": TOKEN})),
        json_says(200, json.dumps({"active": TOKEN})),
        json_says(200, TOKEN),
        says(401, TOKEN.encode()),
    ],
)
async def test_a_token_that_the_issuer_sends_back_is_in_no_message_log_or_metric(
    provider: LocalIssuer, tmp_path: Path, echo: Answer
) -> None:
    provider.script[INTROSPECTION] = echo
    async with asking(introspecting(provider, tmp_path)) as it:
        for _ in range(6):
            assert TOKEN not in (await it.refusal()).message
        assert TOKEN not in it.log.getvalue()
        assert TOKEN not in it.metrics.expose("")[0].decode()
        assert TOKEN not in repr(vars(it.introspectors))


def pieces(text: str) -> list[str]:
    return [text[at : at + 8].lower() for at in range(len(text) - 7)]


LONG = "Zz9_" + "".join(f"~canary{number}-" for number in range(60))


@pytest.mark.parametrize(
    "echo",
    [
        redirects(f"https://id.example/{LONG}"),
        redirects("https://id.example/" + "".join(f"%{byte:02x}" for byte in LONG.encode())),
        says(200, b"{}", Content_Type=f"text/{LONG}"),
        says(200, b"x", Content_Encoding=LONG),
    ],
)
async def test_a_piece_of_a_token_that_was_cut_or_written_otherwise_is_in_no_message_either(
    provider: LocalIssuer, tmp_path: Path, echo: Answer
) -> None:
    provider.script[INTROSPECTION] = echo
    async with asking(introspecting(provider, tmp_path)) as it:
        said = unquote((await it.refusal(LONG)).message).lower()
    assert [piece for piece in pieces(LONG) if piece in said] == []


@pytest.mark.parametrize(
    "line",
    [
        b"%s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\x01%s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n",
    ],
)
@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
async def test_what_is_no_http_shows_nothing_of_what_was_sent(
    provider: LocalIssuer, tmp_path: Path, line: bytes, way: str
) -> None:
    async def send_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        authorization = head.lower().find(b"authorization: ")
        own = head[authorization:].partition(b"\r")[0] if authorization >= 0 else await reader.readexactly(length)
        writer.write(line % own)
        await writer.drain()
        writer.close()

    provider.client.auth = way
    async with await asyncio.start_server(send_back, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with asking(introspecting(provider, tmp_path, endpoint=endpoint)) as it:
            refused = await it.refusal()
    assert re.search(r" (does not speak HTTP|cannot be reached): [A-Za-z -]+$", refused.message)


async def test_a_signed_answer_that_is_not_taken_is_not_shown_with_the_token(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.client.now = clock.time
    body = provider.sign_answer({"active": True}, iss=TOKEN).encode()
    provider.script[INTROSPECTION] = says(200, body, Content_Type=SIGNED_ANSWER)
    keys = read_key_set(json.dumps(provider.keys).encode())
    async with asking(introspecting(provider, tmp_path, signed_answers=True), clock=clock, keys=GivenKeys(keys)) as it:
        refused = await it.refusal()
    assert "its iss is '[redacted]'" in refused.message


async def test_an_answer_is_kept_without_the_token_that_it_repeats(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = {**ALICE, "jti": TOKEN, "token": f"x{TOKEN}"}
    async with asking(introspecting(provider, tmp_path)) as it:
        assert await it.ask() == {"active": True, **ALICE}
        assert it.held() == {"active": True, **ALICE}


async def test_what_nobody_foresaw_is_a_refusal_that_is_logged_without_the_token(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    class BrokenKeys:
        async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
            raise LookupError(f"{issuer} {kid} {provider.client.secret}")

    provider.client.now = clock.time
    settings = introspecting(provider, tmp_path, signed_answers=True)
    async with asking(settings, clock=clock, keys=BrokenKeys()) as it:
        assert (await it.refusal()).reason is Reason.INTERNAL_ERROR
        assert "introspection_failed_unforeseen" in it.log.getvalue()
        assert TOKEN not in it.log.getvalue()
        assert provider.client.secret not in it.log.getvalue()


# Where it is asked


async def test_the_endpoint_is_found_in_the_metadata_and_remembered(provider: LocalIssuer, tmp_path: Path) -> None:
    async with asking(introspecting(provider, tmp_path)) as it:
        for text in ("one", "two", "three"):
            await it.ask(text)
    assert provider.asked == {OPENID: 1, INTROSPECTION: 3}


async def test_a_configured_endpoint_needs_no_metadata(provider: LocalIssuer, tmp_path: Path) -> None:
    async with asking(introspecting(provider, tmp_path, endpoint=f"{provider.issuer}/introspect")) as it:
        await it.ask()
    assert provider.asked == {INTROSPECTION: 1}


async def test_the_endpoint_is_looked_up_again_when_its_time_is_over(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    async with asking(introspecting(provider, tmp_path, issuer={"keys_ttl_seconds": 60.0}), clock=clock) as it:
        for text in ("one", "two", "three"):
            await it.ask(text)
            clock.advance(40.0)
    assert provider.asked == {OPENID: 2, INTROSPECTION: 3}


@pytest.mark.parametrize("status", [404, 405])
async def test_an_endpoint_that_moved_is_looked_up_for_the_next_token(
    provider: LocalIssuer, tmp_path: Path, status: int
) -> None:
    async with asking(introspecting(provider, tmp_path)) as it:
        await it.ask("one")
        provider.script[INTROSPECTION] = says(status)
        provider.script["/moved"] = provider.introspect
        provider.metadata["introspection_endpoint"] = provider.issuer.replace("/realms/database", "/moved")
        assert (await it.refusal("two")).reason is Reason.IDP_ERROR
        assert (await it.refusal("three")).reason is Reason.TOKEN_INACTIVE
    assert provider.asked == {OPENID: 2, INTROSPECTION: 2, "/moved": 1}


async def test_many_tokens_wait_for_one_reading_of_the_metadata(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.hold()
    async with asking(introspecting(provider, tmp_path)) as it:
        tasks = it.start(*(f"token-{number}" for number in range(8)))
        await provider.wait_asked(OPENID, 1)
        provider.release()
        await asyncio.gather(*tasks)
    assert provider.asked == {OPENID: 1, INTROSPECTION: 8}


async def test_metadata_without_an_endpoint_says_what_to_set(provider: LocalIssuer, tmp_path: Path) -> None:
    del provider.metadata["introspection_endpoint"]
    async with asking(introspecting(provider, tmp_path)) as it:
        refused = await it.refusal()
    assert refused.reason is Reason.IDP_METADATA_INVALID
    assert "set endpoint in [issuers.introspection]" in refused.message


async def test_metadata_that_cannot_be_had_is_why_there_is_no_answer(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script |= {OPENID: says(503), OAUTH: says(503)}
    async with asking(introspecting(provider, tmp_path)) as it:
        assert (await it.refusal()).reason is Reason.IDP_ERROR


@pytest.mark.parametrize("endpoint", ["https://169.254.169.254/introspect", "http://192.0.2.1/introspect"])
async def test_no_token_is_sent_where_it_must_not_go(provider: LocalIssuer, tmp_path: Path, endpoint: str) -> None:
    async with asking(introspecting(provider, tmp_path, endpoint=endpoint)) as it:
        assert (await it.refusal()).reason in (Reason.IDP_UNREACHABLE, Reason.INTROSPECTION_INVALID)


# Signed answers


def keys_of(provider: LocalIssuer) -> GivenKeys:
    return GivenKeys(read_key_set(json.dumps(provider.keys).encode()))


async def test_a_signed_answer_is_asked_for_and_taken(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.tokens[TOKEN], provider.client.now = ALICE, clock.time
    settings = introspecting(provider, tmp_path, signed_answers=True)
    async with asking(settings, clock=clock, keys=keys_of(provider)) as it:
        assert await it.ask() == {"active": True, **ALICE}
        assert (await it.refusal("other")).reason is Reason.TOKEN_INACTIVE
        assert it.held() is not None
    assert provider.headers[-1]["Accept"] == SIGNED_ANSWER


@pytest.mark.parametrize("kind", ["application/json", "application/jwt", ""])
async def test_an_answer_of_another_type_is_not_taken_where_a_signed_one_is_wanted(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock, kind: str
) -> None:
    provider.client.now = clock.time
    signed = provider.sign_answer({"active": True})
    provider.script[INTROSPECTION] = says(200, signed.encode(), Content_Type=kind)
    settings = introspecting(provider, tmp_path, signed_answers=True)
    async with asking(settings, clock=clock, keys=keys_of(provider)) as it:
        assert (await it.refusal()).reason is Reason.INTROSPECTION_INVALID


async def test_an_answer_signed_by_another_is_not_taken(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.client.now, provider.answer_key = clock.time, signing_key("rsa-2")
    settings = introspecting(provider, tmp_path, signed_answers=True)
    async with asking(settings, clock=clock, keys=keys_of(provider)) as it:
        assert (await it.refusal()).reason is Reason.INTROSPECTION_INVALID
        assert it.fetches() == {"invalid": 1}


async def test_keys_that_cannot_be_had_are_why_and_no_fault_of_the_endpoint(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.client.now = clock.time
    no_keys = Refusal(Reason.IDP_TIMEOUT, "no keys")
    settings = introspecting(provider, tmp_path, signed_answers=True)
    async with asking(settings, clock=clock, keys=GivenKeys(no_keys)) as it:
        for _ in range(7):
            assert await it.refusal() == no_keys
        assert (it.breaker_open(), provider.asked[INTROSPECTION]) == (0, 7)


# One more attempt


@pytest.mark.parametrize("hiccup", [resets, hangs_up, says(502), says(503), says(504), says(503, Retry_After="0")])
async def test_a_hiccup_is_tried_again_at_once(provider: LocalIssuer, tmp_path: Path, hiccup: Answer) -> None:
    provider.script[INTROSPECTION] = first(hiccup, then=provider.introspect)
    async with asking(introspecting(provider, tmp_path)) as it:
        assert (await it.refusal()).reason is Reason.TOKEN_INACTIVE
        assert (sum(it.fetches().values()), it.fetches()["success"], it.durations()) == (2, 1, 2)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_wants_a_second_of_peace_gets_it(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock, status: int
) -> None:
    provider.script[INTROSPECTION] = first(says(status, Retry_After="1"), then=provider.introspect)
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        (task,) = it.start(TOKEN)
        assert await clock.asleep() == 1.0
        assert provider.asked[INTROSPECTION] == 1
        clock.advance(1.0)
        answer = await task
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.TOKEN_INACTIVE


@pytest.mark.parametrize(
    "failure",
    [
        *(says(status) for status in (400, 401, 403, 404, 429, 500, 501)),
        says(429, Retry_After="2"),
        says(503, Retry_After="30"),
        json_says(400, '{"error": "invalid_client"}'),
        json_says(200, "{}"),
        babbles,
        cuts_short,
        redirects("https://id.example/login"),
    ],
)
async def test_what_will_be_no_better_is_not_tried_again(
    provider: LocalIssuer, tmp_path: Path, failure: Answer
) -> None:
    provider.script[INTROSPECTION] = failure
    async with asking(introspecting(provider, tmp_path, timeout_seconds=2.0)) as it:
        assert (await it.refusal()).reason is not Reason.IDP_TIMEOUT
    assert provider.asked[INTROSPECTION] == 1


async def test_silence_is_not_tried_again(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script[INTROSPECTION] = provider.hang
    async with asking(introspecting(provider, tmp_path, timeout_seconds=0.1)) as it:
        assert (await it.refusal()).reason is Reason.IDP_TIMEOUT
    assert provider.asked[INTROSPECTION] == 1


@pytest.mark.parametrize("hiccup", [resets, says(503)])
async def test_there_is_no_third_attempt(provider: LocalIssuer, tmp_path: Path, hiccup: Answer) -> None:
    provider.script[INTROSPECTION] = hiccup
    async with asking(introspecting(provider, tmp_path)) as it:
        await it.refusal()
    assert provider.asked[INTROSPECTION] == 2


# What is remembered


async def test_an_answer_is_held_for_its_time(provider: LocalIssuer, tmp_path: Path, clock: SteppedClock) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        assert it.held() is None
        answer = await it.ask()
        clock.advance(9.9)
        assert it.held() is answer
        assert await it.ask() is answer
        assert it.results() == {"miss": 1, "hit": 2}
        clock.advance(0.1)
        assert it.held() is None
    assert provider.asked[INTROSPECTION] == 1


async def test_a_revocation_is_noticed_when_the_time_is_over(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await it.ask()
        del provider.tokens[TOKEN]
        clock.advance(10.0)
        assert (await it.refusal()).reason is Reason.TOKEN_INACTIVE
        assert isinstance(it.held(), Refusal)


async def test_the_time_of_an_answer_begins_when_it_is_asked_for(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await it.ask("other")
        provider.hold()
        (task,) = it.start(TOKEN)
        await provider.wait_asked(INTROSPECTION, 2)
        clock.advance(9.0)
        provider.release()
        await task
        assert it.held() is not None
        clock.advance(1.0)
        assert it.held() is None


async def test_an_answer_is_not_held_past_the_tokens_expiry(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.tokens[TOKEN] = {**ALICE, "exp": int(NOW) + 3}
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await it.ask()
        clock.advance(2.9)
        assert it.held() is not None
        clock.advance(0.1)
        assert it.held() is None


async def test_expiry_is_by_the_wall_clock_and_age_is_not(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.tokens |= {TOKEN: ALICE, "short": {**ALICE, "exp": int(NOW) + 3_000}}
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await it.ask()
        await it.ask("short")
        clock.jump(-86_400.0)
        assert it.held() is not None
        clock.jump(2 * 86_400.0)
        assert it.held() is not None
        assert it.held("short") is None
        clock.advance(10.0)
        clock.jump(-86_400.0)
        assert it.held() is None


async def test_an_inactive_token_is_held_for_a_time_of_its_own(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        refused = await it.refusal()
        clock.advance(4.9)
        assert it.held() == refused
        assert it.results() == {"miss": 1, "negative_hit": 1}
        provider.tokens[TOKEN] = ALICE
        clock.advance(0.1)
        assert it.held() is None
        assert await it.ask() == {"active": True, **ALICE}


@pytest.mark.parametrize("members", [ALICE, None])
async def test_nothing_is_held_for_no_time(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock, members: dict[str, str] | None
) -> None:
    provider.tokens = {} if members is None else {TOKEN: members}
    settings = introspecting(provider, tmp_path, cache_seconds=0.0, negative_cache_seconds=0.0)
    async with asking(settings, clock=clock) as it:
        await it.ask()
        assert it.held() is None


async def test_nothing_is_served_for_longer_because_the_issuer_fails(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await it.ask()
        clock.advance(10.0)
        provider.script[INTROSPECTION] = says(500)
        assert (await it.refusal()).reason is Reason.IDP_ERROR
        assert it.held() is None


async def test_each_token_has_its_own_answer(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path)) as it:
        await it.ask()
        assert it.held("opaque-canary-2") is None
        assert (await it.refusal("opaque-canary-2")).reason is Reason.TOKEN_INACTIVE
        assert it.held() == {"active": True, **ALICE}


# One request for all who wait


async def test_all_who_ask_about_a_token_share_a_request(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = ALICE
    provider.hold()
    async with asking(introspecting(provider, tmp_path)) as it:
        tasks = it.start(*[TOKEN] * 20)
        await provider.wait_asked(OPENID, 1)
        provider.release()
        answers = await asyncio.gather(*tasks)
        assert it.results() == {"miss": 1, "joined": 19}
    assert all(answer is answers[0] for answer in answers)
    assert provider.asked[INTROSPECTION] == 1


async def test_who_goes_away_does_not_take_the_answer_from_others(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = ALICE
    provider.hold()
    async with asking(introspecting(provider, tmp_path)) as it:
        leaver, *others = it.start(*[TOKEN] * 3)
        await provider.wait_asked(OPENID, 1)
        leaver.cancel()
        provider.release()
        assert [await other for other in others] == [{"active": True, **ALICE}] * 2
    assert leaver.cancelled()


async def test_an_answer_that_nobody_waits_for_any_more_is_held(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path)) as it:
        await it.ask("other")
        provider.hold()
        (task,) = it.start(TOKEN)
        await provider.wait_asked(INTROSPECTION, 2)
        task.cancel()
        await settle()
        (again,) = it.start(TOKEN)
        await settle()
        provider.release()
        assert await again == {"active": True, **ALICE}
    assert provider.asked[INTROSPECTION] == 2


async def test_a_request_ends_at_its_deadline_whatever_the_time_goes_by_with(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    provider.script[OPENID] = provider.drip
    async with asking(introspecting(provider, tmp_path, timeout_seconds=0.1)) as it, asyncio.timeout(DEADLINE):
        refused = await it.refusal()
    assert refused == Refusal(Reason.IDP_TIMEOUT, "id gave no answer about a token within 0.2 seconds")


async def test_who_waits_for_a_request_that_is_given_up_at_the_end_is_refused(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    provider.script[INTROSPECTION] = provider.hang
    async with asking(introspecting(provider, tmp_path, max_concurrent=2)) as it, asyncio.timeout(DEADLINE):
        tasks = it.start("one", "two", "waits-for-its-turn")
        await provider.wait_asked(INTROSPECTION, 2)
    given_up = Refusal(Reason.IDP_UNREACHABLE, "asking about the token was given up for a new configuration")
    assert await asyncio.gather(*tasks) == [given_up] * 3


async def test_who_is_cancelled_while_waiting_is_cancelled(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script[INTROSPECTION] = provider.hang
    async with asking(introspecting(provider, tmp_path)) as it, asyncio.timeout(DEADLINE):
        (task,) = it.start("one")
        await provider.wait_asked(INTROSPECTION, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# The queue


async def test_no_more_requests_than_configured_are_under_way(provider: LocalIssuer, tmp_path: Path) -> None:
    async with asking(introspecting(provider, tmp_path, max_concurrent=3)) as it:
        await it.ask("first")
        provider.hold()
        tasks = it.start(*(f"token-{number}" for number in range(12)))
        await provider.wait_asked(INTROSPECTION, 4)
        await settle()
        assert provider.asked[INTROSPECTION] == 4
        provider.release()
        await asyncio.gather(*tasks)
    assert provider.asked[INTROSPECTION] == 13


async def test_who_comes_when_the_queue_is_full_is_refused_at_once(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.hold()
    async with asking(introspecting(provider, tmp_path, max_concurrent=2)) as it:
        tasks = it.start(*(f"token-{number}" for number in range(2 * (1 + QUEUE_FACTOR))))
        await settle()
        assert (await it.refusal("too-many")).reason is Reason.IDP_QUEUE_FULL
        joined = it.start("token-0")
        provider.release()
        answers = await asyncio.gather(*tasks, *joined)
        assert (await it.refusal("too-many")).reason is Reason.TOKEN_INACTIVE
    assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {Reason.TOKEN_INACTIVE}


async def test_a_full_queue_opens_no_breaker(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.hold()
    async with asking(introspecting(provider, tmp_path, max_concurrent=1)) as it:
        tasks = it.start(*(f"token-{number}" for number in range(1 + QUEUE_FACTOR)))
        await settle()
        for number in range(10):
            assert (await it.refusal(f"late-{number}")).reason is Reason.IDP_QUEUE_FULL
        provider.release()
        await asyncio.gather(*tasks)
        assert it.breaker_open() == 0


async def test_who_waits_for_a_turn_waits_no_longer_than_its_deadline(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script[OPENID] = provider.hang
    async with asking(introspecting(provider, tmp_path, max_concurrent=1, timeout_seconds=0.1)) as it:
        answers = await asyncio.gather(*it.start("one", "two", "three"))
    assert [answer.reason for answer in answers if isinstance(answer, Refusal)] == [Reason.IDP_TIMEOUT] * 3


async def test_who_gets_its_turn_too_late_for_an_answer_opens_no_breaker(provider: LocalIssuer, tmp_path: Path) -> None:
    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.7)
        return await json_says(200, '{"active":false}')(request)

    provider.script[INTROSPECTION] = slow
    async with asking(introspecting(provider, tmp_path, max_concurrent=5, timeout_seconds=1.0)) as it:
        answers = await asyncio.gather(*it.start(*(f"token-{number}" for number in range(15))))
        assert it.breaker_open() == 0
    reasons = [answer.reason for answer in answers if isinstance(answer, Refusal)]
    assert Counter(reasons) == {Reason.TOKEN_INACTIVE: 10, Reason.IDP_TIMEOUT: 5}


async def test_a_busy_or_broken_issuer_does_not_touch_another(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with running_issuer() as other:
        other.tokens[TOKEN] = ALICE
        settings = (
            introspecting(provider, tmp_path, max_concurrent=1),
            introspecting(other, tmp_path, max_concurrent=1, issuer={"name": "other"}),
        )
        async with asking(*settings) as it:
            for number in range(5):
                await it.refusal(f"token-{number}")
            assert it.breaker_open() == 1
            assert await it.ask(issuer="other") == {"active": True, **ALICE}


# The breaker


OURS = 1
"""Requests about a token of pgoauthd's own, before the asking stops and when a probe failed."""


async def fail(it: Asking, times: int) -> None:
    for number in range(times):
        refused = await it.refusal(f"failing-{number}")
        assert "asked again" not in refused.message


FAILURES: list[tuple[Misbehaviour, Reason]] = [
    (lambda _: resets, Reason.IDP_UNREACHABLE),
    (lambda p: p.hang, Reason.IDP_TIMEOUT),
    (lambda _: says(500), Reason.IDP_ERROR),
    (lambda _: says(429), Reason.IDP_ERROR),
    (lambda _: says(200), Reason.INTROSPECTION_INVALID),
    (lambda _: says(401), Reason.IDP_CLIENT_REFUSED),
]


async def test_answers_that_cannot_be_used_for_their_own_token_do_not_stop_the_asking_about_others(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    provider.script[INTROSPECTION] = json_says(200, '{"active":true,"name":NaN}')
    async with asking(introspecting(provider, tmp_path)) as it:
        for number in range(6):
            assert (await it.refusal(f"token-{number}")).reason is Reason.INTROSPECTION_INVALID
        assert it.breaker_open() == 0
        assert provider.asked[INTROSPECTION] == 6


@pytest.mark.parametrize(("failure", "reason"), FAILURES)
async def test_five_failures_in_a_row_stop_the_asking(
    provider: LocalIssuer, tmp_path: Path, failure: Misbehaviour, reason: Reason
) -> None:
    provider.script[INTROSPECTION] = failure(provider)
    async with asking(introspecting(provider, tmp_path, timeout_seconds=0.05)) as it:
        await fail(it, 4)
        assert it.breaker_open() == 0
        await fail(it, 1)
        assert it.breaker_open() == 1
        asked = provider.asked[INTROSPECTION]
        refused = await it.refusal("sixth")
        assert refused.reason is reason
        assert refused.message.endswith("; it is asked again in 1 s")
        assert provider.asked[INTROSPECTION] == asked


def blocks(provider: LocalIssuer, failure: Answer) -> Answer:
    """A provider, or what stands before it, that has something against some tokens."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await (failure if "failing" in await request.text() else provider.introspect)(request)

    return answer


@pytest.mark.parametrize("failure", [*(failure for failure, _ in FAILURES), lambda _: says(403), lambda _: says(404)])
async def test_tokens_that_make_the_issuer_fail_do_not_stop_the_asking_about_others(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock, failure: Misbehaviour
) -> None:
    provider.script[INTROSPECTION] = blocks(provider, failure(provider))
    async with asking(introspecting(provider, tmp_path, timeout_seconds=0.1), clock=clock) as it:
        await fail(it, 11)
        assert it.breaker_open() == 0
        assert (await it.refusal("good")).reason is Reason.TOKEN_INACTIVE
        assert it.log.getvalue() == ""


async def test_a_probe_that_fails_for_its_token_alone_lets_everybody_ask_again(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await fail(it, 5)
        clock.advance(1.0)
        provider.script[INTROSPECTION] = blocks(provider, says(500))
        assert (await it.refusal("failing-probe")).reason is Reason.IDP_ERROR
        assert it.breaker_open() == 0


async def test_metadata_that_cannot_be_had_stops_the_asking_too(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script |= {OPENID: says(503), OAUTH: says(503)}
    async with asking(introspecting(provider, tmp_path)) as it:
        await fail(it, 5)
        assert (await it.refusal()).message.endswith("; it is asked again in 1 s")
    assert provider.asked[OPENID] == 5 + OURS


@pytest.mark.parametrize("status", [400, 413, 414, 422, 431])
async def test_a_token_that_the_issuer_does_not_like_stops_nothing(
    provider: LocalIssuer, tmp_path: Path, status: int
) -> None:
    provider.script[INTROSPECTION] = says(status)
    async with asking(introspecting(provider, tmp_path)) as it:
        await fail(it, 7)
        assert it.breaker_open() == 0


@pytest.mark.parametrize("members", [ALICE, None])
async def test_an_answer_of_either_kind_ends_a_row_of_failures(
    provider: LocalIssuer, tmp_path: Path, members: dict[str, str] | None
) -> None:
    provider.tokens = {} if members is None else {"good": members}
    provider.script[INTROSPECTION] = first(*[says(500)] * 4, provider.introspect, then=says(500))
    async with asking(introspecting(provider, tmp_path)) as it:
        await fail(it, 4)
        await it.ask("good")
        await fail(it, 4)
        assert it.breaker_open() == 0


async def test_one_probe_goes_through_when_the_delay_is_over(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await fail(it, 5)
        clock.advance(1.0)
        provider.hold()
        tasks = it.start("probe", "other", "third")
        await provider.wait_asked(INTROSPECTION, 6 + OURS)
        probe, *others = tasks
        for other in others:
            refused = await other
            assert isinstance(refused, Refusal)
            assert refused.message.endswith("; it is being asked again at this moment")
        provider.release()
        await probe
        assert (await it.refusal("again")).message.endswith("; it is asked again in 2 s")
    assert provider.asked[INTROSPECTION] == 6 + 2 * OURS


async def test_a_probe_that_succeeds_lets_everybody_ask_again(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        await fail(it, 5)
        clock.advance(1.0)
        del provider.script[INTROSPECTION]
        assert (await it.refusal("probe")).reason is Reason.TOKEN_INACTIVE
        assert it.breaker_open() == 0
        for text in ("one", "two"):
            assert (await it.refusal(text)).reason is Reason.TOKEN_INACTIVE


async def test_the_log_says_when_the_asking_stops_and_when_it_goes_on_and_nothing_in_between(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path), clock=clock) as it:
        for _ in range(9):
            await it.refusal()
            clock.advance(0.5)
        clock.advance(60.0)
        del provider.script[INTROSPECTION]
        await it.ask()
        lines = [json.loads(line) for line in it.log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["introspection_stopped", "introspection_works_again"]
    assert lines[0]["reason"] == "idp_error"
    assert lines[0]["issuer"] == "id"
    assert lines[0]["remedy"] == Reason.IDP_ERROR.remedy


async def test_who_waits_for_a_turn_is_refused_when_the_asking_stops(
    provider: LocalIssuer, tmp_path: Path, clock: SteppedClock
) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path, max_concurrent=1), clock=clock) as it:
        await fail(it, 4)
        provider.hold()
        tasks = it.start("one", "two", "three")
        await provider.wait_asked(INTROSPECTION, 5)
        provider.release()
        answers = await asyncio.gather(*tasks)
    assert [isinstance(answer, Refusal) and answer.reason for answer in answers] == [Reason.IDP_ERROR] * 3
    assert provider.asked[INTROSPECTION] == 5 + OURS


async def test_what_is_held_is_served_while_nothing_is_asked(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.tokens[TOKEN] = ALICE
    async with asking(introspecting(provider, tmp_path)) as it:
        await it.ask()
        provider.script[INTROSPECTION] = says(500)
        await fail(it, 5)
        assert it.held() == {"active": True, **ALICE}
        assert await it.ask() == {"active": True, **ALICE}


async def test_the_breaker_is_no_longer_shown_as_open_when_nobody_asks_any_more(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path)) as it:
        await fail(it, 5)
        assert it.breaker_open() == 1
    assert it.breaker_open() == 0


async def test_one_that_is_hidden_leaves_the_breaker_to_another(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path)) as it:
        await fail(it, 5)
        it.introspectors.hide()
        assert it.breaker_open() == 0
        it.metrics.issuer_breaker_open.labels(NAME, "introspection").set(1)
    assert it.breaker_open() == 1


async def test_one_that_is_hidden_does_not_show_that_its_breaker_opens(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.script[INTROSPECTION] = says(500)
    async with asking(introspecting(provider, tmp_path)) as it:
        it.introspectors.hide()
        await fail(it, 5)
        assert it.breaker_open() == 0


# Construction


async def test_a_secret_that_cannot_be_read_is_a_configuration_error(provider: LocalIssuer, tmp_path: Path) -> None:
    settings = introspecting(provider, tmp_path, client_secret_file=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"issuers \(id\)\.introspection\.client_secret_file"):
        async with asking(settings):
            pass


async def test_an_issuer_without_introspection_has_no_introspector(provider: LocalIssuer) -> None:
    async with asking(issuer_settings(provider)) as it:
        with pytest.raises(KeyError):
            it.held()
