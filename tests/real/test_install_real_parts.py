from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TOOLS = ("dirname", "mkdir", "cat", "cksum", "rm", "mv", "tail", "sed", "head", "id", "touch", "sort", "ln", "dpkg")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A checkout with the script in it, on a host that has no more than a shell and what is in bin."""
    (tmp_path / "tests" / "real").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("install-real-parts.sh", "real/run-in-tree.sh"):
        shutil.copy(TESTS / name, tmp_path / "tests" / name)
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    return tmp_path


def provide(host: Path, *names: str, status: int = 0) -> None:
    for name in names:
        (host / "bin" / name).write_text(f"#!/bin/sh\necho {name} was run >&2\nexit {status}\n", encoding="utf-8")
        (host / "bin" / name).chmod(0o755)


def run(host: Path, part: str, **mirror: str) -> subprocess.CompletedProcess[str]:
    words = (shutil.which("sh") or "/bin/sh", str(host / "tests" / "install-real-parts.sh"), part)
    environment = os.environ | {"PATH": str(host / "bin")}
    return subprocess.run(words, env=environment | mirror, capture_output=True, text=True, timeout=60, check=False)


def test_programs_that_are_there_are_not_installed(host: Path) -> None:
    provide(host, "chromium", "java", "mvn", "apt-get")
    done = run(host, "programs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_programs_that_cannot_be_installed_are_named(host: Path) -> None:
    provide(host, "java")
    done = run(host, "programs")
    assert done.returncode == 0
    assert "*** lacking: chromium maven; only root" in done.stderr


@pytest.mark.parametrize(("there", "lacking"), [((), "apt-get"), (("apt-get", "dpkg-deb"), "unshare")])
def test_a_host_that_can_have_no_tree_says_what_it_lacks(host: Path, there: tuple[str, ...], lacking: str) -> None:
    provide(host, *there)
    done = run(host, "tree")
    assert done.returncode == 0
    assert f"*** no tree of Debian without {lacking}" in done.stderr


def test_a_tree_that_cannot_be_fetched_is_none_and_leaves_nothing(host: Path) -> None:
    provide(host, "apt-get", status=100)
    provide(host, "dpkg-deb", "unshare")
    done = run(host, "tree", PGOAUTHD_DEBIAN_MIRROR="http://mirror.invalid/debian")
    assert done.returncode == 0
    if "debian-archive-keyring" not in done.stderr:
        assert "*** the tree of Debian could not be made" in done.stderr
        assert "apt-get was run" in done.stderr, "what failed is shown"
    assert list((host / ".real").iterdir()) == []


def test_a_host_whose_apt_knows_no_debian_is_told_what_to_set(host: Path) -> None:
    provide(host, "apt-get", "dpkg-deb", "unshare")
    done = run(host, "tree")
    assert "PGOAUTHD_DEBIAN_MIRROR" in done.stderr or "debian-archive-keyring" in done.stderr


def test_a_tree_that_is_there_is_not_made_again(host: Path) -> None:
    provide(host, "apt-get", "dpkg-deb", "unshare", status=1)
    sources = [host / "tests" / "install-real-parts.sh", host / "tests" / "real" / "run-in-tree.sh"]
    stamp = subprocess.run(
        ["cksum"], input=b"".join(path.read_bytes() for path in sources), capture_output=True, check=True
    ).stdout
    (host / ".real" / "debian").mkdir(parents=True)
    (host / ".real" / "debian" / "stamp").write_bytes(stamp)
    done = run(host, "tree")
    assert (done.returncode, done.stderr) == (0, "")
