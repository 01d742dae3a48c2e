"""Joins the events of one cluster's log with the verdicts on its sessions: exactly one Outcome per attempt.

Synchronous and single-threaded. It never reads a clock: `now` is handed in, and ages are counted by it.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Iterable

import msgspec

from pgoauthd.correlation.assembly import assemble
from pgoauthd.correlation.changes import Changes
from pgoauthd.correlation.decision import decide
from pgoauthd.correlation.outcome import Outcome, Result, Unmatched
from pgoauthd.correlation.session import ENDS, Session, State
from pgoauthd.correlation.verdicts import SessionVerdict, Verdicts
from pgoauthd.logs.events import AuthEvent, EventKind, Saying

SessionKey = str | int
"""The session id where the log has it, else the pid."""

MAX_DECIDED_BY_SILENCE = 10_000
LOOK_SECONDS = 1.0
"""How far the clock of an old log moves between looks for attempts that are over."""

NUMBERS_OF_A_MAJOR_VERSION = 10_000
"""180006 is 18.6."""


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


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine knows about its server."""

    server_major: int | None = None
    logs_ready: bool = False
    validated_since: float | None = None
    """From when on each OAuth login must have a verdict."""
    received_since: float | None = None
    """By the log's clock: the first `connection received` ever seen, so the server logs them."""


class Silenced(msgspec.Struct, frozen=True):
    """A session that silence has decided, so that what it still says is known to be late."""

    key: SessionKey
    place: int
    """Ascending in the order in which they were decided."""
    state: State


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """All that an engine must know again after a restart."""

    open: tuple[Session, ...] = ()
    silenced: tuple[Silenced, ...] = ()
    known: Known = Known()


class EngineChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How an EngineState differs from the one before."""

    open: tuple[Session, ...] = ()
    """As they stand now."""
    ended: tuple[SessionKey, ...] = ()
    silenced: tuple[Silenced, ...] = ()
    forgotten: tuple[SessionKey, ...] = ()
    """Silenced no more."""
    fresh: frozenset[SessionKey] = frozenset()
    """Of those open or silenced: no save has had them before."""
    known: Known = Known()

    @property
    def matter(self) -> bool:
        """There are any, what is known of the server aside: that changes with something else."""
        return bool(self.open or self.ended or self.silenced or self.forgotten)


class Engine:
    """The open attempts of one cluster. What it could not join is counted in `unmatched` (see `Unmatched`)."""

    def __init__(
        self, cluster: str, verdicts: Verdicts, limits: Limits | None = None, state: EngineState | None = None
    ) -> None:
        """Join `cluster`'s events, from where `state` has come."""
        state = state or EngineState()
        self.cluster = cluster
        self.unmatched: Counter[Unmatched] = Counter()
        self.matched = 0
        self.leaks: list[AuthEvent] = []
        """Of each login into whose log lines a token came the first of them; whoever observes takes them away."""
        self._verdicts = verdicts
        self._limits = limits or Limits()
        self._takes_verdicts = True
        self._known = state.known
        self._open = OrderedDict((key_of(it), it) for it in sorted(state.open, key=lambda it: it.first_seen))
        """In the order in which they began."""
        self._settling = self._since(State.AUTHORIZED)
        """Those authorized, in that order, with the time."""
        self._explained = self._since(State.EXPLAINED)
        """Those that our validator has refused, in that order, with the time."""
        silenced = sorted(state.silenced, key=lambda it: it.place)
        self._silenced = OrderedDict((it.key, it) for it in silenced)
        self._place = silenced[-1].place if silenced else 0
        self._looked = 0.0
        """Up to when `follow` has looked for silence."""
        self._sessions_to_save: Changes[SessionKey] = Changes()
        self._silenced_to_save: Changes[SessionKey] = Changes()
        for key in self._open:
            self._sessions_to_save.was_saved(key)
        for key in self._silenced:
            self._silenced_to_save.was_saved(key)

    def __len__(self) -> int:
        """Attempts begun and not ended."""
        return len(self._open)

    @property
    def state(self) -> EngineState:
        """What to hand to the next Engine of this cluster."""
        return EngineState(open=tuple(self._open.values()), silenced=tuple(self._silenced.values()), known=self._known)

    def use(self, limits: Limits, *, validated_since: float | None, takes_verdicts: bool = True) -> None:
        """Go by these limits from now on; `validated_since`: from when on each OAuth login must have a verdict.

        `takes_verdicts`: some may be on logins of this cluster. Session ids are those of processes, and tell the
        sessions of two hosts not always apart.
        """
        self._limits = limits
        self._takes_verdicts = takes_verdicts
        self._known = msgspec.structs.replace(self._known, validated_since=validated_since)

    @property
    def validated_since(self) -> float | None:
        """From when on each OAuth login must have a verdict; None where another validator judges."""
        return self._known.validated_since

    def take_changes(self) -> EngineChanges:
        """What to save of `state` that was not taken before."""
        sessions = self._sessions_to_save.take(self._open)
        silenced = self._silenced_to_save.take(self._silenced)
        return EngineChanges(
            open=tuple(self._open[key].at_rest() for key in sessions.changed),
            ended=tuple(sessions.gone),
            silenced=tuple(self._silenced[key] for key in silenced.changed),
            forgotten=tuple(silenced.gone),
            fresh=sessions.fresh | silenced.fresh,
            known=self._known,
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
        settle = self._limits.silence if self._known.logs_ready else self._limits.settle
        settled = itertools.takewhile(lambda it: now - it[1] > settle, self._settling.items())
        refused = itertools.takewhile(lambda it: now - it[1] > self._limits.settle, self._explained.items())
        over += [
            (key, self._open[key])
            for key, _ in itertools.chain(settled, refused)
            if now - self._open[key].first_seen <= self._limits.silence
        ]
        return self._silence(over)

    def finish(self) -> list[Outcome]:
        """The log has ended and nothing more will come: who was authorized is in, who was refused is not.

        The rest is unfinished.
        """
        outcomes = self._silence([(key, self._open[key]) for key in (*self._settling, *self._explained)])
        self.unmatched[Unmatched.UNFINISHED] += len(self._open)
        for key in self._open:
            self._sessions_to_save.gone(key)
        self._open.clear()
        self._settling.clear()
        self._explained.clear()
        return outcomes

    def _observe_one(self, event: AuthEvent, now: float, outcomes: list[Outcome]) -> None:
        if event.kind is EventKind.SERVER_STARTED or event.kind is EventKind.SERVER_STOPPED:
            outcomes += self._server_changed(event)
            return
        key = key_of(event)
        session = self._open.get(key)
        if session is not None and event.kind is EventKind.RECEIVED and session.received is not None:
            # Without session ids in the log a process id tells the sessions apart, and it has come round again.
            outcomes += self._silence([(key, session)])
            session = None
        if session is None:
            if self._is_stray(event, key):
                return
            session = self._begin(key, event, now)
        if event.leaked and not session.leaked:
            session.leaked = True
            self.leaks.append(event)
        state = session.take(event)
        if state in ENDS:
            self._end(key, session, outcomes)
            self._learn(event)
            return
        if state is State.AUTHORIZED and key not in self._settling:
            self._explained.pop(key, None)
            session.settling_since = self._settling[key] = now
        elif state is State.EXPLAINED and event.saying is Saying.SHIM and key not in self._explained:
            # A client that goes away at once, as pgx does, keeps the server from logging the FATAL.
            session.settling_since = self._explained[key] = now
        self._sessions_to_save.changed(key)
        self._learn(event)

    def _since(self, state: State) -> OrderedDict[SessionKey, float]:
        """Since when open sessions are in a state that time ends, oldest first."""
        waiting = [
            (key, it.settling_since)
            for key, it in self._open.items()
            if it.state is state and it.settling_since is not None
        ]
        return OrderedDict(sorted(waiting, key=lambda it: it[1]))

    def _learn(self, event: AuthEvent) -> None:
        """What one line shows of the server as a whole."""
        if event.kind is EventKind.READY:
            if not self._known.logs_ready:
                self._known = msgspec.structs.replace(self._known, logs_ready=True)
        elif event.kind is EventKind.RECEIVED and self._known.received_since is None:
            self._known = msgspec.structs.replace(self._known, received_since=event.time)

    def _is_stray(self, event: AuthEvent, key: SessionKey) -> bool:
        """A line of a session whose login is over: most lines of long sessions' ends are."""
        decided = self._silenced.get(key) if event.kind is not EventKind.RECEIVED else None
        if decided is not None:
            if event.kind in _CONTRADICTIONS[decided.state]:
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
        if self._silenced.pop(key, None) is not None:
            self._silenced_to_save.gone(key)
        if len(self._open) > self._limits.max_open:
            self._forget(next(iter(self._open)))
            self.unmatched[Unmatched.EVICTED] += 1
        return session

    def _silence(self, over: list[tuple[SessionKey, Session]]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for key, session in over:
            self._place += 1
            self._silenced[key] = Silenced(key, self._place, session.fall_silent())
            self._silenced_to_save.changed(key)
            self._end(key, session, outcomes)
        while len(self._silenced) > MAX_DECIDED_BY_SILENCE:
            forgotten, _ = self._silenced.popitem(last=False)
            self._silenced_to_save.gone(forgotten)
        return outcomes

    def _server_changed(self, event: AuthEvent) -> list[Outcome]:
        """A server that starts or stops has no session left from before."""
        outcomes = self._silence(list(self._open.items()))
        if event.kind is EventKind.SERVER_STARTED:
            self._known = msgspec.structs.replace(self._known, server_major=event.server_version, logs_ready=False)
        return outcomes

    def _end(self, key: SessionKey, session: Session, outcomes: list[Outcome]) -> None:
        self._forget(key)
        if session.state is not State.IGNORED:
            outcomes.append(self._outcome(session))

    def _forget(self, key: SessionKey) -> None:
        del self._open[key]
        self._settling.pop(key, None)
        self._explained.pop(key, None)
        self._sessions_to_save.gone(key)

    def _outcome(self, session: Session) -> Outcome:
        verdict = None
        if self._takes_verdicts:
            verdict = self._verdicts.take(session.session_id, session.pid, session.started)
        decision = decide(session, verdict, self._known.server_major)
        outcome = assemble(self.cluster, session, verdict, decision)
        if verdict is not None:
            self.matched += 1
            self._learn_version(verdict)
        elif self._lacks_verdict(session, outcome):
            self.unmatched[Unmatched.LOGGED_NOT_VALIDATED] += 1
        return outcome

    def _learn_version(self, verdict: SessionVerdict) -> None:
        """A server that started before reading began has not said in its log which version it is."""
        if verdict.server_version is not None:
            major = verdict.server_version // NUMBERS_OF_A_MAJOR_VERSION
            self._known = msgspec.structs.replace(self._known, server_major=major)

    def _lacks_verdict(self, session: Session, outcome: Outcome) -> bool:
        """Whether the log shows a login by OAuth, or one from nowhere, that pgoauthd never vouched for."""
        since = self._known.validated_since
        if since is None or (outcome.started or outcome.time) < since:
            return False
        if outcome.method == "oauth":
            return session.authenticated is not None or outcome.result is Result.SUCCESS
        return outcome.result is Result.SUCCESS and session.received is None and self._must_be_received(outcome.time)

    def _must_be_received(self, time: float) -> bool:
        """A login that ends now began after the first `connection received` that was logged."""
        since = self._known.received_since
        return since is not None and time - since > self._limits.silence


_LATER_STEPS = frozenset({EventKind.AUTHENTICATED, EventKind.CAUSE, EventKind.AUTHORIZED, EventKind.READY})
_CONTRADICTIONS = {
    State.SUCCEEDED: frozenset({EventKind.FATAL}),
    State.REFUSED: frozenset({EventKind.AUTHORIZED, EventKind.READY}),
    State.ABANDONED: _LATER_STEPS | {EventKind.FATAL},
    State.IGNORED: frozenset[EventKind](),
}
"""What a session must not log any more once silence has decided it so."""


def key_of(of: AuthEvent | Session) -> SessionKey:
    """By what a session is known in one cluster."""
    return of.session_id or of.pid
