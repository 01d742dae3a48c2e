"""psql's own device flow: psql and libpq-oauth as Debian has them, and alice at the identity provider's pages."""

from __future__ import annotations

import asyncio
import os
import re
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from playwright.async_api import Page

from pgoauthd.demo.cluster import DemoCluster
from tests.real import fix_debian

PROMPT = re.compile(r"^Visit (\S+) and enter the code: (\S+)$", re.MULTILINE)
LONGEST_SECONDS = 90
HTTP_ALLOWED = {18: "UNSAFE", 19: "UNSAFE:http"}
"""PGOAUTHDEBUG: an issuer on loopback has no certificate."""

Verify = Callable[[Page, str, str], Awaitable[None]]
"""What the person does with address and code."""


@dataclass(frozen=True)
class Shown:
    """What psql showed; its trace, which holds secrets, is left out."""

    prompts: int
    output: str
    errors: str
    status: int | None


async def approve(page: Page, url: str, code: str) -> None:
    """Log in as alice and grant what the page says that psql asks for."""
    await _log_in(page, url, code)
    await page.locator("#kc-login").click()
    await page.get_by_text("Device Login Successful").wait_for()


async def deny(page: Page, url: str, code: str) -> None:
    await _log_in(page, url, code)
    await page.locator("#kc-cancel").click()
    await page.get_by_text("Consent denied").wait_for()


async def _log_in(page: Page, url: str, code: str) -> None:
    await page.goto(url)
    await page.locator("input[name=device_user_code]").fill(code)
    await page.locator("input[type=submit], button[type=submit]").first.click()
    await page.locator("#username").fill("alice")
    await page.locator("#password").fill("alice")
    await page.locator("#kc-login").click()
    await page.get_by_text("Grant Access").first.wait_for()


async def log_in_with_psql(
    version: int, cluster: DemoCluster, page: Page, verify: Verify, parameters: Mapping[str, str]
) -> Shown:
    """Run psql as a person does, who follows its prompt."""
    whole = {"host": "127.0.0.1", "port": str(cluster.port), "user": "alice", **parameters}
    words = " ".join(f"{name}='{value}'" for name, value in whole.items())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = await asyncio.create_subprocess_exec(
        *(str(fix_debian.psql(version)), "-XAtc", "SELECT current_user || ' is ' || system_user", words),
        env=environment | {"PGOAUTHDEBUG": HTTP_ALLOWED[version], "LC_ALL": "C"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            said = b""
            prompts = 0
            while line := await process.stderr.readline():
                said += line
                if (prompt := PROMPT.match(line.decode())) is not None:
                    prompts += 1
                    await verify(page, prompt[1], prompt[2])
            output = (await process.stdout.read()).decode()
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Shown(prompts, output, _errors(said.decode()), status)


def _errors(text: str) -> str:
    """What psql says in the end, without the trace of what it sent and got."""
    _, found, last = text.rpartition("psql: error: ")
    return found + last if found else ""
