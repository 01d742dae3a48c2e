"""The documentation of the configuration against the reader: every example is good, every key stands in its table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from pgoauthd.config.reader import parse
from pgoauthd.config.values import Config
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.profiles import PROFILES, profile_defaults

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
PAGES = {
    "configuration.md": PAGE,
    "README.md": (ROOT / "README.md").read_text(encoding="utf-8"),
    "log-only.md": (ROOT / "docs" / "log-only.md").read_text(encoding="utf-8"),
}
EXAMPLES = [
    pytest.param(block, id=f"{name}-{number}")
    for name, page in PAGES.items()
    for number, block in enumerate(re.findall(r"^ *```toml\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL), 1)
]
NOT_HERE = "is not a file"
"""The files that examples name are on other hosts."""


def headings(kind: type[msgspec.Struct] = Config, prefix: str = "") -> list[tuple[type[msgspec.Struct], str]]:
    """All structs of a configuration, with the header of their table."""
    found = []
    for field in msgspec.structs.fields(kind):
        for part in (field.type, *get_args(field.type)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                name = f"{prefix}{field.name}"
                found.append((part, f"[[{name}]]" if ... in get_args(field.type) else f"[{name}]"))
                found += headings(part, f"{name}.")
    return found


HEADINGS = headings()
KEYS = [
    pytest.param(heading, field, id=f"{heading}-{field.name}")
    for kind, heading in HEADINGS
    for field in msgspec.structs.fields(kind)
    if not any(heading.strip("[]") + f".{field.name}" == inner.strip("[]") for _, inner in HEADINGS)
]


def section(heading: str) -> str:
    """What stands under the heading of a table, without the sections of its inner tables."""
    depth = 2 if "." not in heading else 3
    match = re.search(
        rf"^#{{{depth}}} `{re.escape(heading)}`.*?(?=^#{{2,{depth}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert match is not None, f"no section {heading}"
    return re.sub(r"^### `\[.*?(?=^### |\Z)", "", match[0], flags=re.MULTILINE | re.DOTALL) if depth == 2 else match[0]


def documented(heading: str) -> dict[str, tuple[str, str]]:
    """Default and meaning by key, of all tables of keys under the heading."""
    tables = re.findall(r"^\| key \| default \| meaning \|\n(.*?)(?=^$|\Z)", section(heading), re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*) \|$", "\n".join(tables), re.MULTILINE)
    return {key: (default, meaning) for key, default, meaning in found}


def problems(text: str) -> tuple[Problem, ...]:
    try:
        parse(text, as_service=False)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_good(example: str) -> None:
    assert re.match(r"\s*\[\[(issuers|clusters)\]\]", example), "an example is whole, so that it can be copied"
    assert [problem for problem in problems(example) if NOT_HERE not in problem.what] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 15


@pytest.mark.parametrize("profile", [profile for profile in PROFILES if profile != "generic"])
def test_every_profile_has_an_example_that_needs_nothing_but_issuer_and_audience(profile: str) -> None:
    example = next(block.values[0] for block in EXAMPLES if f'profile = "{profile}"' in str(block.values[0]))
    config = parse(str(example))
    assert config.issuers[0].profile == profile
    assert isinstance(config.issuers[0].policy, IssuerPolicy)


@pytest.mark.parametrize(("heading", "field"), KEYS)
def test_every_key_stands_in_its_table(heading: str, field: msgspec.structs.FieldInfo) -> None:
    assert field.name in documented(heading)


@pytest.mark.parametrize("heading", [heading for _, heading in HEADINGS])
def test_no_key_is_documented_that_does_not_exist(heading: str) -> None:
    (kind,) = [kind for kind, name in HEADINGS if name == heading]
    assert set(documented(heading)) <= set(kind.__struct_fields__)


@pytest.mark.parametrize(("heading", "field"), KEYS)
def test_the_documented_default_is_the_real_one(heading: str, field: msgspec.structs.FieldInfo) -> None:
    shown = documented(heading)[field.name][0].replace("`", "")
    match field.default:
        case msgspec.NODEFAULT:
            assert shown == "required" or field.default_factory is not msgspec.NODEFAULT
        case bool() as value:
            assert shown == str(value).lower()
        case int() | float() as value:
            assert shown == f"{value:.10g}"
        case str() as value:
            assert shown.strip() == value.strip()
        case tuple() as value if value:
            words = " ".join(str(one) for one in value if one)
            assert shown.strip('[]"') in (words, f"{words} and none")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_a_row(profile: str) -> None:
    assert re.search(rf"^\| `{profile}` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("profile", [profile for profile in PROFILES if profile != "generic"])
def test_the_row_of_a_profile_names_its_scopes_and_its_identity(profile: str) -> None:
    (row,) = re.findall(rf"^\| `{profile}` \|(.*)\|$", PAGE, re.MULTILINE)
    _, scopes, identity, _ = row.split(" | ")
    defaults = profile_defaults(profile, {"issuer": "https://x.example/adfs", "audiences": ["x"]})
    for key, cell in (("scope_claims", scopes), ("implied_scopes", scopes), ("identity_claims", identity)):
        words = defaults.get(key, [])
        assert isinstance(words, list)
        assert all(re.search(rf"\b{word}\b", cell) for word in words), key


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
