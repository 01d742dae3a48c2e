"""What a client that gets tokens must be told, by the names of Kong Gateway without `pg_`; judges no single value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

SECRETS = ("oauth_client_secret", "oauth_password")
"""What is never written where it can be seen: our own configuration and command line name files that hold them."""


class GrantType(StrEnum):
    """Values of oauth_grant_type (RFC 6749 sections 4.3 and 4.4)."""

    CLIENT_CREDENTIALS = "client_credentials"
    PASSWORD = "password"  # noqa: S105 - a word of RFC 6749


class AuthMethod(StrEnum):
    """Values of oauth_token_endpoint_auth_method."""

    POST = "client_secret_post"
    BASIC = "client_secret_basic"


def missing(given: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """What a client cannot do without and does not have: key, what is wrong, remedy. Of secrets, whether there is one.

    A public client of the password grant has no secret.
    """
    if not given.get("oauth_client_id"):
        yield "oauth_client_id", "is required", "give the id that the identity provider knows the client by"
    if not given.get("oauth_token_endpoint") and not given.get("oauth_discovery_endpoint"):
        yield "oauth_token_endpoint", "is required", "give it, or oauth_discovery_endpoint"
    if given.get("oauth_grant_type", GrantType.CLIENT_CREDENTIALS) == GrantType.PASSWORD:
        for key, whose in (("oauth_username", "name"), ("oauth_password", "password")):
            if not given.get(key):
                yield key, "is required with the grant type password", f"give the {whose} of the user that logs in"
    elif not given.get("oauth_client_secret"):
        yield "oauth_client_secret", "is required with the grant type client_credentials", "give the client's secret"
