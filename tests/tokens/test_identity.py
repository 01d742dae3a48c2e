from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgoauthd.tokens.claimpaths import read_identity_source
from pgoauthd.tokens.identity import find_identity
from pgoauthd.tokens.issuers import IdentitySource, IssuerPolicy
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.case import POLICY

URL_CLAIM = "https://id.example/claims/login.name"

unhurried = settings(deadline=None)


def _policy(*sources: str, **changes: object) -> IssuerPolicy:
    return msgspec.structs.replace(POLICY, identities=tuple(map(read_identity_source, sources)), **changes)


def _refused(claims: dict[str, Any], policy: IssuerPolicy) -> tuple[Reason, str]:
    refusal = find_identity(claims, policy)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason, refusal.message


@pytest.mark.parametrize(
    ("sources", "claims", "identity"),
    [
        (("sub",), {"sub": "alice"}, "alice"),
        (("a.b.c",), {"a": {"b": {"c": "alice"}}}, "alice"),
        ((URL_CLAIM,), {URL_CLAIM: "alice"}, "alice"),
        ((f'"{URL_CLAIM}"."x.y"',), {URL_CLAIM: {"x.y": "alice"}}, "alice"),
        (("upn", "sub"), {"sub": "alice"}, "alice"),
        (("upn", "sub"), {"sub": "alice", "upn": "a@id.example"}, "a@id.example"),
        (("a.b", "sub"), {"sub": "alice", "a": {"c": 1}}, "alice"),
        (("a.b", "sub"), {"sub": "alice", "a": "b"}, "alice"),
        (("a.b", "sub"), {"sub": "alice", "a.b": "x"}, "alice"),
        (("a.0", "sub"), {"sub": "alice", "a": ["x"]}, "alice"),
        (("${azp}/service", "sub"), {"azp": "etl"}, "etl/service"),
        (("${azp}/service", "sub"), {"sub": "alice"}, "alice"),
        (("${tid}:${oid}", "sub"), {"tid": "t", "oid": "o", "sub": "alice"}, "t:o"),
        (("${tid}:${oid}", "sub"), {"tid": "t", "sub": "alice"}, "alice"),
        (("${sub}",), {"sub": "alice"}, "alice"),
        (("$$${sub}",), {"sub": "alice"}, "$alice"),
    ],
)
def test_the_first_source_whose_claims_are_all_there_is_the_identity(
    sources: tuple[str, ...], claims: dict[str, Any], identity: str
) -> None:
    assert find_identity(claims, _policy(*sources)) == identity


@pytest.mark.parametrize("source", ["upn", "${upn}@x", "${sub}:${upn}"])
@pytest.mark.parametrize("value", [None, "", 1, ["alice"], " alice"])
def test_a_claim_that_is_there_but_bad_is_not_replaced_by_the_next_source(source: str, value: object) -> None:
    reason, _ = _refused({"upn": value, "sub": "alice"}, _policy(source, "sub"))
    assert reason is Reason.IDENTITY_INVALID


def test_a_missing_identity_names_the_sources_that_were_looked_for() -> None:
    assert _refused({}, _policy("database.user", "${tid}:${oid}", "sub")) == (
        Reason.IDENTITY_MISSING,
        "the token has no claim for the identity; expected is one of 'database.user', '${tid}:${oid}', 'sub'",
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "has 0 bytes"),
        ("a" * 257, "has 257 bytes"),
        ("a\n", "has a character that is not printable"),
        ("a\ud800", "has a character that is not printable"),
        (" a", "begins or ends with a space"),
        (["a"], "is an array"),
        (True, "is a boolean"),
        (1.5, "is a number"),
        (None, "is null"),
        ({}, "is an object"),
    ],
)
def test_an_invalid_identity_is_described_but_not_shown(value: object, what: str) -> None:
    expected = "expected a printable string of 1 to 256 bytes"
    assert _refused({"sub": value}, _policy("sub")) == (
        Reason.IDENTITY_INVALID,
        f"the identity claim 'sub' {what}; {expected}",
    )
    assert _refused({"sub": value, "a": "b"}, _policy("${a}@${sub}")) == (
        Reason.IDENTITY_INVALID,
        f"the identity claim 'sub' {what}; {expected}",
    )


