"""What is said of a login to an operator: the line, the reason, the nearest line."""

from __future__ import annotations

import pytest

from pgoauthd.mapping.arespans import MAX_EFFORT
from pgoauthd.mapping.evaluation import predict
from pgoauthd.mapping.identline import Login, Says
from pgoauthd.mapping.prediction import MAX_TRIED, Expected, MapPrediction
from tests.mapping.fix_maps import PATH, ident_map


def said(text: str, identity: str = "bob@example.org", role: str = "app", map_name: str = "people") -> MapPrediction:
    return predict(ident_map(text), map_name, identity, role)


def nearest(text: str, identity: str = "bob@example.org", role: str = "app") -> tuple[int, str]:
    prediction = said(text, identity, role)
    assert prediction.expected is Expected.NO_MATCH
    assert prediction.nearest is not None
    assert prediction.nearest.why in prediction.message
    return prediction.nearest.line, prediction.nearest.why


def test_a_match_names_its_line() -> None:
    prediction = said("# people\n\npeople bob@example.org app\npeople bob@example.org app\n")

    assert (prediction.expected, prediction.file, prediction.line) == (Expected.MATCH, PATH, 3)
    assert prediction.message == f'Line 3 of {PATH}: map "people" lets "bob@example.org" be "app".'
    assert prediction.tried == ()


def test_of_two_lines_that_match_the_first_is_named_whatever_its_kind() -> None:
    assert said("people /^bob app\npeople bob@example.org app\n").line == 1
    assert said("people bob@example.org app\npeople /^bob app\n").line == 1


def test_lines_of_other_maps_do_not_count() -> None:
    assert said("other bob@example.org app\n").expected is Expected.NO_MATCH


def test_without_a_match_each_line_says_why() -> None:
    prediction = said("people carol app\npeople /^carol@ app\npeople bob@example.org bob\npeople /^bob /^b\n")

    assert prediction.expected is Expected.NO_MATCH
    assert [(tried.line, tried.why) for tried in prediction.tried] == [
        (1, 'its identity "carol" is another'),
        (2, 'its expression does not match "bob@example.org"'),
        (3, 'it gives the role "bob", asked was "app"'),
        (4, 'its expression for roles does not match "app"'),
    ]


def test_a_long_map_shows_its_first_lines() -> None:
    prediction = said("".join(f"people user{number} app\n" for number in range(50)))

    assert [tried.line for tried in prediction.tried] == list(range(1, MAX_TRIED + 1))


def test_the_line_with_another_role_is_nearest() -> None:
    assert nearest("people BOB@example.org app\npeople bob@example.org bob\nother bob@example.org app\n") == (
        2,
        'it gives the role "bob", asked was "app"',
    )


def test_of_those_the_one_whose_role_has_other_capital_letters_is_nearest() -> None:
    assert nearest("people bob@example.org bob\npeople bob@example.org App\n") == (
        2,
        'its role "App" has other capital letters than "app"',
    )


def test_then_an_identity_with_other_capital_letters() -> None:
    assert nearest("other bob@example.org app\npeople Bob@example.org app\n") == (
        2,
        'its identity "Bob@example.org" has other capital letters than "bob@example.org"',
    )


def test_then_an_expression_that_would_match_small_letters() -> None:
    assert nearest(r"people /^(.*)@example\.org$ \1" + "\n", "bob@EXAMPLE.org", "bob") == (
        1,
        'its expression would match "bob@example.org", without capital letters',
    )


def test_then_a_map_whose_name_has_other_capital_letters_and_then_any_other() -> None:
    assert nearest("other bob@example.org app\nPeople bob@example.org app\n") == (
        2,
        'it belongs to map "People", asked was "people"',
    )
    assert nearest("other bob@example.org app\n") == (1, 'it belongs to map "other", asked was "people"')


def test_at_last_a_line_that_gives_the_role_to_somebody() -> None:
    assert nearest("people carol dba\npeople carol app\n") == (2, 'its identity "carol" is another')


def test_a_map_that_is_not_there_is_said_to_be_missing() -> None:
    prediction = said("other carol dba\n")

    assert prediction.message.startswith(f'There is no map "people" in {PATH};')
    assert prediction.nearest is None
    assert prediction.tried == ()


