"""Reads the secrets and keys whose files the configuration names; never shows what is in them."""

from __future__ import annotations

import stat

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.credentials import resolve
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.runtime.readable import opened_to_read, read_up_to
from pgoauthd.tokens.redacted import Redacted

MAX_BYTES = 65_536
"""Of a file with a secret or a key."""


class Secret(Redacted):
    """A secret text."""

    __slots__ = ()


def read_secret(path: str, where: str, log: FilteringBoundLogger) -> Secret:
    """The secret in a file, without one line break at its end; ConfigError where there is none."""
    content = read_private_file(path, where, log)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise unusable(where, f"{path} is not text", "write the secret into it as UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise unusable(where, f"{path} is empty", "write the client's secret into it")
    if not text.isprintable():
        raise unusable(where, f"{path} has more than one line, or control characters", "write the secret alone into it")
    return Secret(text)


def read_private_file(path: str, where: str, log: FilteringBoundLogger) -> bytes:
    """What is in a file that should be its owner's alone: a warning where it is everybody's, ConfigError without it."""
    place = real_path(path, where)
    try:
        with opened_to_read(place) as (descriptor, status):
            if not stat.S_ISREG(status.st_mode):
                raise unusable(where, f"{path} is not a file", "name a file that the daemon's user can read")
            content = read_up_to(descriptor, MAX_BYTES + 1)
    except OSError as error:
        raise unusable(
            where, f"{path} cannot be read: {error.strerror}", "name a file that the daemon's user can read"
        ) from None
    if len(content) > MAX_BYTES:
        raise unusable(where, f"{path} is larger than {MAX_BYTES} bytes", "check which file it is")
    if status.st_mode & stat.S_IRWXO:
        log.warning("secret_open_to_everybody", file=path, setting=where, remedy=f"chmod o= {path}")
    return content


def real_path(path: str, where: str) -> str:
    """The path with ${CREDENTIALS_DIRECTORY} at its beginning replaced; ConfigError where systemd gave no directory."""
    place = resolve(path)
    if place is None:
        remedy = "start the daemon by its systemd unit, with LoadCredential= for the file, or give an absolute path"
        raise unusable(where, f"{path} is there only for systemd's credentials, and there are none", remedy)
    return place


def unusable(where: str, what: str, remedy: str) -> ConfigError:
    """The error for a setting whose file cannot be used."""
    return ConfigError("configuration", (Problem(where, what, remedy),))
