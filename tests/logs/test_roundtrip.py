"""Whatever names, identities and texts hold: what the server says is what is read, in any format and chunking."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pgoauthd.logs.events import EventKind, Saying
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, cut, reader, render

repeatedly = settings(deadline=None)

QUOTING = (LogFormat.CSVLOG, LogFormat.JSONLOG, LogFormat.CNPG)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=40)
nasty = st.lists(
    st.sampled_from(
        [
            '"', '""', ",", "\n", "\t", "\\", "LOG:  ", "LOG,00000,", 'LOG,00000,"connection ', "@", " ", "[", "x",
            '","', '{"timestamp":"', 'verity":"LOG","message":"connection received: ', "DETAIL:  ",
            '" method=oauth (/x:1)', "2026-11-22 01:11:56.131 UTC", " [30463] ", "connection authorized: ", "ä", "€",
        ]
    ),
    max_size=8,
).map("".join)  # fmt: skip
anything = st.one_of(text, nasty)
names = anything.filter(bool).map(lambda name: name[:60])
places = st.lists(st.integers(0, 10_000), max_size=6)


def plain(letters: str) -> st.SearchStrategy[str]:
    return st.text(st.sampled_from(letters), min_size=1, max_size=30)


@repeatedly
@given(
    names=st.tuples(names, names), identity=anything, foreign=anything, at=places, log_format=st.sampled_from(QUOTING)
)
def test_an_identity_is_read_as_it_was_authenticated(
    names: tuple[str, str], identity: str, foreign: str, at: list[int], log_format: LogFormat
) -> None:
    role, database = names
    known = {"role": role, "database": database}
    message = f'connection authenticated: identity="{identity}" method=oauth (/etc/pg_hba.conf:3)'
    noise = Entry(severity="ERROR", message=foreign, detail=foreign, statement=foreign, **known)  # type: ignore[arg-type]
    data = render(log_format, noise, Entry(message=message, **known), noise)  # type: ignore[arg-type]
    made = reader(log_format)
    events = [event for chunk in cut(data, at) for event in made.feed(chunk)] + made.finish()
    assert [(event.kind, event.role, event.database, event.identity) for event in events] == [
        (EventKind.AUTHENTICATED, role, database, identity)
    ]
    assert made.stats.parse_failures == 0


@repeatedly
@given(role=names, identity=anything, usermap=plain("abc_ "), at=places, log_format=st.sampled_from(QUOTING))
def test_a_failed_mapping_is_read_as_it_was(
    role: str, identity: str, usermap: str, at: list[int], log_format: LogFormat
) -> None:
    mismatch = f"provided user name ({role}) and authenticated user name ({identity}) do not match"
    no_match = f'no match in usermap "{usermap}" for user "{role}" authenticated as "{identity}"'
    data = render(log_format, Entry(message=mismatch, role=role), Entry(message=no_match, role=role))
    made = reader(log_format)
    events = [event for chunk in cut(data, at) for event in made.feed(chunk)] + made.finish()
    assert [(event.saying, event.identity, event.usermap) for event in events] == [
        (Saying.IDENTITY_MISMATCH, identity, None),
        (Saying.USERMAP_NO_MATCH, identity, usermap),
    ]


@repeatedly
@given(identity=anything, detail=anything, at=places)
def test_stderr_folds_and_unfolds_any_text(identity: str, detail: str, at: list[int]) -> None:
    """Under a prefix without names nothing of a user stands before the message."""
    prefix = "2026-11-22 01:11:56.131 UTC [30463] "
    lines = (
        f'{prefix}LOG:  connection authenticated: identity="{identity}" method=oauth (/etc/pg_hba.conf:3)',
        f'{prefix}FATAL:  OAuth bearer authentication failed for user "{identity}"',
        f"{prefix}DETAIL:  {detail}",
    )
    data = "".join(line.replace("\n", "\n\t") + "\n" for line in lines).encode()
    made = reader(LogFormat.STDERR, "%m [%p] ")
    events = [event for chunk in cut(data, at) for event in made.feed(chunk)] + made.finish()
    assert (events[0].identity, events[1].role) == (identity, identity)
    assert events[1].detail == (detail or None)
    assert made.stats.parse_failures == 0


@repeatedly
@given(role=plain("abcdef .-_'()"), database=plain("abcdef.-_"), at=places, log_format=st.sampled_from(LogFormat))
def test_honest_names_are_the_same_in_every_format(
    role: str, database: str, at: list[int], log_format: LogFormat
) -> None:
    entry = Entry(message=f"connection authorized: user={role} database={database}", role=role, database=database)
    data = render(log_format, entry, entry)
    made = reader(log_format)
    events = [event for chunk in cut(data, at) for event in made.feed(chunk)] + made.finish()
    assert [(event.role, event.database) for event in events] == [(role, database)] * 2


@repeatedly
@given(data=st.binary(max_size=2000), at=places, log_format=st.sampled_from(LogFormat))
def test_no_bytes_break_a_reader(data: bytes, at: list[int], log_format: LogFormat) -> None:
    line = render(log_format, Entry(message="connection authorized: user=alice database=app"))
    made = reader(log_format)
    whole = data + b"\n" + line
    events = [event for chunk in cut(whole, at) for event in made.feed(chunk)] + made.finish()
    assert events[-1].role == "alice"
    assert made.consumed == made.stats.bytes == len(whole)