def test_a_template_that_makes_too_long_an_identity_is_refused() -> None:
    assert find_identity({"sub": "a" * 255}, _policy("x${sub}")) == "x" + "a" * 255
    assert _refused({"sub": "a" * 256}, _policy("x${sub}")) == (
        Reason.IDENTITY_INVALID,
        "the identity made of 'x${sub}' has 257 bytes; expected a printable string of 1 to 256 bytes",
    )


def test_a_template_whose_own_text_is_no_identity_is_refused() -> None:
    assert _refused({"sub": "alice"}, _policy(" ${sub}"))[0] is Reason.IDENTITY_INVALID
    assert _refused({"sub": "alice"}, _policy("\u202e${sub}"))[0] is Reason.IDENTITY_INVALID


@pytest.mark.parametrize(
    ("source", "claims", "unique"),
    [
        ("${a}/${b}", {"a": "x", "b": "y"}, True),
        ("${a}/${b}", {"a": "x/y", "b": "z"}, False),
        ("${a}/${b}", {"a": "x", "b": "y/z"}, False),
        ("${a}/${b}", {"a": "/", "b": "x"}, True),
        ("${a}/${b}", {"a": "x", "b": "/"}, True),
        ("${a}/${b}", {"a": "/", "b": "/"}, True),
        ("${a}--${b}", {"a": "x-y", "b": "z"}, True),
        ("${a}--${b}", {"a": "x-", "b": "y"}, False),
        ("${a}--${b}", {"a": "x", "b": "-y"}, False),
        ("/${a}:${b}/", {"a": "/x", "b": "y/"}, True),
        ("${a}@x", {"a": "y@x"}, True),
        ("x@${a}", {"a": "x@y"}, True),
        ("${a}:${b}/${c}", {"a": "x", "b": "y", "c": "z"}, True),
        ("${a}:${b}/${c}", {"a": "x/", "b": "y", "c": "z"}, True),
        ("${a}:${b}/${c}", {"a": "x", "b": "y/z", "c": "z"}, False),
        ("${a}:${b}:${c}", {"a": "x", "b": "y", "c": "z:w"}, False),
    ],
)
def test_a_template_is_refused_where_other_claims_could_make_the_same_identity(
    source: str, claims: dict[str, Any], unique: bool
) -> None:
    found = find_identity(claims, _policy(source))
    assert isinstance(found, str) is unique
    assert unique or (isinstance(found, Refusal) and found.reason is Reason.IDENTITY_INVALID)


def test_claims_side_by_side_make_no_identity_whatever_they_are() -> None:
    source = IdentitySource("${a}${b}", (("a",), ("b",)))
    policy = msgspec.structs.replace(POLICY, identities=(source,))
    assert _refused({"a": "ab", "b": "c"}, policy)[0] is Reason.IDENTITY_INVALID


claim_texts = st.text("a:/", min_size=1, max_size=4)


@unhurried
@given(st.sampled_from(["${a}:${b}", "${a}::${b}", "${a}:${b}/${c}", "/${a}:/${b}:"]), st.data())
def test_a_template_never_makes_two_people_one(source: str, data: st.DataObject) -> None:
    policy = _policy(source)
    one, other = (
        {name: data.draw(claim_texts) for name in "abc" if f"${{{name}}}" in source} for _ in ("one", "other")
    )
    identity = find_identity(one, policy)
    assert one == other or isinstance(identity, Refusal) or identity != find_identity(other, policy)


@pytest.mark.parametrize("source", ["email", "${email}", "mail/${email}"])
@pytest.mark.parametrize("verified", [True, "true"])
def test_a_verified_address_is_an_identity(source: str, verified: object) -> None:
    claims = {"email": "a@id.example", "email_verified": verified}
    for accept_id_tokens in (True, False):
        assert isinstance(find_identity(claims, _policy(source, accept_id_tokens=accept_id_tokens)), str)


