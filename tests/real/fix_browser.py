"""A real browser without a window: Debian's Chromium, which a person's hands are played on by playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SLOWEST_MS = 30_000


def chromium() -> str:
    """The browser's program; the test is skipped, loudly, where there is none."""
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip("NOT TESTED with a real browser: no chromium (tests/install-real-parts.sh programs installs it)")


def browser_version() -> str:
    said = subprocess.run([chromium(), "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:2])


@asynccontextmanager
async def browsing() -> AsyncIterator[Page]:
    """A page of a browser that knows nobody: no cookies, no sessions."""
    program = chromium()
    async with async_playwright() as playwright:
        # Chromium refuses to run its sandbox as root, and a loopback page needs none.
        options = ["--no-sandbox", "--disable-gpu"] if os.geteuid() == 0 else ["--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=program, args=options)
        try:
            page = await browser.new_page()
            page.set_default_timeout(SLOWEST_MS)
            yield page
        finally:
            await browser.close()
