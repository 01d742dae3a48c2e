"""Makes a probe: token, connection, TLS, SASL, `select 1`, each step with its time; decides nothing about tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pgoauthd.errors import StateError
from pgoauthd.probing.advice import Case, hints
from pgoauthd.probing.histories import find_outcome, newest_id
from pgoauthd.probing.loginfailure import NOT_ASKED, failure_of_answer, failure_of_error
from pgoauthd.probing.parameters import Parameters
from pgoauthd.probing.steps import Failure, Probed, Seen, Step, StepDone, Wanted
from pgoauthd.probing.tlscontexts import idp_context, server_context
from pgoauthd.probing.tokenclient import TokenClient
from pgoauthd.probing.tokenfacts import TokenFacts, facts_of
from pgoauthd.probing.tokenrequest import Obtained
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.pgclient import LoginResult, TcpAddress, login
from pgoauthd.runtime.pgtls import Encryption, Milestone

APPLICATION_NAME = "pgoauthd probe"
"""By which the server's log, and our own outcomes, tell a probe's logins from others."""
QUERY = "select 1"
_UNFORESEEN_REMEDY = "report it as a bug of pgoauthd, and look at what the identity provider and the server answer"


class Prober:
    """Probes one server, each time with a new token and a new connection."""

    def __init__(self, parameters: Parameters, clock: Clock, history: Path | None = None) -> None:
        """Read the files that the parameters name; ConfigError. `history`: a state file of our own side."""
        self.parameters = parameters
        self._clock = clock
        self._history = history
        self._encryption = Encryption(server_context(parameters), parameters.host)
        self._idp_tls = idp_context(parameters)
        TokenClient(parameters, self._idp_tls)

    async def probe(self) -> Probed:
        """How it went; never raises for what went wrong on the way."""
        course = _Course(self._clock)
        try:
            before = await self._newest_id()
            return self._hinted(await self._explained(await self._made(course), before))
        except Exception as error:  # noqa: BLE001 - whatever providers and servers answer, probes go on
            course.broke_off()
            # its text may hold what they said, and a token
            failure = Failure(f"the probe broke off: {type(error).__name__}", _UNFORESEEN_REMEDY)
            return self._probed(course, failure=failure, token_endpoint=None)

    async def _made(self, course: _Course) -> Probed:
        async with TokenClient(self.parameters, self._idp_tls) as client:
            answered = await client.ask()
        endpoint = answered.endpoint
        if isinstance(answered.result, Failure):
            course.failed()
            return self._probed(course, failure=answered.result, token_endpoint=endpoint)
        course.passed()
        result, failure = await self._log_in(answered.result, course)
        if failure is not None:
            course.failed()
        facts = self._facts(answered.result)
        return self._probed(course, failure=failure, token_endpoint=endpoint, token=facts, seen=_seen(result))

    def _probed(
        self,
        course: _Course,
        *,
        failure: Failure | None,
        token_endpoint: str | None,
        token: TokenFacts | None = None,
        seen: Seen | None = None,
    ) -> Probed:
        return Probed(
            parameters=self.parameters,
            steps=tuple(course.done),
            failure=failure,
            token_endpoint=token_endpoint,
            token=token,
            seen=seen or Seen(),
        )

    def _facts(self, obtained: Obtained) -> TokenFacts:
        return facts_of(obtained.token, now=self._clock.time(), scope=obtained.scope, expires_in=obtained.expires_in)

    async def _log_in(self, obtained: Obtained, course: _Course) -> tuple[LoginResult | None, Failure | None]:
        parameters = self.parameters
        loop, seconds = asyncio.get_running_loop(), parameters.step_seconds
        try:
            async with asyncio.timeout(seconds) as limit:

                def reached(_milestone: Milestone) -> None:
                    course.passed()
                    limit.reschedule(loop.time() + seconds)

                result = await login(
                    TcpAddress(parameters.host, parameters.port),
                    role=parameters.user,
                    database=parameters.database,
                    token=obtained.token.reveal(),
                    application_name=APPLICATION_NAME,
                    query=QUERY,
                    deadline_seconds=seconds * len(Step),
                    encryption=self._encryption,
                    reached=reached,
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are some
            return None, None if course.step is None else failure_of_error(course.step, error, parameters)
        if result.ok and not result.token_asked:
            course.take_back(Step.SASL)
            return result, NOT_ASKED
        return result, None if result.ok else failure_of_answer(result)

    async def _newest_id(self) -> int | None:
        if self._history is None:
            return None
        try:
            return await asyncio.to_thread(newest_id, self._history)
        except StateError:
            return None

    async def _explained(self, probed: Probed, before: int | None) -> Probed:
        """With what our own side knows of a login that the server refused."""
        if self._history is None or before is None or probed.ok or probed.seen.local_port is None:
            return probed
        try:
            outcome = await asyncio.to_thread(find_outcome, self._history, before, self.parameters.user, probed.seen)
        except StateError:
            return probed
        return msgspec.structs.replace(probed, outcome=outcome)

    def _hinted(self, probed: Probed) -> Probed:
        """With what may be behind it, where it is about the token."""
        if probed.failed not in (Step.TOKEN, Step.SASL):
            return probed
        oauth = self.parameters.oauth
        case = Case(
            oauth=oauth,
            endpoint=probed.token_endpoint or oauth.discovery_endpoint or "",
            token=probed.token,
            wanted=probed.seen.wanted,
            stage=probed.outcome["stage"] if probed.outcome is not None else None,
        )
        return msgspec.structs.replace(probed, hints=hints(case))


class _Course:
    """Which step a probe is at, and how long each has taken."""

    def __init__(self, clock: Clock) -> None:
        self.done: list[StepDone] = []
        self._clock = clock
        self._steps: Iterator[Step] = iter(Step)
        self.step: Step | None = next(self._steps)
        """None when all are done."""
        self._begun = clock.monotonic()

    def passed(self) -> None:
        """The step is done, and the next begins."""
        self._end(ok=True)
        self.step = next(self._steps, None)

    def failed(self) -> None:
        """The step is the last."""
        self._end(ok=False)

    def broke_off(self) -> None:
        """Nothing more will come: what is under way has failed, or the last step where all were done."""
        if self.done and not self.done[-1].ok:
            return
        if self.step is None:
            self.take_back(self.done[-1].step)
        else:
            self.failed()

    def take_back(self, step: Step) -> None:
        """It was passed, but not as it should be."""
        at = next(number for number, one in enumerate(self.done) if one.step is step)
        self.done[at:] = [StepDone(step, self.done[at].seconds, ok=False)]

    def _end(self, *, ok: bool) -> None:
        now = self._clock.monotonic()
        if self.step is not None:
            self.done.append(StepDone(self.step, now - self._begun, ok))
        self._begun = now


def _seen(result: LoginResult | None) -> Seen:
    if result is None:
        return Seen()
    standby, found = result.parameters.get("in_hot_standby"), result.discovery
    return Seen(
        tls_version=result.tls_version,
        server_version=result.parameters.get("server_version"),
        standby=None if standby is None else standby == "on",
        sqlstate=result.sqlstate,
        local_address=result.local_address,
        local_port=result.local_port,
        wanted=None
        if found is None
        else Wanted(status=found.status, openid_configuration=found.openid_configuration, scope=found.scope),
    )
