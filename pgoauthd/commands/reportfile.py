"""Writes a report to a file, whole or not at all; it follows no link and replaces nothing but an older report."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from pgoauthd.errors import PgoauthdError
from pgoauthd.reporting.values import KIND
from pgoauthd.runtime.readable import opened_to_read, read_up_to

HEAD_BYTES = 1024
"""In which a report, in whatever format, says that it is one."""


def write_report(path: Path, text: str) -> None:
    """Make the file, for its owner alone, as it holds personal data; PgoauthdError where something else is there.

    Whoever reads the path meanwhile has the older report or this one, never a piece.
    """
    _check_place(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    except OSError as error:
        raise PgoauthdError(f"{path}: cannot be made: {error.strerror}; check its directory") from None
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor has no path
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise PgoauthdError(f"{path}: cannot be written: {error.strerror}") from None
        raise


def _check_place(path: Path) -> None:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(there.st_mode):
        raise PgoauthdError(f"{path}: is a symbolic link; name the file itself, or remove the link")
    if not stat.S_ISREG(there.st_mode):
        raise PgoauthdError(f"{path}: is there and is not a file; choose another name, or leave --output out")
    with opened_to_read(str(path)) as (descriptor, _):
        head = read_up_to(descriptor, HEAD_BYTES)
    if head and KIND.encode() not in head:
        raise PgoauthdError(f"{path}: is there and is no report; it stays as it is: remove it or choose another name")