@pytest.mark.parametrize("source", ["email", "${email}", "mail/${email}"])
@pytest.mark.parametrize(
    ("verified", "found"),
    [
        (False, "false"),
        ("false", "false"),
        ("True", "a string"),
        ("", "a string"),
        (1, "a number"),
        (0, "a number"),
        (None, "null"),
        ([True], "an array"),
        ({}, "an object"),
    ],
)
def test_an_address_that_is_said_to_be_unverified_is_no_identity(source: str, verified: object, found: str) -> None:
    claims = {"email": "a@id.example", "email_verified": verified, "sub": "alice"}
    assert _refused(claims, _policy(source, "sub")) == (
        Reason.IDENTITY_UNVERIFIED,
        f"the identity is the claim 'email', and email_verified is {found}; expected true",
    )


def test_an_address_of_which_nothing_is_said_is_taken_from_access_tokens_alone() -> None:
    claims = {"email": "a@id.example"}
    assert find_identity(claims, _policy("email")) == "a@id.example"
    assert _refused(claims, _policy("email", accept_id_tokens=True)) == (
        Reason.IDENTITY_UNVERIFIED,
        "the identity is the claim 'email', and email_verified is missing; expected true",
    )


@pytest.mark.parametrize("source", ["sub", "user.email", '"user.email"'])
def test_whether_an_address_is_verified_does_not_matter_to_other_claims(source: str) -> None:
    claims = {"sub": "alice", "user.email": "alice", "user": {"email": "alice"}, "email_verified": False}
    assert find_identity(claims, _policy(source, accept_id_tokens=True)) == "alice"


def test_an_unverified_address_that_is_not_used_does_not_matter() -> None:
    claims = {"sub": "alice", "email": "a@id.example", "email_verified": False}
    assert find_identity(claims, _policy("sub", "email")) == "alice"


@pytest.mark.parametrize(
    ("identity", "lowered"),
    [
        ("Alice@Corp.Example", "alice@corp.example"),
        ("ALICE", "alice"),
        ("\u212aelvin", "\u212aelvin"),
        ("Zo\u00cb", "zo\u00cb"),
        ("\u0130stanbul", "\u0130stanbul"),
        ("STRA\u1e9eE", "stra\u1e9ee"),
        ("\u03a3", "\u03a3"),
        ("\uff21", "\uff21"),
    ],
)
def test_lower_case_is_for_a_to_z_alone(identity: str, lowered: str) -> None:
    assert find_identity({"sub": identity}, _policy("sub", identity_lowercase=True)) == lowered


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("alice@corp.example", "alice"),
        ("Alice@CORP.example", "Alice"),
        ("corp.example\\alice", "alice"),
        ("CORP\\alice", "alice"),
        ("corp\\alice", "alice"),
        ("alice@corp", "alice"),
        ("alice", "alice"),
        # a name with another domain stays as it is
        ("alice@evil.example", "alice@evil.example"),
        ("alice@corp.example.evil.example", "alice@corp.example.evil.example"),
        ("alice@notcorp.example", "alice@notcorp.example"),
        ("alice@sub.corp.example", "alice@sub.corp.example"),
        ("alice.corp.example", "alice.corp.example"),
        ("EVIL\\alice", "EVIL\\alice"),
        ("NOTCORP\\alice", "NOTCORP\\alice"),
        ("CORP/alice", "CORP/alice"),
        ("alice\\CORP", "alice\\CORP"),
        # and so does what would be a name of another domain without its own
        ("alice@corp.example@evil.example", "alice@corp.example@evil.example"),
        ("alice@evil.example@corp.example", "alice@evil.example@corp.example"),
        ("CORP\\alice@evil.example", "CORP\\alice@evil.example"),
        ("CORP\\alice@evil", "CORP\\alice@evil"),
        ("EVIL\\alice@corp.example", "EVIL\\alice@corp.example"),
        ("CORP\\EVIL\\alice", "CORP\\EVIL\\alice"),
        ("CORP\\alice@corp.example", "CORP\\alice@corp.example"),
        ("alice@corp.example@corp.example", "alice@corp.example@corp.example"),
        ("@corp.example@corp.example", "@corp.example@corp.example"),
        # case is compared in ASCII alone
        ("alice@\uff43orp.example", "alice@\uff43orp.example"),
        ("alice@corp.e\u017fample", "alice@corp.e\u017fample"),
        ("alice@ma\u017fk", "alice@ma\u017fk"),
        ("alice@MASK", "alice"),
    ],
)
def test_a_domain_is_left_out_if_it_is_one_of_the_policy_and_the_only_one(identity: str, name: str) -> None:
    policy = _policy("sub", identity_strip_domains=("corp.example", "Corp", "mask"))
    assert find_identity({"sub": identity}, policy) == name


