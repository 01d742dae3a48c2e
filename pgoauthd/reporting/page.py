"""The Report as one HTML page that needs nothing else: no script, no font, no request; it trusts no text.

It is well-formed XML, too, so that a test can read it, and nothing from users can open an element.
"""

from __future__ import annotations

from pgoauthd.reporting.markup import Markup, element, joined
from pgoauthd.reporting.sections import sections
from pgoauthd.reporting.style import STYLE
from pgoauthd.reporting.values import KIND, Report
from pgoauthd.reporting.wording import answer, is_empty, moment, notes, period

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Should anything from users ever become an element, the browser neither runs nor loads it."""


def to_page(report: Report) -> str:
    """The whole document, to be written in UTF-8."""
    title = f"Logins, {period(report)}"
    page = element("html", "\n", _head(title), "\n", element("body", "\n", *_body(report, title), "\n"), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", **{"http-equiv": "Content-Security-Policy"}, content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=KIND),
        element("meta", name="robots", content="noindex"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(STYLE)),
    )


def _body(report: Report, title: str) -> list[Markup]:
    lead = [element("h1", title), element("p", answer(report), class_="answer")]
    lead += [element("p", note, class_="soft") for note in notes(report)]
    found = sections(report) if not is_empty(report.totals) else []
    written = f"Written {moment(report.generated)} UTC by pgoauthd. All times are UTC. It holds personal data."
    return [
        element("header", *lead),
        element("main", *(joined(section, "\n") for section in found)),
        element("footer", element("p", written, class_="soft")),
    ]
