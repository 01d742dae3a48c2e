"""Joins the events of one cluster's log with the verdicts on its sessions: exactly one Outcome per attempt.

Synchronous and single-threaded. It never reads a clock: `now` is handed in, and ages are counted by it.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Iterable

import msgspec

from pgoauthd.correlation.assembly import assemble
from pgoauthd.correlation.decision import decide
from pgoauthd.correlation.outcome import Outcome, Result, Unmatched
from pgoauthd.correlation.session import ENDS, Session, State
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.logs.events import AuthEvent, EventKind, Saying

SessionKey = str | int
"""The session id where the log has it, else the pid."""

MAX_DECIDED_BY_SILENCE = 10_000
LOOK_SECONDS = 1.0
"""How far the clock of an old log moves between looks for attempts that are over."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the engine. Times in seconds, by the clock that hands in `now`."""

    authentication_timeout: float = 60.0
    """The server ends an attempt after it; what is silent for longer is over."""
    settle: float = 5.0
    """How long `connection authorized` waits for a FATAL on a server that does not log `connection ready`."""
    max_open: int = 100_000

    @property
    def silence(self) -> float:
        """When an attempt counts as over: the server's own limit, with room for a late log line."""
        return self.authentication_timeout + 5.0


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """All that an engine must know again after a restart."""

    open: tuple[Session, ...] = ()
    settling: dict[str, float] = {}
    """Since when, by session id or pid."""
    decided_by_silence: tuple[tuple[SessionKey, State], ...] = ()
    server_major: int | None = None
    logs_ready: bool = False
    validated_since: float | None = None
    received_since: float | None = None
    """By the log's clock: the first `connection received` ever seen, so the server logs them."""


