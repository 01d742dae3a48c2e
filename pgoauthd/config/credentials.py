"""Where the file is that a setting names, if need be among systemd's credentials (systemd.exec(5)); reads no file."""

from __future__ import annotations

import os

CREDENTIALS = "${CREDENTIALS_DIRECTORY}/"
"""What a *_file may begin with: where systemd puts the service's credentials."""


def resolve(path: str) -> str | None:
    """The path with CREDENTIALS at its beginning replaced; None where systemd gave this process no directory."""
    if not path.startswith(CREDENTIALS):
        return path
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return f"{directory}/{path.removeprefix(CREDENTIALS)}" if directory else None
