"""Whether a token was signed with a key of its issuer, and one that may sign for it where keys name issuers.

Microsoft Entra lists the keys of all its tenants together, each with the issuer that it may sign for: personal accounts
have keys of their own, with which no organization's token may have been signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgoauthd.tokens.bearer import UnverifiedToken
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.signature import VerificationKey, check_signature
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import quoted

TENANT = "{tenantid}"
"""Stands in a key's issuer for any tenant."""
_VERSION_1 = "1.0"


def check_signer(token: UnverifiedToken, policy: IssuerPolicy, keys: KeySet) -> Refusal | None:
    """None if a key that may sign for the token's issuer made its signature, else the first reason why not.

    For a token whose algorithm and issuer are those of the policy.
    """
    key = keys.find(token.kid, token.algorithm)
    if isinstance(key, Refusal):
        return key
    return check_signature(key, token.algorithm, token.signing_input, token.signature) or check_key_issuer(
        key, token.claims, policy
    )


def check_key_issuer(key: VerificationKey, claims: Mapping[str, Any], policy: IssuerPolicy) -> Refusal | None:
    """None if the issuer that the key names, with the token's `tid` as its tenant, is the token's; else key_mismatch.

    For a token that has passed `check_issuer`, with the key that its signature was verified with. Asked only where the
    policy has `pinned_key_issuers`.

    - A token of version 2.0: the key's issuer must be its `iss` to the letter.
    - A token of version 1.0 has an `iss` at sts.windows.net, while the keys that sign it are listed with the 2.0 issuer
      of the same tenant. There the key's issuer may be any that the policy accepts in `iss`: it then still names the
      one tenant of the policy, so no other tenant's key and no key of personal accounts passes.
    - A key that names no issuer is bound to none: the key sets of the 1.0 endpoints and of AD FS are like that.
    """
    if not policy.pinned_key_issuers or key.issuer is None:
        return None
    named, tenant, issuer = key.issuer, claims.get("tid"), claims.get("iss")
    if isinstance(tenant, str):
        named = named.replace(TENANT, tenant)
    allowed = (policy.issuer, *policy.token_issuers) if claims.get("ver") == _VERSION_1 else (issuer,)
    if named in allowed:
        return None
    name = "key" if key.kid is None else f"key {quoted(key.kid)}"
    return Refusal(
        Reason.KEY_MISMATCH,
        f"the issuer's {name} signs for {quoted(named)} alone; the token's iss is {quoted(str(issuer))}",
    )
