"""`pgoauthd probe`: whose parameters, and what a probe found, for people or as JSON; `probing` does the work."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from pgoauthd.config.oauthclient import SECRETS
from pgoauthd.config.reader import load
from pgoauthd.config.values import Config
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.probing.advice import warnings
from pgoauthd.probing.configured import configured
from pgoauthd.probing.kongconf import read_conf, read_environment
from pgoauthd.probing.kongparameters import has_replica, read_parameters
from pgoauthd.probing.parameters import Parameters, Server
from pgoauthd.probing.probejson import as_members, outcome_members, says_of_token, says_of_wanted, where_to_look
from pgoauthd.probing.prober import Prober
from pgoauthd.probing.steps import Probed, Step, StepDone
from pgoauthd.runtime.clock import SystemClock
from pgoauthd.runtime.idp.credentials import read_secret
from pgoauthd.telemetry.log import configure, printable, redact

DEFAULT_CONFIG = Path("/etc/pgoauthd/pgoauthd.toml")
BOTH = "both"

_NO_PARAMETERS = (
    "nothing says where to log in and how: give --kong-conf FILE, or run it where Kong's environment (KONG_PG_HOST, "
    "KONG_PG_OAUTH_CLIENT_ID, …) is set, or give --host, --user, --oauth-client-id and what else is needed, or "
    "--config FILE with [[probes]]"
)


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """The command's options, as given."""

    kong_conf: Path | None
    config: Path | None
    state: Path | None
    names: tuple[str, ...]
    server: str
    given: Mapping[str, str]
    """Kong's parameters without pg_, secrets as the names of their files."""
    trusted: str | None
    as_json: bool


def run_probes(options: ProbeOptions, environment: Mapping[str, str]) -> int:
    """Make the probes and print how they went; the exit status. ConfigError and OSError go up to the command line."""
    config = _daemon_config(options)
    history = options.state or (Path(config.state.path) if config is not None and config.clusters else None)
    if history is not None and not os.access(history, os.R_OK):
        _note(f"{history} cannot be read by you, so what our own side says of a failure is not shown")
        history = None
    probers = [Prober(one, SystemClock(), history) for one in _parameters(options, environment, config)]
    return asyncio.run(_run(probers, options, looked=history is not None))


async def _run(probers: list[Prober], options: ProbeOptions, *, looked: bool) -> int:
    status = 0
    for number, prober in enumerate(probers):
        if not options.as_json:
            _print_heading(prober.parameters, number)
        probed = await prober.probe()
        status = status if probed.ok else 1
        if options.as_json:
            click.echo(msgspec.json.encode(as_members(probed)))
        else:
            _print(probed, looked=looked)
    return status


def _daemon_config(options: ProbeOptions) -> Config | None:
    """The daemon's configuration: as asked for, or where it usually is."""
    if options.config is not None:
        return load(options.config, as_service=False)
    if options.names:
        return load(DEFAULT_CONFIG, as_service=False)
    if options.state is not None or not DEFAULT_CONFIG.exists():
        return None
    try:
        return load(DEFAULT_CONFIG, as_service=False)
    except ConfigError:
        _note(f"{DEFAULT_CONFIG} cannot be used, so what our own side says of a failure is not shown")
        return None


def _parameters(options: ProbeOptions, environment: Mapping[str, str], config: Config | None) -> tuple[Parameters, ...]:
    settings = {} if options.kong_conf is None else _read_file(options.kong_conf)
    settings |= read_environment(environment)
    settings |= _given(options)
    by_kong = options.kong_conf is not None or any(key.startswith("pg_") for key in settings)
    if options.names or (not by_kong and config is not None and config.probes):
        return _configured(options, config or Config())
    if not by_kong:
        raise click.UsageError(_NO_PARAMETERS)
    source = str(options.kong_conf) if options.kong_conf is not None else "Kong's environment and the options"
    return read_parameters(settings, environment, _servers(options.server, settings), source)


def _configured(options: ProbeOptions, config: Config) -> tuple[Parameters, ...]:
    known = {probe.name: probe for probe in config.probes}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        there = ", ".join(known) or "none"
        raise click.UsageError(f"--name: there is no [[probes]] table called {unknown[0]!r}; there are: {there}")
    log = configure("warning", "auto", sys.stderr)
    wanted = options.names or tuple(known)
    return tuple(configured(known[name], log) for name in wanted if options.server in (BOTH, known[name].server))


