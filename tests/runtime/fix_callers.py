"""Thousands of callers as another user of the operating system: one child process with real connections."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")

CALLERS = """
import json, os, selectors, socket, sys, time
uid, path, count, request = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.stdin.buffer.read()
os.setuid(uid)
waiting = selectors.DefaultSelector()
replies, seconds = {}, []
for number in range(count):
    one = socket.socket(socket.AF_UNIX)
    one.connect(path)
    started = time.monotonic()
    try:
        one.sendall(request.replace(b"NUMBER", b"%06x" % number))
    except ConnectionError:
        pass
    waiting.register(one, selectors.EVENT_READ, started)
    replies[one] = b""
while replies and (ready := waiting.select(timeout=30)):
    for key, _ in ready:
        try:
            part = key.fileobj.recv(65536)
        except ConnectionError:
            part = b""
        replies[key.fileobj] += part
        if not part:
            waiting.unregister(key.fileobj)
            key.fileobj.close()
            seconds.append(time.monotonic() - key.data)
            print(json.dumps([replies.pop(key.fileobj).decode(), seconds[-1]]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Replies:
    """What all callers got."""

    reasons: Counter[str]
    authorized: int
    unanswered: int
    slowest_seconds: float


async def call(path: str, request: bytes, *, uid: int, count: int) -> Replies:
    """Ask so many times at once, as this user; NUMBER in the request is another for each."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CALLERS, str(uid), path, str(count)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**20,
    )
    said, _ = await child.communicate(request)
    assert child.returncode == 0
    return _counted([json.loads(line) for line in said.splitlines()], count)


def _counted(lines: list[tuple[str, float]], count: int) -> Replies:
    bodies = [json.loads(body) for raw, _ in lines if (body := raw.partition("\r\n\r\n")[2])]
    return Replies(
        reasons=Counter(body["reason"] for body in bodies),
        authorized=sum(body["authorized"] is not False for body in bodies),
        unanswered=count - len(bodies),
        slowest_seconds=max(seconds for _, seconds in lines),
    )


def let_everybody_reach(path: str) -> None:
    """Permissions that let all users connect, so that the peer's uid alone decides."""
    socket = Path(path)
    socket.chmod(0o777)
    for place in socket.parents:
        if place.stat().st_mode & 0o001:
            break
        place.chmod(0o711)
