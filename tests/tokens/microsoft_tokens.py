"""Tokens as Microsoft Entra ID and Active Directory Federation Services make them, as their documentation has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.fix_tokens import DROP
from tests.tokens.profile_tokens import Kind, key_of

TENANT: Final = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
OTHER_TENANT: Final = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CONSUMERS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
API: Final = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
CLIENT: Final = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
GRAPH: Final = "00000003-0000-0000-c000-000000000000"


def entra_v2(tenant: str) -> str:
    return f"https://login.microsoftonline.com/{tenant}/v2.0"


def entra_v1(tenant: str) -> str:
    return f"https://sts.windows.net/{tenant}/"


ENTRA: Final = entra_v2(TENANT)
ENTRA_KEY: Final = key_of("entra")
ENTRA_V1_ENDPOINT_KEY: Final = replace(ENTRA_KEY, kid="without-issuer")
ENTRA_TENANT_KEY: Final = replace(ENTRA_KEY, kid="of-the-tenant")
ENTRA_OTHER_TENANT_KEY: Final = replace(ENTRA_KEY, kid="of-another-tenant")
ENTRA_PERSONAL_KEY: Final = replace(ENTRA_KEY, kid="of-personal-accounts")
ENTRA_ODD_KEY: Final = replace(ENTRA_KEY, kid="with-odd-issuer")
ENTRA_KEYS: Final = (
    ENTRA_KEY.jwk(issuer=entra_v2("{tenantid}"), x5t="signing-1"),
    ENTRA_V1_ENDPOINT_KEY.jwk(),
    ENTRA_TENANT_KEY.jwk(issuer=entra_v2(TENANT)),
    ENTRA_OTHER_TENANT_KEY.jwk(issuer=entra_v2(OTHER_TENANT)),
    ENTRA_PERSONAL_KEY.jwk(issuer=entra_v2(CONSUMERS)),
    ENTRA_ODD_KEY.jwk(issuer=[ENTRA]),
)
_ENTRA_OPAQUE = {"rh": "0.AYEA8PDu-jQrTU2bqovIydakkCsX", "uti": "NfDVRsW1wUuwwPYIqTWzAA"}
ENTRA_V2 = Kind(
    ENTRA_KEY,
    {"typ": "JWT"},
    {
        "aud": API,
        "iss": ENTRA,
        "nbf": lambda now: int(now) - 10,
        "aio": "AXQAi/8IAAAAtAaZLo3ChMif6KOnttRB7eBq4/DccQzjcJGxPYy",
        "azp": CLIENT,
        "azpacr": "0",
        "name": "Alice Liddell",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "alice@contoso.example",
        "scp": "db.read db.write",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": TENANT,
        "ver": "2.0",
        **_ENTRA_OPAQUE,
    },
    seconds=4500,
)
ENTRA_V1 = Kind(
    ENTRA_KEY,
    {"typ": "JWT", "x5t": "signing-1"},
    {
        "aud": f"api://{API}",
        "iss": entra_v1(TENANT),
        "nbf": lambda now: int(now) - 10,
        "acr": "1",
        "aio": "ATQAy/8TAAAAkSVsNw9nrOdGwPDLZQcQHK3M0pXUSMQ7hNCsSlSv",
        "amr": ["pwd"],
        "appid": CLIENT,
        "appidacr": "0",
        "ipaddr": "192.0.2.9",
        "name": "Alice Liddell",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "scp": "db.read db.write",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": TENANT,
        "unique_name": "alice@contoso.example",
        "upn": "alice@contoso.example",
        "ver": "1.0",
        **_ENTRA_OPAQUE,
    },
    seconds=4500,
)
ENTRA_APP = ENTRA_V2.but(
    azpacr="1",
    name=DROP,
    preferred_username=DROP,
    scp=DROP,
    roles=["db.login"],
    oid="d7a1b5c2-0c5e-4a5a-8a2c-6f6c1f0b7c33",
    sub="d7a1b5c2-0c5e-4a5a-8a2c-6f6c1f0b7c33",
)
ENTRA_ID = ENTRA_V2.but(azp=DROP, azpacr=DROP, scp=DROP, aud=CLIENT, nonce="678910")
ENTRA_ID_V1 = ENTRA_V1.but(appid=DROP, appidacr=DROP, scp=DROP, acr=DROP, aud=CLIENT, nonce="678910")
ENTRA_GRAPH = ENTRA_V1.but(aud=GRAPH, app_displayname="psql", idtyp="user", scp="User.Read profile openid email")

ADFS_HOST: Final = "fs.contoso.example"
ADFS: Final = f"https://{ADFS_HOST}/adfs"
ADFS_API: Final = "microsoft:identityserver:5f6a0d4e-1b7e-4a6e-9c57-0f6f4b1f3a10"
_ADFS_KEY = key_of("adfs")
ADFS_ACCESS = Kind(
    _ADFS_KEY,
    {"typ": "JWT", "x5t": "signing-1"},
    {
        "aud": ADFS_API,
        "iss": f"http://{ADFS_HOST}/adfs/services/trust",
        "apptype": "Public",
        "appid": "5f6a0d4e-1b7e-4a6e-9c57-0f6f4b1f3a10",
        "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "auth_time": "2026-05-18T12:05:31.411Z",
        "ver": "1.0",
        "scp": "openid postgres",
        "upn": "alice@contoso.example",
    },
)
ADFS_SERVICE = ADFS_ACCESS.but(apptype="Confidential", scp=DROP, upn=DROP)
ADFS_ID = Kind(
    _ADFS_KEY,
    {"typ": "JWT", "x5t": "signing-1"},
    {
        "aud": "5f6a0d4e-1b7e-4a6e-9c57-0f6f4b1f3a10",
        "iss": ADFS,
        "auth_time": lambda now: int(now) - 20,
        "sub": "Vz7hZgYhGm4kqg0cJ0Sj9a0o6lV8oRkJgX7B2tQ4k2E=",
        "upn": "alice@contoso.example",
        "unique_name": "CONTOSO\\alice",
        "sid": "S-1-5-21-3939830347-2042382173-3019191431-1103",
        "nonce": "f2c1",
    },
)
