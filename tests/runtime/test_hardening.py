from __future__ import annotations

import subprocess
import sys

import pytest


def run(script: str) -> str:
    """In a process of its own, as these limits cannot be taken back."""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_core_is_dumped_and_nobody_attaches() -> None:
    said = run("""
import ctypes, resource
from pgoauthd.runtime.hardening import forbid_core_dumps
print(forbid_core_dumps(), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
""")
    assert said == "None 0 (0, 0)"


@pytest.mark.parametrize(
    ("limit", "wanted", "soft", "said"),
    [
        ((64, 4096), 2048, 2048, "None"),
        ((1024, 4096), 512, 1024, "None"),
        ((64, 128), 2048, 128, "only 128 files may be open, 2048 are wanted: raise LimitNOFILE of the service"),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(
    limit: tuple[int, int], wanted: int, soft: int, said: str
) -> None:
    assert (
        run(f"""
import resource
from pgoauthd.runtime.hardening import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, {limit})
print(allow_open_files({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
""")
        == f"{said} {soft}"
    )
