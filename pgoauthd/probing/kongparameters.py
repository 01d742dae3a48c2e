"""Kong's settings turned into what a probe needs, for its primary and its replica; never reads a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pgoauthd.config.oauthclient import SECRETS, AuthMethod, GrantType, missing
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.probing.kongconf import is_reference, look_up
from pgoauthd.probing.parameters import SYSTEM, OAuth, Parameters, Server, Tls, TlsVersion
from pgoauthd.runtime.idp.credentials import Secret

T = TypeVar("T", bound=str)

_DEFAULTS = {"host": "127.0.0.1", "port": "5432", "database": "kong", "user": "kong", "timeout": "5000"}
"""Kong's own, for what is not set."""
_PREFIXES = {Server.PRIMARY: ("pg_",), Server.REPLICA: ("pg_ro_", "pg_")}
"""What is not said of the replica is as for the primary."""
_ON = ("on", "true")
_CLIENT = (
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_token_endpoint",
    "oauth_discovery_endpoint",
    "oauth_grant_type",
    "oauth_username",
    "oauth_password",
)
MAX_PORT = 65_535


def has_replica(settings: Mapping[str, str]) -> bool:
    """Whether Kong reads from another server than it writes to."""
    return "pg_ro_host" in settings


def read_parameters(
    settings: Mapping[str, str], environment: Mapping[str, str], servers: tuple[Server, ...], source: str
) -> tuple[Parameters, ...]:
    """What Kong does with these settings, for each server; ConfigError with all that is wrong.

    `environment` is where references to Kong's vault `env` lead.
    """
    problems: list[Problem] = []
    found = [_Reader(settings, environment, server, problems).parameters() for server in servers]
    if problems:
        raise ConfigError(source, tuple(dict.fromkeys(problems)))
    return tuple(found)


class _Reader:
    """Reads the settings of one server; what is wrong goes to `problems`, and something harmless is in its place."""

    def __init__(
        self, settings: Mapping[str, str], environment: Mapping[str, str], server: Server, problems: list[Problem]
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._server = server
        self._problems = problems

    def parameters(self) -> Parameters:
        if self._settings.get("database", "postgres") != "postgres":
            self._complain("database", "is not postgres: this Kong has no PostgreSQL", "probe one that has")
        if self._text("oauth_auth") not in _ON:
            remedy = "set it to on, as for Kong itself, or give the options --oauth-… here"
            self._complain(self._key("oauth_auth"), "is not on: Kong does not log in with OAuth", remedy)
        for key, what, remedy in missing({key: self._text(key) for key in _CLIENT}):
            self._complain(self._key(key), what, remedy)
        trusted = self._trusted()
        return Parameters(
            name=self._server,
            server=self._server,
            host=self._text("host") or "",
            port=self._number("port", MAX_PORT),
            database=self._text("database") or "",
            user=self._text("user") or "",
            tls=self._tls(trusted),
            oauth=self._oauth(),
            idp_trusted=trusted,
            allow_loopback_http=True,
            step_seconds=self._number("timeout", 3_600_000) / 1000,
        )

    def _oauth(self) -> OAuth:
        client_secret, password = (self._secret(key) for key in SECRETS)
        return OAuth(
            client_id=self._text("oauth_client_id") or "",
            client_secret=client_secret,
            token_endpoint=self._text("oauth_token_endpoint"),
            discovery_endpoint=self._text("oauth_discovery_endpoint"),
            scope=self._text("oauth_scope"),
            audience=self._text("oauth_audience"),
            grant_type=GrantType(self._word("oauth_grant_type", tuple(GrantType), GrantType.CLIENT_CREDENTIALS)),
            auth_method=AuthMethod(
                self._word("oauth_token_endpoint_auth_method", tuple(AuthMethod), AuthMethod.POST),
            ),
            username=self._text("oauth_username"),
            password=password,
            resource=self._text("oauth_resource"),
        )

    def _tls(self, trusted: tuple[str, ...]) -> Tls:
        """Kong requires TLS where it uses OAuth, whatever pg_ssl says."""
        return Tls(
            verify=self._text("ssl_verify") in _ON,
            trusted=trusted,
            version=TlsVersion(self._word("ssl_version", tuple(TlsVersion), TlsVersion.ANY)),
            certificate=self._text("ssl_cert"),
            key=self._text("ssl_cert_key"),
        )

    def _trusted(self) -> tuple[str, ...]:
        listed = self._settings.get("lua_ssl_trusted_certificate", SYSTEM)
        return tuple(item.strip() for item in listed.split(",") if item.strip())

    def _key(self, name: str) -> str:
        """The setting that says it, or would."""
        keys = [prefix + name for prefix in _PREFIXES[self._server]]
        return next((key for key in keys if key in self._settings), keys[-1])

    def _text(self, name: str) -> str | None:
        key = self._key(name)
        value = self._settings.get(key, _DEFAULTS.get(name))
        if value is None or not is_reference(value):
            return value
        value = look_up(value, self._environment, self._settings.get("vault_env_prefix", ""))
        if value is None:
            what = "stands in a vault that cannot be looked into from here, or is not there"
            option = f"--{name.replace('_', '-')}{'-file' if name in SECRETS else ''}"
            self._complain(key, what, f"give it by the option {option}, or in the environment as KONG_{key.upper()}")
            return "in a vault"
        return value

    def _secret(self, name: str) -> Secret | None:
        value = self._text(name)
        return None if value is None else Secret(value)

    def _word(self, name: str, allowed: tuple[T, ...], default: T) -> T:
        value = self._text(name)
        if value is None:
            return default
        for word in allowed:
            if value == word:
                return word
        self._complain(self._key(name), f"is {value!r}", f"use one of {', '.join(allowed)}")
        return default

    def _number(self, name: str, highest: int) -> int:
        value = self._text(name) or ""
        if value.isascii() and value.isdigit() and 0 < int(value) <= highest:
            return int(value)
        self._complain(self._key(name), f"is {value!r}", f"give a number from 1 to {highest}")
        return 1

    def _complain(self, where: str, what: str, remedy: str) -> None:
        self._problems.append(Problem(where, what, remedy))
