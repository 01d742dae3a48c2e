"""`pgoauthd demo`: performs the scripted day on a real server and shows each attempt's outcome as it is decided.

What must come out stands in `demo.scenarios`; a day that ends otherwise is an error, not a footnote.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pgoauthd import __version__
from pgoauthd.config.reader import parse
from pgoauthd.config.rules import RULES
from pgoauthd.config.values import Web
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.daemon import running
from pgoauthd.demo.attempts import Attempt, Condition, perform
from pgoauthd.demo.cluster import SUPERUSER
from pgoauthd.demo.scenarios import scripted_day
from pgoauthd.demo.scene import daemon_config
from pgoauthd.demo.stage import Stage, stage
from pgoauthd.errors import DemoError, SocketError
from pgoauthd.report import LiveRows, Tally, open_console, print_summary
from pgoauthd.telemetry.log import configure

PICK_TOKEN = 'sed \'s/.*"access_token": *"\\([^"]*\\).*/\\1/\''  # noqa: S105 - a sed program
"""Takes the token out of the answer on machines without jq."""
PAUSE_SECONDS = 0.06
"""Between attempts, so that eyes can follow."""
OUTCOME_SECONDS = 20.0
"""How long the last outcomes may take before something is wrong: an abandoned attempt needs authentication_timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The command's options."""

    listen: str
    keep: bool
    fast: bool


def run_demo(options: DemoOptions) -> None:
    """The whole demo; DemoError where something is missing or an outcome is not the scripted one.

    SIGTERM and SIGHUP end it as Ctrl-C does: everything is taken down again.
    """
    if (wrong := RULES[Web]["listen"](options.listen)) is not None:
        raise DemoError(f"--metrics: {': '.join(wrong)}")
    try:
        asyncio.run(_until_told(options))
    except SocketError as error:
        raise DemoError(f"{error} (here: --metrics ADDRESS:PORT)") from None


async def _until_told(options: DemoOptions) -> None:
    day = asyncio.ensure_future(_demo(options, open_console()))
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, day.cancel)
    with suppress(asyncio.CancelledError):
        await day


async def _demo(options: DemoOptions, console: Console) -> None:
    started = time.monotonic()
    _say(console, f"pgoauthd {__version__}: a day of OAuth logins to a real PostgreSQL 18", "bold")
    day = [attempt for attempt in scripted_day() if not (options.fast and _waits(attempt))]
    desk = Desk(console)
    async with stage(say=lambda what: _say(console, f"  {what} …")) as scene, _daemon(scene, options, desk):
        _say(console, f"  ready after {time.monotonic() - started:.1f} s; http://{options.listen}/metrics\n")
        desk.rows.header()
        await _perform(day, scene)
        if len(desk.outcomes) < len(day):
            _say(console, "  … clients that went away are given up when the server's authentication_timeout is over")
        await desk.wait_for(len(day))
        print_summary(console, desk.tally, [f"the day took {time.monotonic() - started:.0f} s"], remedies=False)
        compare(day, desk.outcomes)
        if options.keep:
            await _keep(scene, options, console)
        else:
            _say(console, "pgoauthd demo --keep leaves everything running, with lines to try.")


class Desk:
    """Collects outcomes and shows them as they come; the superuser's own sessions are not part of the day."""

    def __init__(self, console: Console) -> None:
        self.rows = LiveRows(console)
        self.tally = Tally()
        self.outcomes: list[Outcome] = []
        self._more = asyncio.Event()

    def publish(self, outcome: Outcome) -> None:
        """Take one outcome."""
        if outcome.role == SUPERUSER:
            return
        self.outcomes.append(outcome)
        self.tally.add(outcome)
        self.rows.add(outcome)
        self._more.set()

    async def wait_for(self, count: int, seconds: float = OUTCOME_SECONDS) -> None:
        """Return when so many outcomes are there; DemoError where they do not come in time."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.outcomes) < count:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise DemoError(f"{len(self.outcomes)} outcomes after {seconds:g} s, where there must be {count}") from None


@asynccontextmanager
async def _daemon(scene: Stage, options: DemoOptions, desk: Desk) -> AsyncIterator[None]:
    """The daemon, in this process, as `pgoauthd run` would run it with the scene's configuration."""
    config = parse(daemon_config(scene.cluster, scene.issuers, state=_state(scene), listen=options.listen))
    async with running(config, log=configure("error", "auto", sys.stderr), publish=[desk.publish]):
        yield


