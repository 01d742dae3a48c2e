"""The wire code as a library that Python calls, to compare it with Python's own JSON."""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgoauthd.demo.shimbuild import find_sources

OK, MORE, BAD = range(3)
"""WireResult of shim/wire.h."""

STRINGS = (
    "token",
    "role",
    "database",
    "client_addr",
    "session_id",
    "hba_file",
    "issuer",
    "scope",
    "audience",
    "usermap",
    "cluster_name",
)


class WireRequest(ctypes.Structure):
    _fields_ = (
        ("token", ctypes.c_char_p),
        ("role", ctypes.c_char_p),
        ("database", ctypes.c_char_p),
        ("client_addr", ctypes.c_char_p),
        ("client_port", ctypes.c_int),
        ("session_id", ctypes.c_char_p),
        ("pid", ctypes.c_int),
        ("hba_file", ctypes.c_char_p),
        ("hba_line", ctypes.c_int),
        ("issuer", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("audience", ctypes.c_char_p),
        ("usermap", ctypes.c_char_p),
        ("delegate", ctypes.c_bool),
        ("server_version", ctypes.c_int),
        ("cluster_name", ctypes.c_char_p),
    )


class WireHead(ctypes.Structure):
    _fields_ = (("status", ctypes.c_int), ("size", ctypes.c_size_t), ("content_length", ctypes.c_size_t))


class WireReply(ctypes.Structure):
    _fields_ = (
        ("authorized", ctypes.c_bool),
        ("has_authn_id", ctypes.c_bool),
        ("authn_id", ctypes.c_char * 257),
        ("reason", ctypes.c_char * 65),
        ("message", ctypes.c_char * 1001),
        ("remedy", ctypes.c_char * 1001),
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the wire code made of an answer that it accepted."""

    authorized: bool
    authn_id: str | None
    reason: str
    message: str
    remedy: str


@functools.cache
def _library() -> ctypes.CDLL:
    compiler = shutil.which("cc") or "gcc"
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    path = directory / "wire.so"
    sources = [find_sources() / "wire.c", find_sources() / "wirejson.c"]
    subprocess.run([compiler, "-std=gnu11", "-O1", "-fPIC", "-shared", "-o", path, *sources], check=True)
    library = ctypes.CDLL(str(path))
    library.wire_build_request.restype = ctypes.c_size_t
    return library


def build_request(values: dict[str, Any]) -> bytes:
    """The request for these members; strings are bytes, and hold no NUL."""
    request = WireRequest(**values)
    size = _library().wire_build_request(ctypes.byref(request), None, ctypes.c_size_t(0))
    buffer = ctypes.create_string_buffer(size)
    assert _library().wire_build_request(ctypes.byref(request), buffer, ctypes.c_size_t(size)) == size
    return buffer.raw


def read_body(body: bytes, status: int = 200) -> Reply | str:
    """What the body of an answer says, or what is wrong with it."""
    head = WireHead(status=status, content_length=len(body))
    reply = WireReply()
    problem = ctypes.c_char_p()
    result = _library().wire_read_body(
        ctypes.byref(head), body, ctypes.c_size_t(len(body)), ctypes.byref(reply), ctypes.byref(problem)
    )
    if result != OK:
        assert result == BAD
        assert problem.value is not None
        return problem.value.decode()
    return Reply(
        authorized=reply.authorized,
        authn_id=reply.authn_id.decode() if reply.has_authn_id else None,
        reason=reply.reason.decode(),
        message=reply.message.decode(),
        remedy=reply.remedy.decode(),
    )
