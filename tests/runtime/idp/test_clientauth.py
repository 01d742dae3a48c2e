from __future__ import annotations

import base64
import io
import json
import pickle
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.errors import ConfigError
from pgoauthd.runtime.idp.clientauth import ASSERTION_TYPE, Credentials, client_auth
from pgoauthd.runtime.idp.credentials import MAX_BYTES, Secret
from tests.fix_log import logging_to
from tests.fix_tokens import SigningKey, signing_key

ISSUER = "https://id.example/realms/database"
ENDPOINT = f"{ISSUER}/introspect"
NOW = 1_795_310_000.7


def credentials(*, profile: str = "generic", log: io.StringIO | None = None, **settings: Any) -> Credentials:  # noqa: ANN401
    """For a request to ENDPOINT at NOW."""
    issuer = Issuer(issuer=ISSUER, name="id", audiences=("a",), profile=profile)
    introspection = Introspection(**({"client_id": "pgoauthd"} | settings))
    with logging_to(log or io.StringIO()) as logger:
        return client_auth(issuer, introspection, logger).credentials(ENDPOINT, NOW)


def secret_file(directory: Path, content: str | bytes = "s3cret", mode: int = 0o600) -> str:
    path = directory / "secret"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


def key_file(directory: Path, key: SigningKey, password: bytes | None = None) -> str:
    path = directory / "key.pem"
    encryption = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    path.write_bytes(
        key.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    path.chmod(0o600)
    return str(path)


def test_basic_sends_id_and_secret_in_the_header_alone(tmp_path: Path) -> None:
    made = credentials(client_secret_file=secret_file(tmp_path))
    assert made.headers == {"Authorization": "Basic " + base64.b64encode(b"pgoauthd:s3cret").decode()}
    assert made.form == {}


def test_basic_encodes_id_and_secret_as_forms_do_before_it_joins_them(tmp_path: Path) -> None:
    made = credentials(client_id="https://pg:1", client_secret_file=secret_file(tmp_path, "a+b /:%ü"))
    scheme, _, encoded = made.headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded) == b"https%3A%2F%2Fpg%3A1:a%2Bb+%2F%3A%25%C3%BC"


def test_post_sends_id_and_secret_in_the_form_alone(tmp_path: Path) -> None:
    made = credentials(client_auth="client_secret_post", client_secret_file=secret_file(tmp_path, "a+b /:%ü"))
    assert made.form == {"client_id": "pgoauthd", "client_secret": "a+b /:%ü"}
    assert made.headers == {}


def test_a_certificate_in_tls_needs_the_id_in_the_form() -> None:
    made = credentials(client_auth="tls_client_auth")
    assert (made.form, made.headers) == ({"client_id": "pgoauthd"}, {})


