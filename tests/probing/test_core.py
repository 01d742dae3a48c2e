"""The core of the probe never touches the world; what does is named in the package's docstring."""

from __future__ import annotations

import pytest

from pgoauthd import probing
from tests.test_import_direction import MODULES, WORLDLY, imports

CORE = ("parameters", "kongconf", "kongparameters", "tokenrequest", "tokenfacts", "advice", "steps", "probejson")


@pytest.mark.parametrize("name", CORE)
def test_the_core_never_touches_the_world(name: str) -> None:
    found = imports(f"probing/{name}.py")
    assert not WORLDLY.intersection(found)
    assert not WORLDLY.intersection(one.split(".")[0] for one in found)


def test_the_docstring_names_every_module() -> None:
    modules = {
        module.removeprefix("probing/").removesuffix(".py") for module in MODULES if module.startswith("probing/")
    }
    named = set(str(probing.__doc__).replace(",", " ").replace(".", " ").replace(";", " ").split())
    assert modules - {"__init__"} <= named
