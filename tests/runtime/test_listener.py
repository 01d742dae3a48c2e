from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pgoauthd.errors import SocketError
from pgoauthd.runtime.listener import inherited_listener, open_listener

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def dead_socket(path: Path) -> None:
    """A socket file that nobody listens on, as a killed daemon leaves it."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_socket_and_directory_are_for_owner_and_group_alone(tmp_path: Path) -> None:
    place = tmp_path / "run" / "pgoauthd.sock"
    with open_listener(str(place)) as listener:
        assert mode(place) == 0o660
        assert mode(place.parent) == 0o750
        assert listener.path == str(place)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    place = tmp_path / "run" / "pgoauthd.sock"
    before = os.umask(umask)
    try:
        with open_listener(str(place)):
            assert (mode(place.parent), mode(place), mode(Path(f"{place}.lock"))) == (0o750, 0o660, 0o600)
    finally:
        os.umask(before)


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with open_listener(str(tmp_path / "s")):
        assert mode(tmp_path) == 0o711


@as_root
def test_socket_and_new_directory_are_given_to_the_group_that_must_reach_them(tmp_path: Path) -> None:
    group = pwd.getpwnam("nobody").pw_gid
    place = tmp_path / "run" / "s"
    with open_listener(str(place), group=group):
        assert (place.lstat().st_gid, place.parent.stat().st_gid) == (group, group)


def test_a_directory_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(SocketError, match=r"writable for everybody.*chmod"):
        open_listener(str(tmp_path / "s"))


def test_a_sticky_directory_is_as_good_as_tmp(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with open_listener(str(tmp_path / "s")):
        assert (tmp_path / "s").is_socket()


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    dead_socket(tmp_path / "s")
    with open_listener(str(tmp_path / "s")) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.socket.listen()
        client.connect(str(tmp_path / "s"))


def test_a_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(SocketError, match="another process listens here"):
            open_listener(str(tmp_path / "s"))
        assert (tmp_path / "s").is_socket()


def test_a_socket_with_a_full_backlog_counts_as_alive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as first:
        other.bind(str(tmp_path / "s"))
        other.listen(0)
        first.connect(str(tmp_path / "s"))
        with pytest.raises(SocketError, match="another process listens here"):
            open_listener(str(tmp_path / "s"))


def test_two_daemons_cannot_have_the_same_socket(tmp_path: Path) -> None:
    with open_listener(str(tmp_path / "s")), pytest.raises(SocketError, match="another pgoauthd serves this socket"):
        open_listener(str(tmp_path / "s"))


def test_a_killed_daemon_leaves_no_lock_behind(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pgoauthd.runtime.listener import open_listener;"
        "open_listener(sys.argv[1]).socket.listen(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "s")], check=False).returncode == -9
    assert (tmp_path / "s").is_socket()
    with open_listener(str(tmp_path / "s")):
        assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_something_else_in_the_place_is_never_removed(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "s"
    if kind == "file":
        place.write_text("precious")
    elif kind == "directory":
        place.mkdir()
    else:
        (tmp_path / "precious").write_text("precious")
        place.symlink_to(tmp_path / "precious")
    with pytest.raises(SocketError, match="is not a socket"):
        open_listener(str(place))
    assert os.path.lexists(place)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "s.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SocketError):
        open_listener(str(tmp_path / "s"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_path_that_unix_sockets_cannot_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SocketError, match="longer than 107 bytes"):
        open_listener(str(tmp_path / ("x" * 108)))


def test_a_missing_parent_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SocketError, match=r"no/run: No such file"):
        open_listener(str(tmp_path / "no" / "run" / "s"))


def test_after_a_failure_the_lock_is_free_again(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("in the way")
    with pytest.raises(SocketError):
        open_listener(str(tmp_path / "s"))
    (tmp_path / "s").unlink()
    with open_listener(str(tmp_path / "s")):
        assert (tmp_path / "s").is_socket()


def test_closing_removes_the_socket(tmp_path: Path) -> None:
    with open_listener(str(tmp_path / "s")):
        pass
    assert not os.path.lexists(tmp_path / "s")


def test_closing_leaves_a_socket_that_took_our_place(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with open_listener(str(place)):
        # a second name keeps the inode from being used again at once
        place.rename(tmp_path / "moved")
        dead_socket(place)
    assert place.is_socket()


def test_an_inherited_unix_socket_is_taken_and_its_file_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as handed, socket.create_server(("127.0.0.1", 0)) as tcp:
        handed.bind(str(tmp_path / "s"))
        handed.listen()
        listener = inherited_listener((tcp, handed.dup()))
        assert listener is not None
        assert listener.path == str(tmp_path / "s")
        listener.close()
    assert (tmp_path / "s").is_socket()


def test_without_an_inherited_unix_socket_there_is_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        assert inherited_listener((tcp, datagrams)) is None
        assert inherited_listener(()) is None
