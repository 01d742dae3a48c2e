"""The layers of the package: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pgoauthd"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "__init__"),
    ("tokens", "logs", "mapping"),
    ("correlation",),
    ("config", "telemetry"),
    ("runtime",),
    ("replay", "probing", "report", "reporting", "site", "validating", "observing", "generation", "reloader", "daemon"),
    ("commands", "demo"),
    ("cli", "__main__"),
)
"""From the bottom up; a module may import from lower layers and, but for tokens and logs, from its own."""

APART = {
    *((one, other) for one in ("tokens", "logs", "mapping") for other in ("tokens", "logs", "mapping") if one != other),
    ("telemetry", "config"),
}
PURE = ("tokens", "logs", "mapping", "correlation", "errors", "reporting")
WORLDLY = {
    "aiohttp", "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "prometheus_client", "select", "signal",
    "socket", "sqlite3", "structlog", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib.request", "watchdog",
}  # fmt: skip
PROMETHEUS_HOME = "telemetry/metrics.py"

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def home(module: str) -> str:
    return module.split("/", maxsplit=1)[0].removesuffix(".py")


def level(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def imports(module: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found.append(node.module or "")
            found += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "pgoauthd"]
    return found


def test_every_module_has_its_place_in_the_layers() -> None:
    assert MODULES
    for module in MODULES:
        assert level(home(module)) >= 0, module


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_layers(module: str) -> None:
    mine = home(module)
    for name in imports(module):
        if not name.startswith("pgoauthd."):
            continue
        theirs = name.split(".")[1]
        if theirs == "__version__":
            continue
        assert level(theirs) <= level(mine), f"{module} imports {name}"
        assert (mine, theirs) not in APART, f"{module} imports {name}"


@pytest.mark.parametrize("module", [module for module in MODULES if home(module) in PURE])
def test_the_core_never_touches_the_world(module: str) -> None:
    for name in imports(module):
        assert name not in WORLDLY, f"{module} imports {name}"
        assert name.split(".")[0] not in WORLDLY, f"{module} imports {name}"


def test_only_the_metrics_module_knows_prometheus() -> None:
    users = [m for m in MODULES if any(name.split(".")[0] == "prometheus_client" for name in imports(m))]
    assert users == [PROMETHEUS_HOME]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_its_one_job(module: str) -> None:
    docstring = ast.get_docstring(ast.parse((PACKAGE / module).read_text(encoding="utf-8")))
    assert docstring, module
    assert len(docstring.splitlines()[0]) <= 120