def assertion(directory: Path, key: SigningKey, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Header and payload of an assertion, verified with the public key."""
    made = credentials(
        client_auth="private_key_jwt",
        private_key_file=key_file(directory, key),
        private_key_algorithm=key.algorithm,
        **settings,
    )
    assert made.headers == {}
    assert made.form.keys() == {"client_id", "client_assertion_type", "client_assertion"}
    assert made.form["client_assertion_type"] == ASSERTION_TYPE
    return jwt.decode_complete(
        made.form["client_assertion"],
        key.private.public_key(),
        [key.algorithm],
        options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
    )


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
def test_an_assertion_is_signed_as_configured(tmp_path: Path, algorithm: str) -> None:
    read = assertion(tmp_path, signing_key(f"client-{algorithm}", algorithm))
    assert read["header"] == {"alg": algorithm, "typ": "JWT"}


def test_an_assertion_is_from_and_about_the_client_for_the_issuer_alone_and_for_a_minute(tmp_path: Path) -> None:
    claims = assertion(tmp_path, signing_key("rsa-1"))["payload"]
    assert len(claims.pop("jti")) >= 20
    assert claims == {
        "iss": "pgoauthd",
        "sub": "pgoauthd",
        "aud": ISSUER,
        "iat": 1_795_310_000,
        "exp": 1_795_310_060,
    }


def test_an_assertion_names_the_configured_key(tmp_path: Path) -> None:
    assert assertion(tmp_path, signing_key("rsa-1"), private_key_id="k7")["header"]["kid"] == "k7"


def test_an_assertion_for_okta_is_for_the_endpoint(tmp_path: Path) -> None:
    assert assertion(tmp_path, signing_key("rsa-1"), profile="okta")["payload"]["aud"] == ENDPOINT


def test_no_assertion_is_used_twice(tmp_path: Path) -> None:
    issuer = Issuer(issuer=ISSUER, audiences=("a",))
    path = key_file(tmp_path, signing_key("rsa-1"))
    introspection = Introspection(client_id="pgoauthd", client_auth="private_key_jwt", private_key_file=path)
    with logging_to(io.StringIO()) as log:
        auth = client_auth(issuer, introspection, log)
    made = [auth.credentials(ENDPOINT, NOW).form["client_assertion"] for _ in range(10)]
    used = {jwt.decode(one, options={"verify_signature": False})["jti"] for one in made}
    assert len(used) == 10


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_line_break_at_the_end_is_no_part_of_the_secret(tmp_path: Path, ending: str) -> None:
    made = credentials(client_auth="client_secret_post", client_secret_file=secret_file(tmp_path, f" s3cret {ending}"))
    assert made.form["client_secret"] == " s3cret "


def test_the_credentials_directory_of_systemd_may_begin_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret_file(tmp_path)
    made = credentials(client_auth="client_secret_post", client_secret_file="${CREDENTIALS_DIRECTORY}/secret")
    assert made.form["client_secret"] == "s3cret"


def refused(**settings: Any) -> str:  # noqa: ANN401
    with pytest.raises(ConfigError) as caught:
        credentials(**settings)
    (problem,) = caught.value.problems
    assert problem.remedy
    assert "canary" not in str(caught.value)
    return str(problem)


def test_a_credential_of_systemd_without_systemd_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    said = refused(client_secret_file="${CREDENTIALS_DIRECTORY}/secret")
    assert "issuers (id).introspection.client_secret_file" in said
    assert "LoadCredential=" in said


def test_no_other_variable_is_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    secret_file(tmp_path)
    assert "No such file" in refused(client_secret_file="${HOME}/secret")


def test_a_missing_secret_file_is_a_configuration_error(tmp_path: Path) -> None:
    said = refused(client_secret_file=str(tmp_path / "none"))
    assert said.startswith("issuers (id).introspection.client_secret_file: ")
    assert "none cannot be read: No such file or directory" in said


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    assert "is not a file" in refused(client_secret_file=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"canary\nsecond line\n", "more than one line"),
        (b"canary\x00", "control characters"),
        (b"canary\xff", "is not text"),
        (b"canary" * MAX_BYTES, "is larger than"),
    ],
)
def test_what_is_no_secret_is_a_configuration_error_that_does_not_show_it(
    tmp_path: Path, content: bytes, what: str
) -> None:
    assert what in refused(client_secret_file=secret_file(tmp_path, content))


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_what_a_way_needs_must_be_configured(way: str) -> None:
    assert "is required for" in refused(client_auth=way)


def test_an_unknown_way_is_a_configuration_error() -> None:
    assert "client_auth" in refused(client_auth="none")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("EdDSA", "RS256"), ("RS256", "ES256"), ("ES256", "EdDSA"), ("ES384", "ES256"), ("RS256", "HS256")],
)
def test_a_key_of_another_kind_is_a_configuration_error(tmp_path: Path, key: str, algorithm: str) -> None:
    path = key_file(tmp_path, signing_key(f"client-{key}", key))
    said = refused(client_auth="private_key_jwt", private_key_file=path, private_key_algorithm=algorithm)
    assert f"is no private key for {algorithm}" in said


def test_a_public_key_is_no_private_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    public = signing_key("rsa-1").private.public_key()
    path.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    assert "is no private key" in refused(client_auth="private_key_jwt", private_key_file=str(path))


@pytest.mark.parametrize("content", [b"", b"canary", b"-----BEGIN PRIVATE KEY-----\ncanary\n", b"\xff\x00"])
def test_what_is_no_key_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    path = secret_file(tmp_path, content)
    assert "is no private key" in refused(client_auth="private_key_jwt", private_key_file=path)


def test_a_key_with_a_password_is_a_configuration_error(tmp_path: Path) -> None:
    path = key_file(tmp_path, signing_key("rsa-1"), password=b"canary")
    assert "without a password" in refused(client_auth="private_key_jwt", private_key_file=path)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_secret_that_everybody_may_read_is_used_and_complained_about(tmp_path: Path, mode: int) -> None:
    said = io.StringIO()
    path = secret_file(tmp_path, "canary", mode)
    credentials(client_secret_file=path, log=said)
    (line,) = said.getvalue().splitlines()
    assert json.loads(line)["event"] == "secret_open_to_everybody"
    assert path in line
    assert "canary" not in line


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o660])
def test_a_secret_of_its_owner_and_group_is_nothing_to_talk_about(tmp_path: Path, mode: int) -> None:
    said = io.StringIO()
    credentials(client_secret_file=secret_file(tmp_path, mode=mode), log=said)
    assert said.getvalue() == ""
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == mode


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
def test_nothing_shows_a_secret_by_mistake(tmp_path: Path, way: str) -> None:
    issuer = Issuer(issuer=ISSUER, audiences=("a",))
    introspection = Introspection(client_id="i", client_auth=way, client_secret_file=secret_file(tmp_path, "canary"))
    with logging_to(io.StringIO()) as log:
        auth = client_auth(issuer, introspection, log)
    made = auth.credentials(ENDPOINT, NOW)
    for shown in (repr(auth), repr(vars(auth)), repr(made), f"{made}", repr(Secret("canary")), f"{Secret('canary')}"):
        assert "canary" not in shown
        assert base64.b64encode(b"i:canary").decode() not in shown


def test_a_secret_is_not_written_down() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("canary"))
