"""This process's own limits: no core dumps that could hold tokens, descriptors enough for a storm of logins."""

from __future__ import annotations

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4
"""prctl(2)."""


def forbid_core_dumps() -> str | None:
    """Make this process undumpable (prctl(2) PR_SET_DUMPABLE, getrlimit(2) RLIMIT_CORE).

    Afterwards no core file is written, and processes of the same user cannot attach to this one or read its memory.

    Returns:
        What did not work, for the log; None when both limits hold.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
        return None
    return f"prctl(PR_SET_DUMPABLE) failed: {os.strerror(ctypes.get_errno())}"


def allow_open_files(count: int) -> str | None:
    """Raise the soft limit of open files to `count`, as far as the hard limit goes (getrlimit(2) RLIMIT_NOFILE).

    Without descriptors a login would wait in the backlog instead of being refused with a reason.

    Returns:
        What is missing, for the log; None when the limit suffices.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in (soft, hard):
        hard = max(hard, count)
    if soft < count and soft != resource.RLIM_INFINITY:
        soft = min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= count:
        return None
    return f"only {soft} files may be open, {count} are wanted: raise LimitNOFILE of the service"
