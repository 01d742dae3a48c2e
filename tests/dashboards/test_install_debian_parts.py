from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.dashboards.fix_promql import ROOT

SCRIPT = ROOT / "tests/install-debian-parts.sh"
PROGRAMS = ("promtool", "prometheus", "prometheus-alertmanager")


def run(path: Path) -> subprocess.CompletedProcess[str]:
    """The script on a host that has only what is in `path`; with neither apt-get nor the rights it installs nothing."""
    environment = os.environ | {"PATH": str(path)}
    shell = shutil.which("sh") or "/bin/sh"
    return subprocess.run(
        (shell, str(SCRIPT)), env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def provide(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (directory / name).chmod(0o755)


def test_nothing_happens_where_everything_is_there(tmp_path: Path) -> None:
    provide(tmp_path, *PROGRAMS, "apt-get")
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_apt_get_it_says_what_is_lacking_and_does_not_fail(tmp_path: Path) -> None:
    provide(tmp_path, "promtool", "prometheus")
    done = run(tmp_path)
    assert done.returncode == 0
    assert "there is no apt-get here" in done.stderr
    assert "lacking: prometheus-alertmanager\n" in done.stderr


def test_promtool_alone_is_not_enough(tmp_path: Path) -> None:
    provide(tmp_path, "promtool", "prometheus-alertmanager")
    assert "lacking: prometheus\n" in run(tmp_path).stderr


def test_others_than_root_are_told_what_to_install(tmp_path: Path) -> None:
    provide(tmp_path, "apt-get")
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n", encoding="utf-8")
    (tmp_path / "id").chmod(0o755)
    done = run(tmp_path)
    assert done.returncode == 0
    assert "only root may install packages" in done.stderr
    assert "apt-get install --no-install-recommends prometheus prometheus-alertmanager" in done.stderr
