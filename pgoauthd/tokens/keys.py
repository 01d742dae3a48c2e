"""An issuer's key set (RFC 7517) read into keys that may verify signatures; never fetches, and trusts no key in doubt.

A key that cannot be used is skipped and named in `KeySet.skipped`: identity providers list encryption keys beside their
signing keys, and one bad key must not take the good ones down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pgoauthd.tokens.compact import decode_base64url, is_kid
from pgoauthd.tokens.keystrength import rsa_weakness
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.signature import ASYMMETRIC, SignatureAlgorithm, VerificationKey
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import SHOWN_VALUES, quoted

MAX_KEYS = 100
MAX_MEMBER_CHARACTERS = 2048
"""Of one number of a key; a modulus of 8192 bits needs 1366."""

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_SYMMETRIC = "oct"
_TWICE = "another key of the set has the same kid"


class SkippedKey(msgspec.Struct, frozen=True):
    """One key of the set that is not used, and why."""

    kid: str | None
    why: str


class KeySet:
    """The keys of one issuer at one time. Immutable."""

    __slots__ = ("_by_kid", "_keys", "_unusable", "skipped")

    def __init__(self, keys: Sequence[VerificationKey], skipped: Sequence[SkippedKey] = ()) -> None:
        self._keys = tuple(keys)
        self._by_kid = {key.kid: key for key in keys if key.kid is not None}
        self._unusable = {key.kid: key.why for key in skipped if key.kid is not None}
        self.skipped = tuple(key.why for key in skipped)
        """Why keys of the set are not used, one text a key, without their kids."""

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> tuple[VerificationKey, ...]:
        """The usable keys, as the issuer lists them."""
        return self._keys

    def says_the_same(self, other: KeySet) -> bool:
        """Whether both sets judge every token alike, in whatever order they list their keys."""
        alike = len(self) == len(other) and self._unusable == other._unusable
        return alike and all(key in other.keys for key in self.keys) and all(key in self.keys for key in other.keys)

    @property
    def kids(self) -> tuple[str, ...]:
        """The key ids of the usable keys."""
        return tuple(self._by_kid)

    def knows(self, kid: str | None) -> bool:
        """Whether the set says something about this kid, so that fetching it anew is no remedy for the token.

        A kid that is listed but unusable is known. So is None: a token without a kid fits the keys that there are.
        """
        return kid is None or kid in self._by_kid or kid in self._unusable

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | Refusal:
        """The one key that a token with this header can have been signed with.

        Refused with key_unknown (no key has the kid), key_mismatch (its key is not for the algorithm, or not for
        signatures), key_ambiguous (the kid is listed twice, or is missing and several keys fit).
        """
        if kid is None:
            return self._find_fitting(algorithm)
        key = self._by_kid.get(kid)
        if key is None:
            return self._not_found(kid)
        if algorithm not in key.algorithms:
            return Refusal(
                Reason.KEY_MISMATCH,
                f"the key {quoted(kid)} is for {', '.join(key.algorithms)}; the token says {quoted(algorithm)}",
            )
        return key

    def _not_found(self, kid: str) -> Refusal:
        why = self._unusable.get(kid)
        if why is None:
            return Refusal(Reason.KEY_UNKNOWN, f"the issuer has no key {quoted(kid)}")
        if why == _TWICE:
            return Refusal(Reason.KEY_AMBIGUOUS, f"the issuer's key set has more than one key {quoted(kid)}")
        return Refusal(Reason.KEY_MISMATCH, f"the key {quoted(kid)} of the issuer is not for signatures here: {why}")

    def _find_fitting(self, algorithm: str) -> VerificationKey | Refusal:
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            return Refusal(
                Reason.KEY_AMBIGUOUS,
                f"the token has no kid and {len(fitting)} keys of the issuer are for {quoted(algorithm)}",
            )
        return Refusal(Reason.KEY_MISMATCH, f"the token has no kid and no key of the issuer is for {quoted(algorithm)}")


def read_key_set(
    body: bytes | Mapping[str, Any], *, algorithms: Mapping[str, SignatureAlgorithm] = ASYMMETRIC
) -> KeySet | Refusal:
    """Read a key set as fetched (or its JSON object) into the keys that can verify one of `algorithms`.

    Refused with idp_keys_invalid: not a JSON key set, more than MAX_KEYS keys, or no usable key in it. Skipped are keys
    that are not for signatures (`use`, `key_ops`), do not fit their own `alg` and curve, share their kid with another
    key for signatures, hold private parts, are too weak or too costly, or are secrets beside public keys.
    """
    listed = _listed_keys(body)
    if isinstance(listed, Refusal):
        return listed
    sorted_out = [_candidate(jwk, algorithms) for jwk in listed]
    candidates = [key for key in sorted_out if isinstance(key, _Candidate)]
    kids = Counter(key.kid for key in candidates if key.kid is not None)
    public = any(key.kty != _SYMMETRIC for key in candidates)
    read = [_read(key, kids, public=public) if isinstance(key, _Candidate) else key for key in sorted_out]
    usable = [key for key in read if isinstance(key, VerificationKey)]
    skipped = [key for key in read if isinstance(key, SkippedKey)]
    if not usable:
        reasons = "; ".join(sorted({key.why for key in skipped})[:SHOWN_VALUES]) or "it is empty"
        return _invalid(f"has no key that can verify signatures: {reasons}")
    return KeySet(usable, skipped)


def _listed_keys(body: bytes | Mapping[str, Any]) -> list[Any] | Refusal:
    document = read_object(body, "the key set") if isinstance(body, bytes) else body
    if isinstance(document, Refusal):
        return Refusal(Reason.IDP_KEYS_INVALID, document.message)
    keys = document.get("keys")
    if not isinstance(keys, list):
        return _invalid("has no list of keys (RFC 7517 section 5)")
    if len(keys) > MAX_KEYS:
        return _invalid(f"has {len(keys)} keys; {MAX_KEYS} are allowed")
    return keys


def _invalid(what: str) -> Refusal:
    return Refusal(Reason.IDP_KEYS_INVALID, f"the key set {what}")


class _Candidate(msgspec.Struct, frozen=True):
    """A listed key that is meant to verify signatures, before it is known whether it can be trusted with it."""

    kid: str | None
    kty: str
    members: Mapping[str, Any]
    fitting: tuple[SignatureAlgorithm, ...]


def _candidate(jwk: object, algorithms: Mapping[str, SignatureAlgorithm]) -> _Candidate | SkippedKey:
    """Sort out what is for something else (RFC 7517 sections 4.1 to 4.5)."""
    if not isinstance(jwk, dict):
        return SkippedKey(None, "it is not an object")
    kid = jwk.get("kid")
    if "kid" in jwk and not is_kid(kid):
        return SkippedKey(None, "its kid is not a short string")
    if "use" in jwk and jwk["use"] != "sig":
        return SkippedKey(kid, "its use is not sig")
    if "key_ops" in jwk and not (isinstance(jwk["key_ops"], list) and "verify" in jwk["key_ops"]):
        return SkippedKey(kid, "its key_ops are without verify")
    fitting = tuple(a for a in algorithms.values() if a.fits(jwk.get("kty"), jwk.get("crv"), jwk.get("alg")))
    if not fitting:
        return SkippedKey(kid, "its kty, crv and alg are of no signature algorithm that is known here")
    return _Candidate(kid, jwk["kty"], jwk, fitting)


def _read(key: _Candidate, kids: Counter[str], *, public: bool) -> VerificationKey | SkippedKey:
    """A candidate made ready, unless itself or its company makes it doubtful."""
    if public and key.kty == _SYMMETRIC:
        return SkippedKey(key.kid, "it is a secret beside public keys")
    if key.kid is not None and kids[key.kid] > 1:
        return SkippedKey(key.kid, _TWICE)
    if not _PRIVATE_MEMBERS.isdisjoint(key.members):
        return SkippedKey(key.kid, "it holds private parts, so it is anybody's")
    return _prepare(key)


def _prepare(key: _Candidate) -> VerificationKey | SkippedKey:
    """The key made by PyJWT from nothing but its numbers, for those algorithms for which it is long enough."""
    form = key.fitting[0]
    numbers = {name: _number(key.members.get(name)) for name in form.members}
    if not all(numbers.values()):
        return SkippedKey(key.kid, f"its {' or '.join(form.members)} is not a number in base64url")
    if form.kty == "RSA" and (weakness := rsa_weakness(n=numbers["n"], e=numbers["e"])) is not None:
        return SkippedKey(key.kid, weakness)
    public = {name: key.members[name] for name in ("kty", "crv", *form.members) if name in key.members}
    try:
        prepared = form.implementation.from_jwk(public)
    except Exception:  # noqa: BLE001 - PyJWT and its backend raise many kinds; whichever it is, this is no key
        return SkippedKey(key.kid, f"its numbers are not those of a key of type {form.kty}")
    strong = {a.name: a.implementation for a in key.fitting if a.implementation.check_key_length(prepared) is None}
    if not strong:
        return SkippedKey(key.kid, "it is too short for its algorithm")
    return VerificationKey(kid=key.kid, algorithms=strong, prepared=prepared, issuer=_issuer(key.members))


def _issuer(members: Mapping[str, Any]) -> str | None:
    """`issuer` is no registered member, so whatever it is, the key stays; only for no issuer, should one be asked."""
    issuer = members.get("issuer")
    return issuer if isinstance(issuer, str) or "issuer" not in members else ""


def _number(value: object) -> bytes:
    """The bytes of a number, none where it cannot be read."""
    if not isinstance(value, str) or len(value) > MAX_MEMBER_CHARACTERS:
        return b""
    return decode_base64url(value) or b""