def _servers(asked: str, settings: Mapping[str, str]) -> tuple[Server, ...]:
    if asked == Server.REPLICA and not has_replica(settings):
        raise click.UsageError("--server replica: Kong has no replica here; set pg_ro_host, or leave --server out")
    if asked != BOTH:
        return (Server(asked),)
    return (Server.PRIMARY, Server.REPLICA) if has_replica(settings) else (Server.PRIMARY,)


def _read_file(path: Path) -> dict[str, str]:
    try:
        return read_conf(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(str(path), (Problem("file", "is not UTF-8", "save it as UTF-8"),)) from None


def _given(options: ProbeOptions) -> dict[str, str]:
    """The options as settings of Kong; whoever gives one of OAuth means that it is used."""
    given = {f"pg_{name}": value for name, value in options.given.items() if name not in SECRETS}
    for name in SECRETS:
        if name in options.given:
            given[f"pg_{name}"] = _secret(name, options.given[name])
    if any(name.startswith("oauth_") for name in options.given):
        given["pg_oauth_auth"] = "on"
    if options.trusted is not None:
        given["lua_ssl_trusted_certificate"] = options.trusted
    return given


def _secret(name: str, file: str) -> str:
    if file != "-":
        log = configure("warning", "auto", sys.stderr)
        return read_secret(str(Path(file).absolute()), f"--{name.replace('_', '-')}-file", log).reveal()
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _print_heading(parameters: Parameters, number: int) -> None:
    where = f"{parameters.host}:{parameters.port}/{parameters.database} as {parameters.user}"
    about = "" if parameters.name == parameters.server else f" ({parameters.server})"
    _say(("\n" * bool(number)) + f"{parameters.name}{about}: {where}", bold=True)
    for warning in warnings(parameters):
        _say(f"  note: {warning}", fg="yellow")


def _print(probed: Probed, *, looked: bool) -> None:
    done = {one.step: one for one in probed.steps}
    for step in Step:
        _print_step(step, done.get(step), _detail(step, probed) if step in done else "")
    if probed.failure is None:
        return
    for title, text in _explained(probed, looked=looked):
        _say(f"  {title}: ", bold=True, nl=False)
        _say(text)


def _print_step(step: Step, done: StepDone | None, detail: str) -> None:
    if done is None:
        _say(f"  - {step}", dim=True)
        return
    sign, colour = (_sign("✓", "ok"), "green") if done.ok else (_sign("✗", "FAILED"), "red")
    _say(f"  {sign} ", fg=colour, nl=False)
    _say(f"{step:<8}{done.seconds * 1000:7.1f} ms  {detail}".rstrip())


def _detail(step: Step, probed: Probed) -> str:
    if probed.failure is not None and probed.failed is step:
        return probed.failure.message
    seen = probed.seen
    match step:
        case Step.TOKEN if probed.token is not None:
            return says_of_token(probed.token)
        case Step.TLS:
            return seen.tls_version or ""
        case Step.READY:
            kind = {True: ", a standby", False: ", not a standby", None: ""}[seen.standby]
            return f"PostgreSQL {seen.server_version}{kind}"
        case _:
            return ""


def _explained(probed: Probed, *, looked: bool) -> Iterator[tuple[str, str]]:
    outcome = outcome_members(probed)
    if probed.seen.wanted is not None:
        yield "the server wants", says_of_wanted(probed.seen.wanted, probed.parameters)
    if outcome is not None:
        yield "our own side says", f"{outcome['reason']}: {outcome['message']}"
        yield "what to do", str(outcome["remedy"])
    else:
        yield "what to do", probed.failure.remedy if probed.failure is not None else ""
    if outcome is None and probed.failed in (Step.SASL, Step.READY):
        if looked:
            yield "our own side", "has nothing of this login yet: is the log of this server followed?"
        yield "on the database's host", where_to_look(probed)
    for hint in probed.hints:
        yield "perhaps", hint


def _sign(sign: str, plain: str) -> str:
    """As the terminal can show it."""
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return sign


def _say(
    text: str, *, nl: bool = True, fg: str | None = None, bold: bool | None = None, dim: bool | None = None
) -> None:
    """What others chose is in most texts: the identity provider, the server, who set the parameters."""
    lines = "\n".join(printable(redact(line)) for line in text.split("\n"))
    click.secho(lines, nl=nl, fg=fg, bold=bold, dim=dim)


def _note(text: str) -> None:
    click.secho(printable(text), err=True, dim=True)
