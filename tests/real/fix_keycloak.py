"""A real Keycloak: had from Maven Central, started on a free port, set up through its admin API as by hand."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fix_daemon import free_port

CACHE = Path(__file__).parents[2] / ".real"
"""What is made once for all runs; git ignores it."""
VERSION = "26.7.3"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:tar.gz"
DOWNLOAD_SECONDS = 300
START_SECONDS = 180
ADMINISTRATOR = {"username": "admin", "password": "admin"}
REALM = "postgres-realm"
SCOPE = "postgres"
AUDIENCE = "pg-cluster"
CLIENTS: dict[str, dict[str, str]] = {
    AUDIENCE: {},
    "psql": {},
    "rfc9068": {"access.token.header.type.rfc9068": "true"},
    "lightweight": {"client.use.lightweight.access.token.enabled": "true"},
}
"""By client id: attributes that change its tokens."""
WITHOUT_SCOPE = "elsewhere"
"""A client that nobody gave the client scope, so that its tokens are not for the database."""


class Keycloak:
    """Its endpoints; all calls wait."""

    def __init__(self, url: str, realm: str = REALM) -> None:
        self.url = url
        self.realm = realm
        self.issuer = f"{url}/realms/{realm}"
        self._priorities = itertools.count(200)

    def token(self, client: str, **form: str) -> dict[str, Any]:
        """What the token endpoint gives alice through this client, or with another grant."""
        alice = {"grant_type": "password", "username": "alice", "password": "alice", "scope": f"openid {SCOPE}"}
        return self._form(f"{self.issuer}/protocol/openid-connect/token", client, {**alice, **form})

    def revoke(self, client: str, token: str) -> None:
        """RFC 7009."""
        self._form(f"{self.issuer}/protocol/openid-connect/revoke", client, {"token": token})

    def log_out(self, client: str, refresh_token: str) -> None:
        """The whole session of the user."""
        self._form(f"{self.issuer}/protocol/openid-connect/logout", client, {"refresh_token": refresh_token})

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one stays listed."""
        realm = self._admin("GET", "")["id"]
        key = {"name": "next", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider"}
        self._admin(
            "POST", "/components", {**key, "parentId": realm, "config": {"priority": [str(next(self._priorities))]}}
        )

    def set_up(self) -> None:
        """A realm, alice, a client scope with the database as its audience, and the clients."""
        self.add_realm_with_alice()
        mappers = [audience_mapper(AUDIENCE), audience_mapper("with-key")]
        attributes = {"include.in.token.scope": "true"}
        scope = {"name": SCOPE, "protocol": "openid-connect", "attributes": attributes, "protocolMappers": mappers}
        self._admin("POST", "/client-scopes", scope)
        for name, attributes in CLIENTS.items():
            self.add_client(name, {"secret": secret_of(name), "attributes": attributes})
        self.add_client(WITHOUT_SCOPE, {"secret": secret_of(WITHOUT_SCOPE)}, scoped=False)

    def add_realm_with_alice(self, **attributes: str) -> None:
        self._admin("POST", None, {"realm": self.realm, "enabled": True, "attributes": attributes})
        password = {"type": "password", "value": "alice", "temporary": False}
        names = {"firstName": "Alice", "lastName": "Example", "email": "alice@example.org", "emailVerified": True}
        self._admin("POST", "/users", {"username": "alice", "enabled": True, "credentials": [password], **names})

    def id_of_alice(self) -> str:
        """Her `sub`."""
        return str(self._admin("GET", "/users?username=alice&exact=true")[0]["id"])

    def add_scope(self, name: str, *, in_token: bool = True) -> None:
        """A client scope that says nothing of an audience; Keycloak may grant one and not write it into the token."""
        attributes = {"include.in.token.scope": json.dumps(in_token)}
        self._admin("POST", "/client-scopes", {"name": name, "protocol": "openid-connect", "attributes": attributes})

    def allow_scope(self, client: str, name: str) -> None:
        """The client may ask for it."""
        found = self._admin("GET", f"/clients?clientId={client}")[0]["id"]
        scope = next(one["id"] for one in self._admin("GET", "/client-scopes") if one["name"] == name)
        self._admin("PUT", f"/clients/{found}/optional-client-scopes/{scope}")

    def add_client(self, name: str, settings: Mapping[str, Any], *, scoped: bool = True) -> None:
        grants = {"serviceAccountsEnabled": True, "directAccessGrantsEnabled": True, "standardFlowEnabled": False}
        self._admin("POST", "/clients", {"clientId": name, "publicClient": False, **grants, **settings})
        if scoped:
            client = self._admin("GET", f"/clients?clientId={name}")[0]["id"]
            scope = next(one["id"] for one in self._admin("GET", "/client-scopes") if one["name"] == SCOPE)
            self._admin("PUT", f"/clients/{client}/default-client-scopes/{scope}")

    def add_mapper(self, client: str, mapper: Mapping[str, Any]) -> None:
        """Change the tokens of this client alone."""
        found = self._admin("GET", f"/clients?clientId={client}")[0]["id"]
        self._admin("POST", f"/clients/{found}/protocol-mappers/models", mapper)

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/realms/master", timeout=2) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def _admin(self, method: str, path: str | None, body: object = None) -> Any:  # noqa: ANN401 - JSON
        form = {"grant_type": "password", "client_id": "admin-cli", **ADMINISTRATOR}
        url = f"{self.url}/realms/master/protocol/openid-connect/token"
        token = _call("POST", url, urllib.parse.urlencode(form).encode(), {})["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        target = f"{self.url}/admin/realms" + ("" if path is None else f"/{self.realm}{path}")
        return _call(method, target, None if body is None else json.dumps(body).encode(), headers)

    def _form(self, url: str, client: str, form: Mapping[str, str]) -> dict[str, Any]:
        whole = {"client_id": client, "client_secret": secret_of(client), **form}
        answer = _call("POST", url, urllib.parse.urlencode(whole).encode(), {})
        return answer if isinstance(answer, dict) else {}


def secret_of(client: str) -> str:
    return f"secret of {client}: +%&/"


def audience_mapper(client: str) -> dict[str, Any]:
    config = {"included.custom.audience": client, "access.token.claim": "true", "introspection.token.claim": "true"}
    kind = {"protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper"}
    return {"name": f"audience {client}", **kind, "config": config}


def _call(method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            said = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from None
    return json.loads(said) if said else None


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Keycloak]:
    """A Keycloak that is set up; it is gone afterwards, with all that it knew. Its log is in `directory`."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        with _alone():
            keycloak = stack.enter_context(_started(_install(), directory / "keycloak.log", port))
        keycloak.set_up()
        yield keycloak


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """The distribution is shared, and its first start builds it."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "keycloak.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _started(home: Path, log_path: Path, port: int) -> Iterator[Keycloak]:
    environment = {f"KC_BOOTSTRAP_ADMIN_{name.upper()}": value for name, value in ADMINISTRATOR.items()}
    # It runs for minutes: what a compiler makes of it in an hour costs more than it brings.
    environment["JAVA_OPTS_APPEND"] = "-XX:TieredStopAtLevel=1"
    words = ["start-dev", "--db=dev-mem", "--http-host", "127.0.0.1", "--http-port", str(port)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(home / "bin/kc.sh"), *words],
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        keycloak = Keycloak(f"http://127.0.0.1:{port}")
        until = time.monotonic() + START_SECONDS
        while not keycloak.is_up():
            assert process.poll() is None, log_path.read_text(encoding="utf-8")
            assert time.monotonic() < until, "Keycloak did not start"
            time.sleep(0.5)  # another process has no events for us
        yield keycloak
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _install() -> Path:
    """Unpack the distribution, once; the test is skipped, loudly, where it cannot be had."""
    home = CACHE / f"keycloak-{VERSION}"
    lacking = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"NOT TESTED with a real Keycloak: {' and '.join(lacking)} (Java 17 or later, Maven) not found")
    if home.is_dir():
        return home
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        directory = Path(name)
        fetch = ["mvn", "-q", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={directory}"]
        try:
            subprocess.run(fetch, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=True, cwd=directory)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"NOT TESTED with a real Keycloak: Maven could not fetch {ARTIFACT}: {error.stdout[-300:]}")
        except subprocess.TimeoutExpired:
            pytest.skip(f"NOT TESTED with a real Keycloak: no {ARTIFACT} from Maven within {DOWNLOAD_SECONDS} seconds")
        (archive,) = directory.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(directory, filter="tar")
        (directory / home.name).rename(home)
    return home
