from __future__ import annotations

from pgoauthd.runtime.tokenhash import keyed_hash
from pgoauthd.tokens.bearer import BearerToken

TOKEN = BearerToken("canary-of-the-hash")


def test_a_token_always_has_the_same_hash_and_no_other_token_has_it() -> None:
    hash_token = keyed_hash()
    assert hash_token(TOKEN) == hash_token(BearerToken("canary-of-the-hash"))
    assert hash_token(TOKEN) != hash_token(BearerToken("canary-of-the-hasi"))


def test_nobody_else_computes_the_same_hash() -> None:
    assert keyed_hash()(TOKEN) != keyed_hash()(TOKEN)


def test_a_hash_has_nothing_of_its_token() -> None:
    made = keyed_hash()(TOKEN)
    assert len(made) == 32
    assert b"canary" not in made
