from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import click
import pytest

from pgoauthd.cli import cli
from pgoauthd.config.reader import load
from pgoauthd.config.values import Callout, State

UNITS = Path(__file__).parents[2] / "systemd"
SERVICE = UNITS / "pgoauthd.service"
SOCKET = UNITS / "pgoauthd.socket"
EXPOSURE = 12
"""Tenths: 1.2."""
TIMEOUT_SECONDS = 60


def settings(unit: Path) -> dict[str, list[str]]:
    """All values of each setting, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if not line.startswith(("#", "[")) and "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"NOT TESTED: {name} is missing; apt-get install systemd")
    return path


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)


def verify(directory: Path, *, replacing: tuple[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """systemd-analyze verify on copies whose programs exist."""
    analyze = program("systemd-analyze")
    stub = directory / "pgoauthd"
    stub.write_text("#!/bin/sh\n", encoding="utf-8")
    stub.chmod(0o755)
    copies = []
    for unit in (SERVICE, SOCKET):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/pgoauthd", str(stub))
        copies.append(directory / unit.name)
        copies[-1].write_text(text.replace(*replacing) if replacing else text, encoding="utf-8")
    return run(analyze, "verify", "--man=no", *map(str, copies))


def test_systemd_accepts_the_units_without_a_complaint(tmp_path: Path) -> None:
    done = verify(tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("replacing", "complaint"),
    [
        (("ProtectSystem=strict", "ProtectSytem=strict"), "ProtectSytem"),
        (("Type=notify", "Type=notfy"), "notfy"),
        (("SocketMode=0660", "SocketMode=0999"), "0999"),
        (("SystemCallFilter=@system-service", "SystemCallFilter=@no-such-set"), "no-such-set"),
    ],
)
def test_systemd_complains_about_a_mistake(tmp_path: Path, replacing: tuple[str, str], complaint: str) -> None:
    done = verify(tmp_path, replacing=replacing)
    assert complaint in done.stdout + done.stderr


def test_the_service_is_exposed_to_little() -> None:
    done = run(program("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE}", str(SERVICE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_the_service_would_be_exposed_without_its_sandbox(tmp_path: Path) -> None:
    bare = tmp_path / SERVICE.name
    bare.write_text(
        re.sub(r"^Protect.*\n", "", SERVICE.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8"
    )
    done = run(program("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE}", str(bare))
    assert done.returncode == 1


def test_systemd_makes_the_user_and_its_groups(tmp_path: Path) -> None:
    sysusers = program("systemd-sysusers")
    done = run(sysusers, "--dry-run", f"--root={tmp_path}", str(UNITS / "sysusers.d/pgoauthd.conf"))
    assert done.returncode == 0, done.stderr
    assert "Creating user 'pgoauthd'" in done.stderr
    for group in ("adm", "postgres"):
        assert f"Creating group '{group}'" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give directories to others")
def test_systemd_makes_the_directory_of_the_socket_for_the_servers_group(tmp_path: Path) -> None:
    sysusers, tmpfiles = program("systemd-sysusers"), program("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    made = run(sysusers, f"--root={tmp_path}", str(UNITS / "sysusers.d/pgoauthd.conf"))
    assert made.returncode == 0, made.stderr
    done = run(tmpfiles, "--create", f"--root={tmp_path}", str(UNITS / "tmpfiles.d/pgoauthd.conf"))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    lines = (tmp_path / "etc/group").read_text(encoding="utf-8").splitlines()
    groups = {name: int(gid) for name, _, gid, _ in (line.split(":") for line in lines)}
    for path, group in (("run/pgoauthd", "postgres"), ("etc/pgoauthd", "pgoauthd")):
        found = (tmp_path / path).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o750, 0, groups[group])


def tmpfiles_lines() -> dict[str, list[str]]:
    text = (UNITS / "tmpfiles.d/pgoauthd.conf").read_text(encoding="utf-8")
    return {line.split()[1]: line.split() for line in text.splitlines() if not line.startswith("#")}


def test_shim_daemon_and_units_mean_the_same_socket() -> None:
    (path,) = settings(SOCKET)["ListenStream"]
    assert path == Callout().socket == load(UNITS / "pgoauthd.toml").callout.socket
    assert str(Path(path).parent) in tmpfiles_lines()


def test_the_servers_group_can_reach_the_socket() -> None:
    socket = settings(SOCKET)
    (group,) = socket["SocketGroup"]
    assert socket["SocketMode"] == ["0660"]
    assert tmpfiles_lines()["/run/pgoauthd"][2:5] == ["0750", "root", group]


def test_stopping_the_service_does_not_take_the_socket_away() -> None:
    made_and_removed = {Path("/run") / name for name in settings(SERVICE)["RuntimeDirectory"]}
    assert Path(Callout().socket).parent not in made_and_removed


def test_verdicts_outlive_the_service() -> None:
    service = settings(SERVICE)
    assert service["RuntimeDirectoryPreserve"] == ["yes"]
    assert service["RuntimeDirectoryMode"] == ["0700"]
    assert settings(SERVICE)["Requires"] == ["pgoauthd.socket"]
    assert "pgoauthd.socket" in settings(SERVICE)["After"][0].split()


def test_the_daemon_sees_who_asks() -> None:
    assert settings(SERVICE).get("PrivateUsers", ["no"]) == ["no"], "SO_PEERCRED would show nobody"


def test_the_daemon_may_write_where_it_has_to() -> None:
    service = settings(SERVICE)
    assert Path(State().path).parent == Path("/var/lib", *service["StateDirectory"])
    outcomes = load(UNITS / "pgoauthd.toml").outcomes.path
    assert outcomes is not None
    assert Path(outcomes).parent == Path("/var/log", *service["LogsDirectory"])


def test_no_core_dump_can_hold_a_token() -> None:
    assert settings(SERVICE)["LimitCORE"] == ["0"]


@pytest.mark.parametrize("setting", ["ExecStartPre", "ExecStart", "ExecReload"])
def test_the_commands_of_the_unit_are_commands_of_ours(setting: str) -> None:
    path, command, *arguments = shlex.split(settings(SERVICE)[setting][0])
    assert path == "/usr/bin/pgoauthd"
    parsed = cli.commands[command].make_context(command, arguments)
    assert isinstance(parsed, click.Context)
    assert Path("/etc/pgoauthd/pgoauthd.toml") in parsed.params.values()


def test_a_reload_checks_the_file_before_it_tells_the_daemon() -> None:
    check, tell = settings(SERVICE)["ExecReload"]
    assert check == settings(SERVICE)["ExecStartPre"][0]
    assert tell == "/bin/kill -HUP $MAINPID"


def test_the_example_configuration_is_good() -> None:
    config = load(UNITS / "pgoauthd.toml")
    assert [issuer.label for issuer in config.issuers] == ["people"]
    assert [cluster.name for cluster in config.clusters] == ["main"]


def test_what_the_example_leaves_commented_out_is_good_as_well(tmp_path: Path) -> None:
    text = (UNITS / "pgoauthd.toml").read_text(encoding="utf-8")
    enabled = tmp_path / "pgoauthd.toml"
    enabled.write_text(re.sub(r"^# (?=\[\[notify|\w+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")
    (notify,) = load(enabled).notify
    assert (notify.name, notify.kind) == ("ops", "alertmanager")
