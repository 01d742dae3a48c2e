"""Reads the secrets and keys whose files the configuration names; never shows what is in them."""

from __future__ import annotations

import os
import stat
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.rules import CREDENTIALS
from pgoauthd.errors import ConfigError, Problem

MAX_BYTES = 65_536
"""Of a file with a secret or a key."""


class Secret:
    """A secret text. Shown, formatted, copied or pickled by mistake, it gives nothing away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the code that must send it."""
        return self._text

    def __repr__(self) -> str:
        return "<Secret redacted>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


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
        if not stat.S_ISREG(os.stat(place).st_mode):  # noqa: PTH116 - a pipe would be waited for
            raise unusable(where, f"{path} is not a file", "name a file that the daemon's user can read")
        with open(place, "rb") as file:  # noqa: PTH123 - the mode of what is read, not of what has the name by now
            mode, content = os.fstat(file.fileno()).st_mode, file.read(MAX_BYTES + 1)
    except OSError as error:
        raise unusable(
            where, f"{path} cannot be read: {error.strerror}", "name a file that the daemon's user can read"
        ) from None
    if len(content) > MAX_BYTES:
        raise unusable(where, f"{path} is larger than {MAX_BYTES} bytes", "check which file it is")
    if mode & stat.S_IRWXO:
        log.warning("secret_open_to_everybody", file=path, setting=where, remedy=f"chmod o= {path}")
    return content


def real_path(path: str, where: str) -> str:
    """The path with ${CREDENTIALS_DIRECTORY} at its beginning replaced; ConfigError where systemd gave no directory."""
    if not path.startswith(CREDENTIALS):
        return path
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        remedy = "start the daemon by its systemd unit, with LoadCredential= for the file, or give an absolute path"
        raise unusable(where, f"{path} is there only for systemd's credentials, and there are none", remedy)
    return f"{directory}/{path.removeprefix(CREDENTIALS)}"


def unusable(where: str, what: str, remedy: str) -> ConfigError:
    """The error for a setting whose file cannot be used."""
    return ConfigError("configuration", (Problem(where, what, remedy),))
