"""Building the module: by the demo's own compiler call and by PGXS, without a warning, and with help where it fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pgoauthd.demo.place import find_installation
from pgoauthd.demo.shimbuild import COMPILER_FLAGS, MODULE_SOURCES, build_shim, find_sources
from pgoauthd.errors import DemoError

PG_CONFIG = find_installation() / "bin" / "pg_config"


def exported(library: Path) -> set[str]:
    output = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in output.splitlines()}


def test_the_library_exports_what_the_server_looks_for_and_nothing_else(tmp_path: Path) -> None:
    library = build_shim(PG_CONFIG, tmp_path / "build")

    assert exported(library) == {"Pg_magic_func", "_PG_init", "_PG_oauth_validator_module_init"}


def test_another_user_may_read_the_library(tmp_path: Path) -> None:
    assert build_shim(PG_CONFIG, tmp_path).stat().st_mode & 0o777 == 0o755


def test_the_module_compiles_without_a_warning(tmp_path: Path) -> None:
    headers = subprocess.run([PG_CONFIG, "--includedir-server"], capture_output=True, text=True, check=True).stdout
    warnings = ["-Wall", "-Wextra", "-Wmissing-prototypes", "-Wpointer-arith", "-Wdeclaration-after-statement"]
    sources = [find_sources() / name for name in MODULE_SOURCES]

    words: list[str | Path] = [
        "cc",
        *COMPILER_FLAGS,
        *warnings,
        "-Werror",
        "-isystem",
        headers.strip(),
        "-o",
        tmp_path / "x.so",
        *sources,
    ]
    result = subprocess.run(words, capture_output=True, text=True, check=False)

    assert result.stderr == ""
    assert result.returncode == 0


def test_pgxs_installs_the_library(tmp_path: Path) -> None:
    sources = shutil.copytree(find_sources(), tmp_path / "shim")
    target = tmp_path / "root"

    words: list[str | Path] = ["make", "-C", sources, "install", f"PG_CONFIG={PG_CONFIG}", f"DESTDIR={target}"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    (library,) = target.rglob("*.so")
    assert library.name == "pgoauthd.so"
    assert "_PG_oauth_validator_module_init" in exported(library)


def test_make_without_postgresql_says_what_is_missing(tmp_path: Path) -> None:
    sources = shutil.copytree(find_sources(), tmp_path / "shim")

    words: list[str | Path] = ["make", "-C", sources, "PG_CONFIG=/nonexistent/pg_config"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "set PG_CONFIG" in result.stderr


def test_without_a_compiler_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DemoError, match="apt-get install gcc"):
        build_shim(PG_CONFIG, tmp_path)


def test_without_pg_config_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="pg_config cannot be run"):
        build_shim(tmp_path / "pg_config", tmp_path)


def test_without_server_headers_the_error_names_the_package(tmp_path: Path) -> None:
    pg_config = tmp_path / "pg_config"
    pg_config.write_text(f"#!/bin/sh\necho {tmp_path}\n", encoding="utf-8")
    pg_config.chmod(0o755)

    with pytest.raises(DemoError, match="postgresql-server-dev-18"):
        build_shim(pg_config, tmp_path)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    headers = tmp_path / "libpq"
    headers.mkdir()
    (headers / "oauth.h").touch()
    pg_config = tmp_path / "pg_config"
    pg_config.write_text(f"#!/bin/sh\necho {tmp_path}\n", encoding="utf-8")
    pg_config.chmod(0o755)

    with pytest.raises(DemoError, match=r"postgres\.h"):
        build_shim(pg_config, tmp_path / "build")
