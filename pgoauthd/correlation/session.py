"""One login attempt on its way: a state, a transition table, and what its lines have said so far.

It never decides why an attempt ended (`correlation.decision` does) and never waits. The diagram in
docs/correlation.md is generated from TRANSITIONS.
"""

from __future__ import annotations

import copy
from enum import StrEnum

import msgspec

from pgoauthd.correlation.redacting import redact_texts
from pgoauthd.logs.events import AuthEvent, EventKind, Saying


class State(StrEnum):
    """How far an attempt has come. The last four are ends."""

    EXPECTED = "expected"
    """Nothing of it was read from its beginning: its first lines are older than where reading began."""
    RECEIVED = "received"
    AUTHENTICATED = "authenticated"
    EXPLAINED = "explained"
    """A line has said why the FATAL that follows will come."""
    AUTHORIZED = "authorized"
    """No success yet: a missing role or database ends it after this line."""
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    IGNORED = "ignored"
    """No attempt at all: a late line of a session whose login was long over."""


class Step(StrEnum):
    """What moves an attempt: a logged event, or the silence of a session for longer than it may last."""

    RECEIVED = EventKind.RECEIVED.value
    AUTHENTICATED = EventKind.AUTHENTICATED.value
    CAUSE = EventKind.CAUSE.value
    AUTHORIZED = EventKind.AUTHORIZED.value
    READY = EventKind.READY.value
    DISCONNECTED = EventKind.DISCONNECTED.value
    LOST = EventKind.LOST.value
    FATAL = EventKind.FATAL.value
    SILENCE = "silence"


ENDS = frozenset({State.SUCCEEDED, State.REFUSED, State.ABANDONED, State.IGNORED})

TRANSITIONS: dict[State, dict[Step, State]] = {
    State.EXPECTED: {
        Step.RECEIVED: State.RECEIVED,
        Step.AUTHENTICATED: State.AUTHENTICATED,
        Step.CAUSE: State.EXPLAINED,
        Step.AUTHORIZED: State.AUTHORIZED,
        Step.READY: State.SUCCEEDED,
        Step.DISCONNECTED: State.IGNORED,
        Step.LOST: State.IGNORED,
        Step.FATAL: State.REFUSED,
        Step.SILENCE: State.IGNORED,
    },
    State.RECEIVED: {
        Step.RECEIVED: State.RECEIVED,
        Step.AUTHENTICATED: State.AUTHENTICATED,
        Step.CAUSE: State.EXPLAINED,
        Step.AUTHORIZED: State.AUTHORIZED,
        Step.READY: State.SUCCEEDED,
        Step.DISCONNECTED: State.SUCCEEDED,
        Step.LOST: State.ABANDONED,
        Step.FATAL: State.REFUSED,
        Step.SILENCE: State.ABANDONED,
    },
    State.AUTHENTICATED: {
        Step.RECEIVED: State.AUTHENTICATED,
        Step.AUTHENTICATED: State.AUTHENTICATED,
        Step.CAUSE: State.EXPLAINED,
        Step.AUTHORIZED: State.AUTHORIZED,
        Step.READY: State.SUCCEEDED,
        Step.DISCONNECTED: State.SUCCEEDED,
        Step.LOST: State.ABANDONED,
        Step.FATAL: State.REFUSED,
        Step.SILENCE: State.ABANDONED,
    },
    State.EXPLAINED: {
        Step.RECEIVED: State.EXPLAINED,
        Step.AUTHENTICATED: State.EXPLAINED,
        Step.CAUSE: State.EXPLAINED,
        Step.AUTHORIZED: State.AUTHORIZED,
        Step.READY: State.SUCCEEDED,
        Step.DISCONNECTED: State.SUCCEEDED,
        Step.LOST: State.REFUSED,
        Step.FATAL: State.REFUSED,
        Step.SILENCE: State.REFUSED,
    },
    State.AUTHORIZED: {
        Step.RECEIVED: State.AUTHORIZED,
        Step.AUTHENTICATED: State.AUTHORIZED,
        Step.CAUSE: State.AUTHORIZED,
        Step.AUTHORIZED: State.AUTHORIZED,
        Step.READY: State.SUCCEEDED,
        Step.DISCONNECTED: State.SUCCEEDED,
        Step.LOST: State.SUCCEEDED,
        Step.FATAL: State.REFUSED,
        Step.SILENCE: State.SUCCEEDED,
    },
}
"""Whole: every step has an entry in every state that is not an end."""

STEPS: dict[EventKind, Step] = {EventKind(step.value): step for step in Step if step is not Step.SILENCE}


class Session(msgspec.Struct, gc=False, omit_defaults=True):
    """An open attempt: its state, and the last that each kind of line has said."""

    pid: int
    session_id: str | None
    state: State = State.EXPECTED
    started: float | None = None
    first_seen: float = 0.0
    """By the engine's clock: ages are counted from here."""
    settling_since: float | None = None
    """By the engine's clock: when it was authorized, or refused by our validator."""
    received: AuthEvent | None = None
    authenticated: AuthEvent | None = None
    authorized: AuthEvent | None = None
    cause: AuthEvent | None = None
    last: AuthEvent | None = None
    leaked: bool = False
    """A line of it holds a token."""

    def take(self, event: AuthEvent) -> State:
        """Move by one event; the state it is in now, perhaps an end."""
        self.state = TRANSITIONS[self.state][STEPS[event.kind]]
        self.last = event
        match event.kind:
            case EventKind.RECEIVED:
                self.received, self.started = event, event.time
            case EventKind.AUTHENTICATED:
                self.authenticated = event
            case EventKind.AUTHORIZED:
                self.authorized = event
            case EventKind.CAUSE if self.cause is None or event.saying is Saying.SHIM or _says_nothing(self.cause):
                self.cause = event
            case _:
                pass
        return self.state

    def at_rest(self) -> Session:
        """A copy to be written down, in which what clients chose is as an outcome shows it: without tokens."""
        resting = copy.copy(self)
        for line in ("received", "authenticated", "authorized", "cause", "last"):
            if (event := getattr(self, line)) is not None:
                setattr(resting, line, redact_texts(event, _TEXTS))
        return resting

    def fall_silent(self) -> State:
        """Move because nothing more was said for longer than an attempt may last."""
        self.state = TRANSITIONS[self.state][Step.SILENCE]
        return self.state


_TEXTS = ("role", "database", "application_name", "identity", "client_addr", "hba_file", "usermap")


def _says_nothing(cause: AuthEvent) -> bool:
    """Whether a validator that is not ours has said something, but not why the login will end."""
    return cause.saying is Saying.FOREIGN and cause.reason_code is None
