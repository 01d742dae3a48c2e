"""Who the bearer is: an identity out of a verified token's claims, so that two people are never one.

It never judges what an identity may do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from pgoauthd.tokens.claimpaths import ABSENT, find_claim, write_path
from pgoauthd.tokens.issuers import ClaimPath, IdentitySource, IssuerPolicy
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, quoted

MAX_IDENTITY_BYTES = 256

REPLACED = "\ufffd"
"""Stands for bytes that were no UTF-8: names that differ may look alike with it."""

_INVISIBLE = frozenset(
    [REPLACED, "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0"]
    + [chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))]
)
"""Printable for Unicode, but without a mark of their own: fillers, blanks and variation selectors."""

_EMAIL: ClaimPath = ("email",)
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
"""A to Z alone: Unicode's case mappings make one of people who are two, as K (U+212A, the Kelvin sign) and k."""


def find_identity(claims: Mapping[str, Any], policy: IssuerPolicy) -> str | Refusal:
    """The identity from the first of the policy's sources whose claims are all there, normalised as the policy says.

    Refused with identity_missing (there is none), identity_unverified (an e-mail address that may be anybody's) or
    identity_invalid: a claim, or the whole, is not a string of 1 to 256 bytes, or has characters that do not show or
    change how text around them shows (controls, bidirectional controls, zero width, other spaces than U+0020), or has
    a space at either end, or a template's claims could be read in another way. PostgreSQL logs identities as they are.
    """
    for source in policy.identities:
        values = [part if isinstance(part, str) else find_claim(claims, part) for part in source.parts]
        if not any(value is ABSENT for value in values):
            identity = _made(source, values)
            if isinstance(identity, Refusal):
                return identity
            return _unverified(source, claims, policy) or _normalised(identity, source, policy)
    expected = ", ".join(quoted(source.text) for source in policy.identities)
    return Refusal(Reason.IDENTITY_MISSING, f"the token has no claim for the identity; expected is one of {expected}")


def _made(source: IdentitySource, values: Sequence[object]) -> str | Refusal:
    texts = []
    for part, value in zip(source.parts, values, strict=True):
        text = part if isinstance(part, str) else _checked(value, f"claim {quoted(write_path(part))}")
        if isinstance(text, Refusal):
            return text
        texts.append(text)
    if len(texts) == 1:
        return texts[0]
    whole = _checked("".join(texts), f"made of {quoted(source.text)}")
    if isinstance(whole, str) and not _reads_one_way(source.parts, whole):
        return Refusal(
            Reason.IDENTITY_INVALID,
            f"the identity made of {quoted(source.text)} could be made of other claims, too; "
            "expected between them is text that no claim has",
        )
    return whole


def _reads_one_way(parts: Sequence[str | ClaimPath], whole: str) -> bool:
    """Whether no other values of the template's claims make the same text: the texts between fit at one place each.

    Otherwise realm "a" with user "b/c" would be realm "a/b" with user "c".
    """
    texts = [""]
    for part in parts:
        if isinstance(part, str):
            texts[-1] += part
        else:
            texts.append("")
    inner = whole[len(texts[0]) : len(whole) - len(texts[-1])]
    return _earliest(inner, texts[1:-1]) == _latest(inner, texts[1:-1])


def _earliest(inner: str, texts: Sequence[str]) -> list[int]:
    places, end = [], 0
    for text in texts:
        places.append(inner.find(text, end + 1))
        end = places[-1] + len(text)
    return places


def _latest(inner: str, texts: Sequence[str]) -> list[int]:
    places, begin = [], len(inner)
    for text in reversed(texts):
        begin = inner.rfind(text, 0, begin - 1)
        places.append(begin)
    return places[::-1]


def _unverified(source: IdentitySource, claims: Mapping[str, Any], policy: IssuerPolicy) -> Refusal | None:
    """Whoever may write any address into a profile must not become its owner (OpenID Connect Core 1.0 section 5.1)."""
    if _EMAIL not in source.parts:
        return None
    verified = find_claim(claims, ("email_verified",))
    if verified is ABSENT and not policy.accept_id_tokens:
        return None  # access tokens of most providers do not tell
    if verified is True or verified == "true":
        return None
    found = "missing" if verified is ABSENT else kind(verified)
    if verified is False or verified == "false":
        found = "false"
    return Refusal(
        Reason.IDENTITY_UNVERIFIED, f"the identity is the claim 'email', and email_verified is {found}; expected true"
    )


def _normalised(identity: str, source: IdentitySource, policy: IssuerPolicy) -> str | Refusal:
    name = _without_domain(identity, policy.identity_strip_domains)
    if name != identity:
        checked = _checked(name, f"of {quoted(source.text)} without its domain")
        if isinstance(checked, Refusal):
            return checked
    return name.translate(_LOWER) if policy.identity_lowercase else name


def _without_domain(identity: str, domains: Sequence[str]) -> str:
    r"""The name without `@domain` behind or `domain\` before it, if a plain name is left; else the whole identity.

    What is left of alice@evil.example@corp.example or CORP\alice@evil.example would be an identity of evil.example.
    """
    compared = identity.translate(_LOWER)
    for domain in domains:
        before, behind = f"{domain}\\".translate(_LOWER), f"@{domain}".translate(_LOWER)
        if compared.endswith(behind):
            name = identity[: -len(behind)]
        elif compared.startswith(before):
            name = identity[len(before) :]
        else:
            continue
        return identity if "@" in name or "\\" in name else name
    return identity


def _checked(value: object, what: str) -> str | Refusal:
    if not isinstance(value, str):
        return _invalid(what, f"is {kind(value)}")
    if not value.isprintable() or not _INVISIBLE.isdisjoint(value):
        return _invalid(what, "has a character that is not printable")
    size = len(value.encode())
    if not 0 < size <= MAX_IDENTITY_BYTES:
        return _invalid(what, f"has {size} bytes")
    if value != value.strip():
        return _invalid(what, "begins or ends with a space")
    return value


def _invalid(what: str, how: str) -> Refusal:
    return Refusal(
        Reason.IDENTITY_INVALID,
        f"the identity {what} {how}; expected a printable string of 1 to {MAX_IDENTITY_BYTES} bytes",
    )
