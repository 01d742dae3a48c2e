"""docs/callout.md and docs/callout.openapi.yaml agree with each other, with the daemon and with the module."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from pgoauthd.runtime.wire import HEALTHY, INACTIVE, Reply, ValidateRequest, write_introspection, write_reply
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims, Verdict
from tests.shim.wirelibrary import STRINGS, build_request

DOCS = Path(__file__).parents[2] / "docs"

OPENAPI: dict[str, Any] = yaml.safe_load((DOCS / "callout.openapi.yaml").read_text(encoding="utf-8"))
PAGE = (DOCS / "callout.md").read_text(encoding="utf-8")

SCHEMA_OF_BLOCK = {
    "request": "ValidateRequest",
    "verdict": "Verdict",
    "introspection": "Introspection",
    "health": "Health",
}

BLOCKS: list[tuple[str, str]] = re.findall(r"^```json (\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def check(schema: str, value: object) -> None:
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": OPENAPI["components"]})
    validator.validate(value)


def examples(node: object) -> Iterator[tuple[str, object]]:
    """Every example of the description, with the name of its schema."""
    if isinstance(node, list):
        for item in node:
            yield from examples(item)
    if not isinstance(node, dict):
        return
    name = str(node.get("schema", {}).get("$ref", "")).rpartition("/")[2]
    for example in node.get("examples", {}).values() if isinstance(node.get("examples"), dict) else ():
        yield name, example["value"]
    if "example" in node:
        yield name, node["example"]
    for value in node.values():
        yield from examples(value)


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def test_every_schema_is_a_json_schema() -> None:
    for schema in OPENAPI["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(OPENAPI))

    assert found
    for reference in found:
        node: Any = OPENAPI
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]


def test_every_example_fits_its_schema() -> None:
    found = list(examples(OPENAPI["paths"]))

    assert {name for name, _ in found} == {"Verdict", "Introspection", "Health"}
    for name, value in found:
        check(name, value)
    for value in OPENAPI["components"]["schemas"]["ValidateRequest"]["examples"]:
        check("ValidateRequest", value)


def test_every_example_of_the_page_fits_its_schema() -> None:
    assert {kind for kind, _ in BLOCKS} == set(SCHEMA_OF_BLOCK)
    for kind, text in BLOCKS:
        check(SCHEMA_OF_BLOCK[kind], json.loads(text))


@pytest.mark.parametrize("kind", [ValidateRequest, Reply])
def test_the_documents_have_the_members_that_the_daemon_has(kind: type[msgspec.Struct]) -> None:
    schema = OPENAPI["components"]["schemas"]["ValidateRequest" if kind is ValidateRequest else "Verdict"]
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}

    assert set(schema["properties"]) == fields
    assert set(schema["required"]) == required
    assert all(f"`{name}`" in PAGE for name in fields)


def test_what_the_module_asks_fits_its_schema() -> None:
    members = dict.fromkeys(STRINGS, b"x") | {"session_id": b"68a1b2c3.1f4"}
    for values in (members, members | {"client_port": 1, "delegate": True}, members | {"usermap": None}):
        check("ValidateRequest", json.loads(build_request(values).partition(b"\r\n\r\n")[2]))


@pytest.mark.parametrize("reason", Reason)
def test_what_the_daemon_answers_fits_its_schema(reason: Reason) -> None:
    authorized = reason is Reason.OK
    verdict = Verdict(authorized=authorized, reason=reason, message="m", authn_id="alice" if authorized else None)

    check("Verdict" if authorized else "Refusal", json.loads(write_reply(verdict)))


def test_an_error_that_authorizes_fits_no_schema() -> None:
    verdict = Verdict(authorized=True, reason=Reason.OK, message="m", authn_id="alice")

    with pytest.raises(ValidationError):
        check("Refusal", json.loads(write_reply(verdict)))


def test_what_introspection_answers_fits_its_schema() -> None:
    claims = KeptClaims(
        iss="https://i", sub="s", aud=("a",), client_id="c", scope=("x", "y"), jti="j", iat=1.5, exp=2.5
    )
    verdict = Verdict(authorized=True, reason=Reason.OK, message="m", authn_id="alice", claims=claims)
    answer = json.loads(write_introspection(verdict))

    check("Introspection", answer)
    assert set(answer) == set(OPENAPI["components"]["schemas"]["Introspection"]["properties"])
    check("Introspection", json.loads(INACTIVE))


def test_an_inactive_answer_says_nothing_else() -> None:
    with pytest.raises(ValidationError):
        check("Introspection", {"active": False, "sub": "s"})


def test_health_fits_its_schema() -> None:
    check("Health", json.loads(HEALTHY))
