"""Logins without end on a server whose validator asks a daemon that may be gone at any moment; and what they were."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from bench.make_log import work
from tests.crash.fix_logins import Record, Session, templates
from tests.crash.fix_serverlog import ServerLog
from tests.fix_callout import connected, http, parse, read_all, validate_body
from tests.fix_issuer import LocalIssuer
from tests.fix_tokens import mint, signing_key

ASKED_SHARE = 0.5
WORK_SHARE = 0.7
"""Of all entries but the last of a login: one that is none of ours comes after it."""
AT_ONCE = 24
"""Logins under way."""
PER_SECOND = 250
SHIM_SECONDS = 10.0
"""The shim's own patience."""
FIRST_PID = 1_000
MAX_PID = 4_000_000
KEY = signing_key("crash", "EdDSA")


@dataclass
class Attempt:
    """One login, and what must be known of it in the end."""

    session_id: str
    number: int
    result: str = ""
    reason: str = ""
    asked: bool = False
    reply: Mapping[str, Any] | None = None
    """Whoever has it may log it, so it must never be lost."""
    replied: int = 0
    """How many replies there were, with this one, when it came."""
    identity: str | None = None
    jti: str | None = None
    lacks_verdict: bool = False
    """The log shows a token for which pgoauthd cannot have vouched."""
    over: bool = False
    """All of its entries are in the log, or wait to be written."""


class Load:
    """Logins, each with a session id of its own, from `run` until it is cancelled."""

    def __init__(
        self, log: ServerLog, socket: str, issuer: LocalIssuer, chance: Random, *, silent: bool, impatient: bool
    ) -> None:
        """`silent`: some logins break off without a word; `impatient`: some shims wait for fractions of a second."""
        self.attempts: list[Attempt] = []
        self.replies = 0
        self._log = log
        self._socket = socket
        self._issuer = issuer
        self._chance = chance
        self._impatient = impatient
        self._templates = [it for it in templates() if silent or not it.falls_silent]
        self._numbers = itertools.count()
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Log in again and again; cancelled, wait for those that are under way."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._free.acquire()
                under_way.add(asyncio.create_task(self._log_in()))
                under_way = {it for it in under_way if not it.done() or it.exception() is not None}
                await asyncio.sleep(self._chance.expovariate(PER_SECOND))
        finally:
            await asyncio.gather(*under_way)

    async def write(self) -> None:
        """Write what is logged, in pieces, until cancelled."""
        while True:
            self._log.write_piece()
            await asyncio.sleep(self._chance.uniform(0, 0.01))

    async def _log_in(self) -> None:
        try:
            number = next(self._numbers)
            # A server that has started again may use a process id once more, and stderr has but that and the second.
            session = Session(FIRST_PID + number % (MAX_PID - FIRST_PID), datetime.now(UTC))
            attempt = Attempt(session.session_id, number)
            self.attempts.append(attempt)
            if self._chance.random() < ASKED_SHARE:
                await self._with_token(session, attempt)
            else:
                await self._as_in_life(session, attempt)
            attempt.over = True
        finally:
            self._free.release()

    async def _as_in_life(self, session: Session, attempt: Attempt) -> None:
        template = self._chance.choice(self._templates)
        attempt.result, attempt.reason = template.result, template.reason
        attempt.lacks_verdict = template.lacks_verdict
        await self._say(session.as_in(template), session)

    async def _with_token(self, session: Session, attempt: Attempt) -> None:
        await self._say(iter([session.received()]), session)
        attempt.asked = True
        reply = await self._ask(session, attempt)
        if isinstance(reply, str):
            attempt.result, attempt.reason = "refused", reply
            await self._say(session.unjudged(reply), session)
            return
        attempt.reply, attempt.identity = reply, reply["authn_id"]
        self.replies += 1
        attempt.replied = self.replies
        await self._say(self._answered(session, attempt, reply), session)

    def _answered(self, session: Session, attempt: Attempt, reply: Mapping[str, Any]) -> Iterator[Record]:
        """What the server does with the shim's answer."""
        if not reply["authorized"]:
            attempt.result, attempt.reason = "refused", reply["reason"]
            return session.refused(reply)
        attempt.result, attempt.reason, go_on = self._chance.choice(
            [
                ("success", "ok", session.let_in),
                ("success", "ok", session.let_in),
                ("refused", "identity_mismatch", session.mismatched),
                ("refused", "role_missing", session.roleless),
            ]
        )
        return go_on(reply["authn_id"])

    async def _ask(self, session: Session, attempt: Attempt) -> Mapping[str, Any] | str:
        """The reply, or with which reason the shim gives up."""
        body = validate_body(
            self._token(attempt),
            self._issuer.issuer,
            role=session.role,
            session_id=session.session_id,
            pid=session.pid,
            database="app",
            client_addr="127.0.0.1",
        )
        patience = self._chance.choice([0.05, 0.3, 2.0]) if self._impatient else SHIM_SECONDS
        try:
            async with asyncio.timeout(patience), connected(self._socket) as (reader, writer):
                with contextlib.suppress(ConnectionError):
                    writer.write(http("POST", "/v1/validate", body))
                    await writer.drain()
                said = await read_all(reader)
        except TimeoutError:
            return "validator_timeout"
        except OSError:
            return "validator_unavailable"
        return parse(said).json if said.count(b"\r\n\r\n") and said.endswith(b"}") else "validator_protocol"

    def _token(self, attempt: Attempt) -> str:
        """Good or bad, and no two alike."""
        now, number = time.time(), attempt.number
        attempt.jti = f"jti-{number}"
        wrongs: list[dict[str, Any]] = [
            {},
            {},
            {},
            {"exp": int(now) - 3600},
            {"aud": "another"},
            {"header": {"kid": "crash", "alg": "none"}},
            {"sub": None},
        ]
        wrong = self._chance.choice(wrongs)
        claims: dict[str, Any] = {"iss": self._issuer.issuer, "sub": f"user-{number}", "jti": attempt.jti}
        return mint(now, key=KEY, **(claims | wrong))

    async def _say(self, entries: Iterator[Record], session: Session) -> None:
        """Log the entries of a session, others' between them."""
        for entry in entries:
            self._log.append(entry)
            if self._chance.random() < WORK_SHARE:
                self._log.append(work(dict(session.entry("LOG", "")), session.pid, 0, self._chance))
            if self._chance.random() < WORK_SHARE:
                await asyncio.sleep(self._chance.uniform(0, 0.03))