def test_a_file_with_an_error_says_nothing_of_any_login() -> None:
    prediction = said("people bob@example.org app\npeople carol\n")

    assert prediction.expected is Expected.UNKNOWN
    assert f"line 2 of {PATH}: it must have three fields" in prediction.message


def test_a_file_with_an_invalid_expression_says_nothing_of_any_login() -> None:
    prediction = said("people bob@example.org app\nother /( app\n")

    assert prediction.expected is Expected.UNKNOWN
    assert 'invalid regular expression "("' in prediction.message


@pytest.mark.parametrize("role", ["bob", "app", "nobody"])
def test_a_back_reference_to_nothing_ends_the_search_for_whatever_role(role: str) -> None:
    prediction = said(r"people /^bob \1" + "\npeople bob@example.org all\n", role=role)

    assert prediction.expected is Expected.NO_MATCH
    assert "The server stops looking at line 1" in prediction.message


def test_membership_of_a_role_is_not_known() -> None:
    prediction = said("people bob@example.org +staff\n")

    assert prediction.expected is Expected.UNKNOWN
    assert 'members of "staff"' in prediction.message
    assert [tried.line for tried in prediction.tried] == [1]


def test_a_sure_line_behind_one_that_is_not_known_is_a_match_in_either_case() -> None:
    prediction = said("people bob@example.org +staff\npeople bob@example.org app\n")

    assert (prediction.expected, prediction.line) == (Expected.MATCH, 2)
    assert "if line 1 does not already" in prediction.message


def test_but_not_where_the_server_may_stop_before_it() -> None:
    prediction = said(r"people /^(?=b)(bob)? \1" + "\npeople bob@example.org app\n")

    assert prediction.expected is Expected.UNKNOWN
    assert "lookaround" in prediction.message


def test_bytes_that_are_no_utf_8_are_shown_as_such() -> None:
    prediction = said("people caf\udce9 app\n")

    assert prediction.tried[0].text == "people caf\ufffd app"
    prediction.message.encode()


def test_a_long_line_is_cut() -> None:
    prediction = said(f"people {'x' * 5000} app\n")

    assert len(prediction.tried[0].text) == 200
    assert len(prediction.tried[0].why) < 200


@pytest.mark.parametrize("expression", ["/(.*.*)*@(.*)corp", "/((a|b|@|corp)*?)@(.*)corp", "/^(?:(.*)@x|(.*)@corp)+"])
def test_no_identity_makes_the_lines_of_a_map_take_long_together(expression: str) -> None:
    login = Login.of("a@corp" * 40, "app")
    entries = ident_map(f"people {expression} x\\1\n" * 500).maps["people"].entries

    assert entries[-1].ask(login) is not None
    assert login.effort.left > 0
    assert [entry.ask(login).says for entry in entries][-1] is Says.PERHAPS_STOPS
    assert login.effort.left > -MAX_EFFORT / 4
    assert login.lowered().effort.left == login.effort.left


def test_a_line_that_is_asked_several_times_about_a_login_costs_once() -> None:
    login = Login.of("a@corp" * 40, "app")
    (entry,) = ident_map("people /(.*)@(.*)corp x\\1\n").maps["people"].entries
    entry.ask(login)
    left = login.effort.left

    assert entry.ask(login).says is Says.NO_ROLE
    assert login.effort.left == left < MAX_EFFORT


def test_many_lines_are_no_reason_for_doubt_about_an_identity_of_the_usual_length() -> None:
    lines = "".join(f"people /(.*)@(.*)corp{number} x\\1\n" for number in range(300))
    assert said(f"{lines}people /(.*)@(.*)corp \\1\n", "alice@a-corp", "alice").expected is Expected.MATCH


def test_a_long_identity_costs_more_than_a_short_one() -> None:
    short, long = (Login.of(identity, "app") for identity in ("ab", "ab" + "c" * 1_000))
    (entry,) = ident_map("people /(a)b x\\1\n").maps["people"].entries
    for login in (short, long):
        entry.ask(login)

    assert short.effort.left > long.effort.left + 100