@pytest.mark.parametrize("identity", ["@corp.example", "CORP\\", "CORP\\ alice", "alice @corp.example"])
def test_what_is_left_without_the_domain_must_be_an_identity(identity: str) -> None:
    reason, message = _refused({"sub": identity}, _policy("sub", identity_strip_domains=("corp.example", "corp")))
    assert reason is Reason.IDENTITY_INVALID
    assert message.startswith("the identity of 'sub' without its domain ")


def test_the_domain_goes_before_the_case_of_what_is_left_is_changed() -> None:
    policy = _policy("sub", identity_strip_domains=("corp.example",), identity_lowercase=True)
    assert find_identity({"sub": "Alice@Corp.Example"}, policy) == "alice"
    assert find_identity({"sub": "Alice@Evil.Example"}, policy) == "alice@evil.example"


def test_an_identity_of_a_template_is_normalised_too() -> None:
    policy = _policy("${user}@${realm}", identity_strip_domains=("corp",), identity_lowercase=True)
    assert find_identity({"user": "Alice", "realm": "CORP"}, policy) == "alice"
    assert find_identity({"user": "Alice", "realm": "Other"}, policy) == "alice@other"


def test_without_a_word_in_the_policy_an_identity_stays_as_it_is() -> None:
    for identity in ("Alice@Corp.Example", "CORP\\Alice"):
        assert find_identity({"sub": identity}, _policy("sub")) == identity


user_names = st.text("ab@\\ K\u212a", min_size=1, max_size=6)
forms = st.sampled_from(["{0}@{1}", "{1}\\{0}"])
strangers = st.builds(str.format, forms, user_names, st.sampled_from(["evil", "corp.evil", "evil.corp", "xcorp"]))
colleagues = st.builds(str.format, forms, user_names, st.sampled_from(["corp", "CORP", "cOrp"]))


@unhurried
@given(strangers, colleagues)
@example("a@evil", "a@corp")
@example("a@evil", "a@evil@corp")
@example("a@evil", "CORP\\a@evil")
def test_nobody_of_another_domain_is_made_one_with_somebody_of_ours(stranger: str, colleague: str) -> None:
    policy = _policy("sub", identity_strip_domains=("corp",), identity_lowercase=True)
    theirs = find_identity({"sub": stranger}, policy)
    if isinstance(theirs, str):
        assert theirs.lower() == stranger.lower()
        assert stranger.lower() == colleague.lower() or theirs != find_identity({"sub": colleague}, policy)


@unhurried
@given(st.text())
def test_normalising_a_normalised_identity_of_no_domain_changes_nothing(text: str) -> None:
    policy = _policy("sub", identity_strip_domains=("corp",), identity_lowercase=True)
    once = find_identity({"sub": text}, policy)
    if isinstance(once, str):
        assert once.isprintable()
        assert 1 <= len(once.encode()) <= 256
        assert find_identity({"sub": once}, policy) == once