class Engine:
    """The open attempts of one cluster. What it could not join is counted in `unmatched` (see `Unmatched`)."""

    def __init__(
        self, cluster: str, verdicts: Verdicts, limits: Limits | None = None, state: EngineState | None = None
    ) -> None:
        """Join `cluster`'s events; `state.validated_since`: from when on each OAuth login must have a verdict."""
        state = state or EngineState()
        self.cluster = cluster
        self.unmatched: Counter[Unmatched] = Counter()
        self.matched = 0
        self._verdicts = verdicts
        self._limits = limits or Limits()
        self._validated_since = state.validated_since
        self._open = OrderedDict((_key(session), session) for session in state.open)
        """In the order in which they began."""
        self._settling = OrderedDict(
            (key, state.settling[str(key)]) for key in self._open if str(key) in state.settling
        )
        """Those authorized, in that order, with the time."""
        self._decided_by_silence: OrderedDict[SessionKey, State] = OrderedDict(state.decided_by_silence)
        self._received_since = state.received_since
        self._looked = 0.0
        """Up to when `follow` has looked for silence."""
        self._server_major = state.server_major
        self._logs_ready = state.logs_ready

    def __len__(self) -> int:
        """Attempts begun and not ended."""
        return len(self._open)

    @property
    def state(self) -> EngineState:
        """What to hand to the next Engine of this cluster."""
        return EngineState(
            open=tuple(self._open.values()),
            settling={str(key): since for key, since in self._settling.items()},
            decided_by_silence=tuple(self._decided_by_silence.items()),
            server_major=self._server_major,
            logs_ready=self._logs_ready,
            validated_since=self._validated_since,
            received_since=self._received_since,
        )

    def observe(self, events: Iterable[AuthEvent], now: float) -> list[Outcome]:
        """Take events in file order; the outcomes that they decide."""
        outcomes: list[Outcome] = []
        for event in events:
            self._observe_one(event, now, outcomes)
        return outcomes

    def follow(self, events: Iterable[AuthEvent]) -> list[Outcome]:
        """Take events of long ago: the time is what they say, so the outcomes do not depend on how they are grouped."""
        outcomes: list[Outcome] = []
        for event in events:
            if event.time - self._looked >= LOOK_SECONDS:
                self._looked = event.time
                outcomes += self.advance(event.time)
            self._observe_one(event, event.time, outcomes)
        return outcomes

    def advance(self, now: float) -> list[Outcome]:
        """Let time pass: the outcomes of attempts that have been silent for too long."""
        over = list(itertools.takewhile(lambda it: now - it[1].first_seen > self._limits.silence, self._open.items()))
        settle = self._limits.silence if self._logs_ready else self._limits.settle
        settled = itertools.takewhile(lambda it: now - it[1] > settle, self._settling.items())
        over += [
            (key, self._open[key]) for key, _ in settled if now - self._open[key].first_seen <= self._limits.silence
        ]
        return self._silence(over)

    def finish(self) -> list[Outcome]:
        """The log has ended and nothing more will come: what was authorized has succeeded, the rest is unfinished."""
        outcomes = self._silence([(key, self._open[key]) for key in self._settling])
        self.unmatched[Unmatched.UNFINISHED] += len(self._open)
        self._open.clear()
        self._settling.clear()
        return outcomes

    def _observe_one(self, event: AuthEvent, now: float, outcomes: list[Outcome]) -> None:
        if event.kind is EventKind.SERVER_STARTED or event.kind is EventKind.SERVER_STOPPED:
            outcomes += self._server_changed(event)
            return
        key = _key(event)
        session = self._open.get(key)
        if session is not None and event.kind is EventKind.RECEIVED and session.received is not None:
            # Without session ids in the log a process id tells the sessions apart, and it has come round again.
            outcomes += self._silence([(key, session)])
            session = None
        if session is None:
            if self._is_stray(event, key):
                return
            session = self._begin(key, event, now)
        state = session.take(event)
        if state in ENDS:
            self._end(key, session, outcomes)
        elif state is State.AUTHORIZED:
            self._settling.setdefault(key, now)
        if event.kind is EventKind.READY:
            self._logs_ready = True
        elif event.kind is EventKind.RECEIVED and self._received_since is None:
            self._received_since = event.time

    def _is_stray(self, event: AuthEvent, key: SessionKey) -> bool:
        """A line of a session whose login is over: most lines of long sessions' ends are."""
        decided = self._decided_by_silence.get(key) if event.kind is not EventKind.RECEIVED else None
        if decided is not None:
            if event.kind in _CONTRADICTIONS[decided]:
                self.unmatched[Unmatched.LATE] += 1
            return True
        return (
            event.kind is EventKind.DISCONNECTED
            or event.kind is EventKind.LOST
            or (event.kind is EventKind.FATAL and event.saying is Saying.OTHER)
            or (event.kind is EventKind.CAUSE and event.saying is Saying.MESSAGE_BROKEN)
        )

    def _begin(self, key: SessionKey, event: AuthEvent, now: float) -> Session:
        session = Session(event.pid, event.session_id, first_seen=now)
        self._open[key] = session
        self._decided_by_silence.pop(key, None)
        if len(self._open) > self._limits.max_open:
            evicted, _ = self._open.popitem(last=False)
            self._settling.pop(evicted, None)
            self.unmatched[Unmatched.EVICTED] += 1
        return session

    def _silence(self, over: list[tuple[SessionKey, Session]]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for key, session in over:
            self._decided_by_silence[key] = session.fall_silent()
            self._end(key, session, outcomes)
        while len(self._decided_by_silence) > MAX_DECIDED_BY_SILENCE:
            self._decided_by_silence.popitem(last=False)
        return outcomes

    def _server_changed(self, event: AuthEvent) -> list[Outcome]:
        """A server that starts or stops has no session left from before."""
        outcomes = self._silence(list(self._open.items()))
        if event.kind is EventKind.SERVER_STARTED:
            self._server_major, self._logs_ready = event.server_version, False
        return outcomes

    def _end(self, key: SessionKey, session: Session, outcomes: list[Outcome]) -> None:
        del self._open[key]
        self._settling.pop(key, None)
        if session.state is not State.IGNORED:
            outcomes.append(self._outcome(session))

    def _outcome(self, session: Session) -> Outcome:
        verdict = self._verdicts.take(session.session_id, session.pid, session.started)
        decision = decide(session, verdict, self._server_major)
        outcome = assemble(self.cluster, session, verdict, decision)
        if verdict is not None:
            self.matched += 1
        elif self._lacks_verdict(session, outcome):
            self.unmatched[Unmatched.LOGGED_NOT_VALIDATED] += 1
        return outcome

    def _lacks_verdict(self, session: Session, outcome: Outcome) -> bool:
        """Whether the log shows a login by OAuth, or one from nowhere, that pgoauthd never vouched for."""
        if self._validated_since is None or (outcome.started or outcome.time) < self._validated_since:
            return False
        if outcome.method == "oauth":
            return session.authenticated is not None or outcome.result is Result.SUCCESS
        return outcome.result is Result.SUCCESS and session.received is None and self._must_be_received(outcome.time)

    def _must_be_received(self, time: float) -> bool:
        """A login that ends now began after the first `connection received` that was logged."""
        return self._received_since is not None and time - self._received_since > self._limits.silence


_LATER_STEPS = frozenset({EventKind.AUTHENTICATED, EventKind.CAUSE, EventKind.AUTHORIZED, EventKind.READY})
_CONTRADICTIONS = {
    State.SUCCEEDED: frozenset({EventKind.FATAL}),
    State.REFUSED: frozenset({EventKind.AUTHORIZED, EventKind.READY}),
    State.ABANDONED: _LATER_STEPS | {EventKind.FATAL},
    State.IGNORED: frozenset[EventKind](),
}
"""What a session must not log any more once silence has decided it so."""


def _key(of: AuthEvent | Session) -> SessionKey:
    return of.session_id or of.pid
