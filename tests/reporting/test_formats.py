"""The same report as JSON, as a page and as tables; names from strangers do no harm in any."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from pgoauthd.reporting.aggregation import Asked
from pgoauthd.reporting.jsontext import to_json
from pgoauthd.reporting.page import POLICY, to_page
from pgoauthd.reporting.plots import round_up
from pgoauthd.reporting.tables import print_report
from pgoauthd.reporting.values import Report
from pgoauthd.reporting.wording import percent, seconds
from pgoauthd.tokens.reasons import Reason
from tests.fix_outcomes import AT
from tests.reporting.fix_reports import HOUR, a_day, hostile, line, report_of

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8"))

REPORTS: dict[str, Report] = {
    "of a day": report_of(a_day()),
    "of nothing": report_of([]),
    "of hostile names": report_of(hostile()),
    "of one row": report_of(a_day(), top=1),
    "of too many names": report_of(
        [line(role=f"r{n}", identity=f"p{n}") for n in range(99)], max_identities=9, max_names=9
    ),
    "of discoveries alone": report_of([line(Reason.DISCOVERY)]),
    "of successes alone": report_of([line(Reason.OK)]),
    "of what was asked": report_of(a_day(), Asked(since=AT - HOUR, until=AT + 99 * HOUR, clusters=("main",))),
    "of a history that is too short": report_of(a_day(), Asked(since=AT - HOUR, history_begins=AT)),
}
each_report = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())


def tables(report: Report, width: int = 160) -> str:
    text = io.StringIO()
    print_report(Console(file=text, width=width, color_system=None), report)
    return text.getvalue()


def page(report: Report) -> ET.Element:
    return ET.fromstring(to_page(report).removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 - we wrote it


def text_of(element: ET.Element) -> str:
    return "".join(element.itertext())


@each_report
def test_json_keeps_to_its_schema(report: Report) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(to_json(report)))


def test_the_schema_knows_every_member() -> None:
    def members(value: Any, schema: dict[str, Any]) -> None:  # noqa: ANN401 - any JSON
        known = dict(schema)
        if "$ref" in schema:
            target = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
            known = target | schema | {"properties": target.get("properties", {}) | schema.get("properties", {})}
        if isinstance(value, dict):
            assert set(value) <= set(known["properties"]), value
            for name, inner in value.items():
                members(inner, known["properties"][name])

    members(json.loads(to_json(REPORTS["of a day"])), SCHEMA)


@each_report
def test_json_is_one_line_of_ascii_without_controls(report: Report) -> None:
    text = to_json(report)
    assert text.isascii()
    assert text.isprintable()


@each_report
def test_the_page_is_well_formed_and_says_what_it_may_load(report: Report) -> None:
    root = page(report)
    policies = [
        meta.get("content") for meta in root.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [POLICY] == ["default-src 'none'; style-src 'unsafe-inline'"]


ALLOWED = frozenset(
    {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "section", "h2", "footer"),
        *("dl", "div", "dt", "dd", "figure", "ul", "li", "details", "summary", "code", "bdi", "br", "span"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
)
ALLOWED_IN_SVG = frozenset({"svg", "title", "desc", "g", "rect", "line"})


@each_report
def test_the_page_has_no_element_that_could_run_or_load_anything(report: Report) -> None:
    for element in page(report).iter():
        assert element.tag in ALLOWED or element.tag.removeprefix("{http://www.w3.org/2000/svg}") in ALLOWED_IN_SVG
        assert not {"style", "href", "src"} & set(element.attrib)
        assert not any(name.startswith("on") for name in element.attrib)
    assert "url(" not in to_page(report)
    assert "@import" not in to_page(report)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags.append(tag)


@each_report
def test_read_as_html_the_page_has_the_same_elements(report: Report) -> None:
    parser = _Tags()
    parser.feed(to_page(report))
    as_xml = [element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in page(report).iter()]
    assert parser.tags == as_xml


def test_hostile_names_are_shown_as_text_with_their_controls_visible_and_cut() -> None:
    shown = text_of(page(REPORTS["of hostile names"]))
    assert "<script>alert('1')</script>\\u202e]]>&amp;\\x1b[31m\"xxx" in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    assert "x" * 501 not in shown


def test_tables_show_hostile_names_without_what_a_terminal_would_obey() -> None:
    shown = tables(REPORTS["of hostile names"])
    assert "<script>" in shown
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    assert "\x1b" not in shown


def test_names_are_no_markup_of_the_terminal_either() -> None:
    report = report_of([line(role="[bold]r[/bold]", identity="[/]", message="[link=http://x]y", client_addr="[local]")])
    for shown in ("[bold]r[/bold]", "[/]", "[link=http://x]y", "[local]"):
        assert shown in tables(report)


@each_report
def test_the_page_is_made_for_those_who_hear_it(report: Report) -> None:
    root = page(report)
    assert root.get("lang") == "en"
    for head in root.iter("th"):
        assert head.get("scope") in {"col", "row"}
    for svg in root.iter("{http://www.w3.org/2000/svg}svg"):
        titled = svg.find("{http://www.w3.org/2000/svg}title") is not None
        assert titled or svg.get("aria-hidden") == "true"
    for table in root.iter("table"):
        assert table.get("aria-label")


@each_report
def test_no_id_is_given_twice(report: Report) -> None:
    ids = [element.get("id") for element in page(report).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_every_row_of_a_table_is_as_wide_as_its_head() -> None:
    for report in REPORTS.values():
        for table in page(report).iter("table"):
            widths = {sum(int(cell.get("colspan", "1")) for cell in row) for row in table.iter("tr")}
            assert len(widths) == 1


def test_the_plot_has_a_bar_for_each_step_with_attempts_and_none_is_higher_than_the_plot() -> None:
    report = REPORTS["of a day"]
    assert report.over_time is not None
    (plot,) = [svg for svg in page(report).iter("{http://www.w3.org/2000/svg}svg") if svg.get("aria-labelledby")]
    groups = plot.findall("{http://www.w3.org/2000/svg}g")
    assert len(groups) == sum(bar.attempts > 0 for bar in report.over_time.bars)
    for rect in plot.iter("{http://www.w3.org/2000/svg}rect"):
        assert 0 <= float(rect.get("y", "")) < 100
        assert float(rect.get("height", "")) > 0


def test_one_refusal_among_a_million_successes_is_to_be_seen() -> None:
    day = report_of([line(Reason.OK)] * 5_000 + [line()])
    (refused,) = [
        rect
        for rect in page(day).iter("{http://www.w3.org/2000/svg}rect")
        if rect.get("class") == "refused" and rect.get("x", "0") != "0" and rect.get("width") != "10"
    ]
    assert float(refused.get("height", "")) >= 0.5


@pytest.mark.parametrize("shown", [tables, to_page])
def test_people_read_the_answer_first(shown: Any) -> None:  # noqa: ANN401 - a function
    text = shown(REPORTS["of a day"]).replace("\n", " ")
    assert "29 attempts to log in: 24 successes, 4 refused, 1 abandoned by the client." in text
    assert "23 discoveries are no attempt and not among them" in text


@pytest.mark.parametrize("shown", [tables, lambda report: text_of(page(report))])
def test_people_read_who_has_to_act_and_what_to_do(shown: Any) -> None:  # noqa: ANN401 - a function
    text = shown(REPORTS["of a day"])
    assert "expired" in text
    assert Reason.EXPIRED.remedy[:30] in text


@pytest.mark.parametrize("shown", [tables, to_page])
def test_it_is_said_when_there_were_more_names_than_can_be_kept(shown: Any) -> None:  # noqa: ANN401 - a function
    text = shown(REPORTS["of too many names"])
    assert "There were more roles than can be kept, at least 1" in text
    assert "There were more roles" not in shown(REPORTS["of a day"])


@pytest.mark.parametrize("shown", [tables, to_page])
def test_it_is_said_when_the_history_begins_after_the_period(shown: Any) -> None:  # noqa: ANN401 - a function
    assert "The history begins at 2026-11-22 01:13:20 UTC" in shown(REPORTS["of a history that is too short"])
    assert "The history begins" not in shown(REPORTS["of what was asked"])


@pytest.mark.parametrize("shown", [tables, to_page])
def test_of_nothing_it_is_said_that_there_was_nothing(shown: Any) -> None:  # noqa: ANN401 - a function
    assert "There was no login attempt." in shown(REPORTS["of nothing"])


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_tables_keep_to_the_width(width: int) -> None:
    assert max(len(row) for row in tables(REPORTS["of a day"], width).splitlines()) <= width


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (None, "-"),
        (0, "0.0 %"),
        (1e-6, "<0.1 %"),
        (0.5, "50.0 %"),
        (0.9991, "99.9 %"),
        (0.9999, ">99.9 %"),
        (1, "100.0 %"),
    ],
)
def test_a_share_is_neither_all_nor_nothing_unless_it_is(ratio: float | None, shown: str) -> None:
    assert percent(ratio) == shown


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(0, "0 µs"), (0.00025, "250 µs"), (0.0012, "1.2 ms"), (0.999, "999 ms"), (2.34, "2.3 s"), (1e300, "1.0e+300 s")],
)
def test_durations_have_the_unit_that_suits_them(duration: float, shown: str) -> None:
    assert seconds(duration) == shown


@pytest.mark.parametrize(
    ("most", "scale"), [(0, 2), (1, 2), (3, 4), (7, 8), (11, 12), (399, 400), (1_000_001, 1_200_000)]
)
def test_the_scale_ends_at_a_number_that_can_be_halved(most: int, scale: int) -> None:
    assert round_up(most) == scale
