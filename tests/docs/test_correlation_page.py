from __future__ import annotations

from pathlib import Path

from pgoauthd.correlation.diagram import render
from pgoauthd.correlation.outcome import Unmatched

PAGE = (Path(__file__).parents[2] / "docs" / "correlation.md").read_text(encoding="utf-8")


def test_the_diagram_of_the_page_is_that_of_the_table() -> None:
    assert PAGE.split("```mermaid\n")[1].split("\n```")[0] == render()


def test_every_kind_that_cannot_be_joined_is_explained() -> None:
    for kind in Unmatched:
        assert f"| `{kind}` |" in PAGE
