"""Tries the files that a good configuration names, as the daemon will, for `pgoauthd check-config`; keeps nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial

from pgoauthd.config.credentials import resolve
from pgoauthd.config.values import Config, Issuer, Probe
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.probing.configured import configured
from pgoauthd.probing.prober import Prober
from pgoauthd.runtime.clock import SystemClock
from pgoauthd.runtime.identfiles import Disk, read_ident_map
from pgoauthd.runtime.idp.clientauth import client_auth
from pgoauthd.runtime.idp.credentials import real_path
from pgoauthd.runtime.idp.tls import tls_context
from pgoauthd.runtime.tailing.logdir import LogDirectory
from pgoauthd.telemetry.log import configure


def try_files(config: Config, source: str) -> tuple[str, ...]:
    """What could not be tried, or does not stop the daemon; ConfigError with all that would.

    Secrets that are open to everybody are warned of on standard error, as the daemon does it in its log.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    attempts = [attempt for issuer in config.issuers for attempt in _attempts(issuer)]
    for files, use in (*attempts, *map(_attempt_at_probe, config.probes)):
        if away := [file for file in files if resolve(file) is None]:
            notes += [f"not looked for: {file}, as CREDENTIALS_DIRECTORY is set for the service alone" for file in away]
        elif closed := [file for file in files if not os.access(real_path(file, ""), os.R_OK)]:
            notes.append(f"not tried: {', '.join(closed)}, closed to this user; check as the user of the daemon")
        else:
            try:
                use()
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(source, tuple(problems))
    return (*notes, *_about_logs(config), *_about_ident_files(config))


def _attempts(issuer: Issuer) -> Iterator[tuple[list[str], Callable[[], object]]]:
    """What the daemon builds of files, each with the files."""
    yield _given(issuer.ca_file, issuer.tls_certificate_file, issuer.tls_key_file), partial(tls_context, issuer)
    if (asked := issuer.introspection) is not None:
        log = configure("warning", "auto", sys.stderr)
        yield _given(asked.client_secret_file, asked.private_key_file), partial(client_auth, issuer, asked, log)


def _attempt_at_probe(probe: Probe) -> tuple[list[str], Callable[[], object]]:
    files = _given(probe.sslrootcert, probe.ca_file, probe.oauth_client_secret_file, probe.oauth_password_file)
    return files, lambda: Prober(configured(probe, configure("warning", "auto", sys.stderr)), SystemClock())


def _given(*files: str | None) -> list[str]:
    return [file for file in files if file is not None]


def _about_logs(config: Config) -> Iterator[str]:
    for cluster in config.clusters:
        errors: dict[str, OSError] = {}
        directory = LogDirectory(cluster.logs, errors.__setitem__)
        directory.look()
        for entry in directory.empty_entries:
            why = errors[entry].strerror if entry in errors else "nothing is there"
            yield (
                f"cluster {cluster.name}: no log is found at {entry}: {why}; the daemon waits for one. If the server "
                "does log, look at its log_directory and log_filename, or check as the user of the daemon"
            )


def _about_ident_files(config: Config) -> Iterator[str]:
    for cluster in config.clusters:
        if cluster.ident_file is None:
            continue
        if (problem := read_ident_map(cluster.ident_file, Disk()).problem) is not None:
            yield (
                f"cluster {cluster.name}: its ident_file cannot be used: {problem}; "
                "logins go on, but outcomes cannot say what a map does"
            )
