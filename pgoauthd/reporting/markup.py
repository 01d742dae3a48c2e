"""Builds markup that is well-formed as HTML and as XML; all text that is no markup of its own making is escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup already; only `element` and `joined` make it."""

    __slots__ = ()


Child = Markup | str
VOID = frozenset({"meta", "br", "col", "rect", "line"})
"""Elements that have no content and no end tag, in HTML or in our SVG."""


def element(name: str, /, *children: Child, **attributes: str | float) -> Markup:
    """One element. Attributes are named as Python must: `class_` is class, `aria_label` aria-label."""
    written = "".join(f' {_attribute(key)}="{escape(str(value))}"' for key, value in attributes.items())
    if name in VOID and not children:
        return Markup(f"<{name}{written} />")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Markup as it is, text escaped."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))


_CAMEL = {"view_box": "viewBox", "preserve_aspect_ratio": "preserveAspectRatio"}
"""SVG minds the case of its attributes."""


def _attribute(key: str) -> str:
    return _CAMEL.get(key) or key.rstrip("_").replace("_", "-")
