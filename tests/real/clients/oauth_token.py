"""Gives the libpq in psycopg's wheel a token for each connection (Linux); never opens one."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg  # loads its libpq

BEARER_TOKEN = 1
"""PQAUTHDATA_OAUTH_BEARER_TOKEN of libpq-fe.h, version 18."""
NOT_MINE, DONE, FAILED = 0, 1, -1


class BearerRequest(ctypes.Structure):
    """PGoauthBearerRequest of libpq-fe.h: what libpq knows, and where it looks for the token."""

    _fields_ = (
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("begin", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    )


HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_logger = logging.getLogger(__name__)
_hooks: list[object] = []
_held = threading.local()


def provide_tokens(get_token: Callable[[], str]) -> None:
    """Have libpq call `get_token` whenever a connection of this process needs one."""

    def answer(kind: int, _connection: int | None, data: int | None) -> int:
        if kind != BEARER_TOKEN or data is None:
            return NOT_MINE
        try:
            _held.token = get_token().encode("ascii")  # until libpq has copied it, which it does next, in this thread
        except Exception:  # which C could not take
            _logger.exception("no token for a connection to PostgreSQL")
            return FAILED
        BearerRequest.from_address(data).token = _held.token
        return DONE

    _hooks.append(HOOK(answer))  # C does not keep it alive
    ctypes.CDLL(_loaded_libpq()).PQsetAuthDataHook(_hooks[-1])


def _loaded_libpq() -> str:
    """Where the libpq is that psycopg has loaded: another copy of it would have a hook of its own."""
    found = re.search(r"/\S*/libpq(-\w{8})?\.so\S*", Path("/proc/self/maps").read_text(encoding="utf-8"))
    if found is None or psycopg.pq.version() < 180000:
        raise RuntimeError("no libpq 18 is loaded: install psycopg[binary] 3.3 or later")
    return found[0]
