"""Pages, charts and tables: what all of them promise."""

import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from components.core.reports import page
from components.core.reports.charts import bar_chart, line_chart
from components.core.reports.page import render_page
from components.core.reports.tables import csv_text

ROOT = Path(page.__file__).parents[3]
PAGES = sorted(ROOT.glob("components/**/report.html"))
CURVE = {"<b>a$x$": ([0.0, 0.5, 1.0], [10.0, 20.0, 30.0]), "_b": ([0.0, 1.0], [5.0, 6.0])}


def chart(title: str = "loss") -> str:
    return line_chart(CURVE, title=title, x_label="step $1$", percent=True)


def test_every_page_is_made_in_the_base_and_has_no_frame_of_its_own() -> None:
    assert len(PAGES) == 7
    for path in PAGES:
        text = path.read_text()
        assert text.startswith('{% extends "core/reports/base.html" %}'), path
        assert "<style>" not in text and "<html" not in text, path


def test_a_name_that_a_page_lacks_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="corrections"):
        render_page("tools/preannotate/report.html")
    with pytest.raises(jinja2.UndefinedError, match="nothing"):
        page._environment().from_string("<p>{{ nothing }}").render()


def test_names_in_a_chart_are_shown_as_they_are() -> None:
    svg = chart()
    assert "<b>" not in svg
    for text in (">&lt;b&gt;a$x$<", ">_b<", ">step $1$<"):  # neither markup, nor a formula, nor hidden
        assert text in svg


def test_a_chart_takes_the_pages_colours_and_font() -> None:
    svg = chart() + bar_chart({"v": {"c": None, "d": 5.0}}, ["c", "d"], title="AP", y_label="AP")
    assert "currentColor" in svg and "var(--line)" in svg
    assert "font-family" not in svg and "#000000" not in svg and "#010203" not in svg


def test_charts_of_a_page_share_no_ids_and_come_out_the_same_in_every_process() -> None:
    one, other = chart("one"), chart("other")
    ids = [{part.split('"')[0] for part in svg.split(' id="')[1:]} for svg in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    code = f"from components.core.reports.charts import line_chart; print(line_chart({CURVE!r}, title='one', "
    code += "x_label='step $1$', percent=True), end='')"
    again = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout == one


def test_a_table_keeps_whole_numbers_and_rounds_only_where_asked() -> None:
    rows = [{"a": 1, "b": None, "c": 'x,"y"'}, {"a": None, "b": 2 / 3, "d": True}]
    assert csv_text(rows) == 'a,b,c,d\n1,,"x,""y""",\n,0.6666666666666666,,True\n'
    assert csv_text(rows, decimals=4).endswith(",0.6667,,True\n")
    assert csv_text([], ["a", "b"]) == "a,b\n"