def _waits(attempt: Attempt) -> bool:
    """Its outcome comes only when a timeout is over."""
    return attempt.slow or attempt.departure is not None


async def _perform(day: Sequence[Attempt], scene: Stage) -> None:
    """Attempt after attempt, but those that stall beside the others."""
    async with asyncio.TaskGroup() as tasks:
        for attempt in day:
            if attempt.slow:
                tasks.create_task(perform(attempt, scene.cluster, scene.issuers))
            else:
                await _perform_one(attempt, scene)
                await asyncio.sleep(PAUSE_SECONDS)


async def _perform_one(attempt: Attempt, scene: Stage) -> None:
    if attempt.condition is not Condition.DAEMON_DOWN:
        await perform(attempt, scene.cluster, scene.issuers)
        return
    # For the server a daemon whose socket is not there is down.
    socket = scene.cluster.validator_socket
    aside = socket.rename(socket.with_suffix(".aside"))
    try:
        await perform(attempt, scene.cluster, scene.issuers)
    finally:
        aside.rename(socket)


def compare(day: Sequence[Attempt], outcomes: Sequence[Outcome]) -> None:
    """Hold what came out against the script; DemoError with the difference."""
    scripted = Counter((attempt.result.value, attempt.reason.value) for attempt in day)
    happened = Counter((outcome.result.value, outcome.reason.value) for outcome in outcomes)
    if scripted != happened:
        missing = ", ".join(f"{result} {reason}" for result, reason in (scripted - happened).elements())
        instead = ", ".join(f"{result} {reason}" for result, reason in (happened - scripted).elements())
        raise DemoError(
            f"the day did not end as scripted: missing {missing or 'nothing'}; instead {instead or 'nothing'}"
        )


async def _keep(scene: Stage, options: DemoOptions, console: Console) -> None:
    """Leave everything running, with lines to try, until interrupted."""
    _say(console, "\nEverything is still running. In another terminal, with the outcomes appearing here:", "bold")
    for what, line in _lines_to_try(scene, options):
        _say(console, f"  # {what}")
        console.print(Text(f"  {line}", no_wrap=True, overflow="ignore"), soft_wrap=True)
    _say(console, "Ctrl-C ends it and leaves nothing behind.\n", "bold")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)
    await ended.wait()


def _lines_to_try(scene: Stage, options: DemoOptions) -> list[tuple[str, str]]:
    """What each does, and the line for a shell."""
    main, opaque = scene.issuers.main, scene.issuers.opaque
    login = shlex.join([sys.executable, "-m", "pgoauthd.demo.try_login", "--port", str(scene.cluster.tcp.port)])
    fetch = f"curl -s {main.token_endpoint} -d grant_type=client_credentials -d client_id=alice"
    fetch_opaque = f"curl -s {opaque.token_endpoint} -d grant_type=client_credentials -d client_id=courier -d opaque=1"
    ident = shlex.join([sys.executable, "-m", "pgoauthd", "map", "--ident-file", str(scene.cluster.ident_path)])
    asking = [sys.executable, "-m", "pgoauthd"]
    events = shlex.join([*asking, "events", "--state", str(_state(scene)), "--result", "refused", "--role", "alice"])
    report = shlex.join([*asking, "report", "--state", str(_state(scene))])
    return [
        ("a good token", f"export TOKEN=$({fetch} | {PICK_TOKEN})"),
        ("a login that succeeds", login),
        ("the same token for a role that its identity may not be", f"{login} --role reporting"),
        ("what the map has to say on that", f"{ident} --map services --identity alice --role reporting"),
        ("an expired token", f"TOKEN=$({fetch} -d lifetime=-90 | {PICK_TOKEN}) {login}"),
        ("an opaque token, about which its issuer is asked", f"export TOKEN=$({fetch_opaque} | {PICK_TOKEN})"),
        ("a login with it", f"{login} --role courier"),
        (
            "revoke it; ten seconds later (cache_seconds) the same login is refused",
            f"curl -s {opaque.revocation_endpoint} -d token=$TOKEN",
        ),
        ("why could alice not log in?", events),
        ("who logged in, from where, how often, and why were others refused?", report),
        ("what Prometheus sees", f"curl -s http://{options.listen}/metrics | grep login_attempts"),
    ]


def _state(scene: Stage) -> Path:
    return scene.cluster.directory / "state.db"


def _say(console: Console, text: str, style: str = "dim") -> None:
    console.print(Text(text, style=style))
