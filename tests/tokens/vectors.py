"""Published test vectors through the core's own parsing, key reading and verification, with HMAC added to its table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jwt.algorithms import HMACAlgorithm

from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.compact import Compact, read_compact
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.signature import ASYMMETRIC, SignatureAlgorithm, check_signature
from pgoauthd.tokens.verdict import Refusal

VECTORS: Final = Path(__file__).parents[1] / "data" / "vectors"
WYCHEPROOF: Final = VECTORS / "wycheproof"
COOKBOOK: Final = VECTORS / "jose-cookbook"

MAX_VECTOR_BYTES: Final = 65_536


@dataclass(frozen=True)
class Vector:
    """One test of a Wycheproof file: a text that should or should not verify under a key or key set."""

    tc_id: int
    kind: str
    comment: str
    keys: Mapping[str, Any]
    text: str
    valid: bool

    def __str__(self) -> str:
        return f"{self.tc_id}-{self.comment}"


def algorithms_with_hmac() -> dict[str, SignatureAlgorithm]:
    """What production allows, and the symmetric algorithms that it never does."""
    hashes = {"HS256": HMACAlgorithm.SHA256, "HS384": HMACAlgorithm.SHA384, "HS512": HMACAlgorithm.SHA512}
    symmetric = {
        name: SignatureAlgorithm(name=name, kty="oct", members=("k",), implementation=HMACAlgorithm(hash_function))
        for name, hash_function in hashes.items()
    }
    return {**ASYMMETRIC, **symmetric}


def load(path: Path) -> Any:  # noqa: ANN401 - JSON
    """The content of a vector file."""
    return json.loads(path.read_text(encoding="utf-8"))


def wycheproof(name: str) -> Iterator[Vector]:
    """The tests of a Wycheproof file, each with the public key (or the secret) of its group as a key set."""
    for group in load(WYCHEPROOF / name)["testGroups"]:
        key = group.get("public", group["private"])
        keys = key if "keys" in key else {"keys": [key]}
        for test in group["tests"]:
            text = test.get("jws", test.get("jwe"))
            yield Vector(
                tc_id=test["tcId"],
                kind="jws" if "jws" in test else "jwe",
                comment=test["comment"],
                keys=keys,
                text=text if isinstance(text, str) else json.dumps(text) if text is not None else "",
                valid=test["result"] == "valid",
            )


def verify_text(text: str, keys: Mapping[str, Any]) -> Compact | Refusal:
    """The verified token, taken apart, or the first reason why not; the payload may be anything."""
    bearer = BearerToken.read(text, max_bytes=MAX_VECTOR_BYTES)
    token = bearer if isinstance(bearer, Refusal) else read_compact(bearer.reveal())
    if isinstance(token, Refusal):
        return token
    key_set = read_key_set(keys, algorithms=algorithms_with_hmac())
    key = key_set.find(token.kid, token.algorithm) if isinstance(key_set, KeySet) else key_set
    if isinstance(key, Refusal):
        return key
    return check_signature(key, token.algorithm, token.signing_input, token.signature) or token
