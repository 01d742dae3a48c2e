"""The wire code of the module: its checks and fuzz target under sanitizers, the daemon's own words, Python's JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgoauthd import __version__
from pgoauthd.demo.shimbuild import find_sources
from pgoauthd.runtime.wire import ValidateRequest, read_validate, status_of, write_reply
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Verdict
from tests.shim.wirelibrary import STRINGS, Reply, build_request, read_body

REPLY = {"authorized": True, "authn_id": "alice", "reason": "ok", "message": "The login succeeded.", "remedy": ""}

KNOWN = frozenset({"authorized", "authn_id", "reason", "stage", "fault", "message", "remedy"})

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of shim/, so that nothing is built in the checkout."""
    return Path(shutil.copytree(find_sources(), tmp_path_factory.mktemp("shim") / "shim"))


def make(directory: Path, *words: str) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # a make may run us
    result = subprocess.run(
        ["make", "--no-print-directory", "-C", directory, *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=ours,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wire_code_passes_its_checks_under_sanitizers(sources: Path) -> None:
    last_line = make(sources, "check").splitlines()[-1]

    match = re.fullmatch(r"(\d+) passed, 0 failed", last_line)
    assert match is not None
    assert int(match[1]) > 100


@pytest.mark.parametrize("seed", [1, 20_250_220])
def test_no_mutated_answer_breaks_the_wire_code(sources: Path, seed: int) -> None:
    assert "20000 rounds" in make(sources, "fuzz", "FUZZ_ROUNDS=20000", f"FUZZ_SEED={seed}")


def test_the_modules_version_is_the_packages() -> None:
    assert f'#define PGOAUTHD_VERSION "{__version__}"\n' in (find_sources() / "wire.h").read_text(encoding="utf-8")


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional={name: st.binary().map(lambda b: b.replace(b"\0", b"")) for name in STRINGS}))
def test_a_request_is_json_whatever_bytes_it_is_made_of(members: dict[str, bytes]) -> None:
    head, _, body = build_request(members).partition(b"\r\n\r\n")

    parsed = json.loads(body.decode("utf-8"))
    assert f"Content-Length: {len(body)}".encode() in head
    assert {name for name in STRINGS if parsed[name] is not None} == set(members)


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(STRINGS, texts)), st.integers(0, 65_535), st.booleans())
def test_a_request_says_text_as_it_is(members: dict[str, str], port: int, delegate: bool) -> None:
    values: dict[str, Any] = {name: value.encode() for name, value in members.items()}
    request = build_request(values | {"client_port": port, "delegate": delegate, "pid": 7, "hba_line": 12})

    parsed = json.loads(request.partition(b"\r\n\r\n")[2])
    assert parsed == members | {
        "client_port": port or None,
        "delegate": delegate,
        "pid": 7,
        "hba_line": 12,
        "server_version": 0,
    }


@settings(deadline=None)
@given(st.dictionaries(texts.filter(lambda name: name not in KNOWN), json_values, max_size=4), texts, st.booleans())
def test_an_answer_is_read_as_python_wrote_it(extra: dict[str, Any], message: str, ascii_only: bool) -> None:
    body = json.dumps(extra | REPLY | {"message": message}, ensure_ascii=ascii_only).encode()

    reply = read_body(body)

    assert isinstance(reply, Reply)
    assert reply.message == harmless(message)
    assert (reply.authorized, reply.authn_id, reply.reason) == (True, "alice", "ok")


def harmless(text: str) -> str:
    """Cut at 1000 bytes between characters, controls replaced."""
    shown = "".join("?" if is_control(ord(character)) else character for character in text)
    return shown.encode()[:1000].decode(errors="ignore")


def is_control(code: int) -> bool:
    bidirectional = {0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}
    return code < 0x20 or 0x7F <= code < 0xA0 or code in bidirectional


@settings(deadline=None, max_examples=500)
@given(st.data())
def test_what_is_no_json_for_python_is_no_answer(data: st.DataObject) -> None:
    body = bytearray(json.dumps({"new": [1.5, {"a": "\u20ac\n"}, None]} | REPLY, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    reply = read_body(bytes(body))

    if isinstance(reply, Reply):
        parsed = json.loads(bytes(body).decode("utf-8"))
        assert reply.authorized is parsed["authorized"]
        assert (reply.authn_id or "") == (parsed.get("authn_id") or "")
        assert reply.reason == parsed["reason"]


@pytest.mark.parametrize("reason", Reason)
def test_the_module_reads_what_the_daemon_writes(reason: Reason) -> None:
    verdict = Verdict(authorized=reason is Reason.OK, reason=reason, message="é" * 5_000, authn_id="alice@example.org")

    assert read_body(write_reply(verdict), status_of(reason)) == Reply(
        authorized=reason is Reason.OK,
        authn_id="alice@example.org",
        reason=reason.value,
        message="é" * 500,
        remedy=reason.remedy,
    )


def test_the_daemon_reads_what_the_module_writes() -> None:
    members = {name: f"{name} é".encode() for name in STRINGS} | {"session_id": b"68a1b2c3.1f4"}
    request = build_request(members | {"client_port": 40_123, "pid": 500, "hba_line": 12, "server_version": 180_006})

    asked = read_validate(request.partition(b"\r\n\r\n")[2])

    assert isinstance(asked, ValidateRequest)
    assert asked.token == "token é"
    assert msgspec.structs.asdict(asked) == {name: value.decode() for name, value in members.items()} | {
        "client_port": 40_123,
        "pid": 500,
        "hba_line": 12,
        "delegate": False,
        "server_version": 180_006,
    }


@pytest.mark.parametrize("status", [201, 204, 302, 400, 403, 500, 503])
def test_only_status_200_may_authorize(status: int) -> None:
    body = json.dumps(REPLY).encode()

    assert isinstance(read_body(body), Reply)
    assert read_body(body, status) == "it is an error that authorizes"
