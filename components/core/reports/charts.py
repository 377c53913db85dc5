"""Charts as inline SVG, by matplotlib: curves, and bars in groups.

The same values give the same bytes. Text, axes and grid take the page's colours, so that a chart is readable
in light and in dark. What is a table with colours in its cells (the confusion matrix), a bar of parts beside
its name, or a time line that plays is HTML: it has tooltips and fits a narrow page.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from components.core.reports.page import DASH
from components.core.text.terminal import plain

COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#65a30d", "#0891b2", "#78716c")
"""Of variants, categories and curves, in their order."""

_INK, _GRID = "#010203", "#040506"  # stand for colours of the page: matplotlib takes no CSS
_STYLE = {
    "svg.fonttype": "none",  # text stays text: sharp, searchable, in the page's own font
    "svg.hashsalt": "avis",  # ids that do not change
    "text.parse_math": False,  # a category's name may hold a $
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": _GRID,
    "legend.frameon": False,
}
# in a tag: fonts of matplotlib's choice, names of groups, turning by nothing, hundredths, namespaces
_SPARE = (
    r" font-family: [^;\"]*;|(?<=<g) id=\"[^\"]*\"| transform=\"rotate\(-0 [^\"]*\"|(?<=\.\d)\d+"
    r"| xmlns(:xlink)?=\"[^\"]*\"|xlink:(?=href)"
)


def colour(place: int) -> str:
    """Return the colour of the place-th of several; after eight they come again."""
    return COLOURS[place % len(COLOURS)]


def line_chart(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    percent: bool = False,
    smooth: bool = False,
    size_in: tuple[float, float] = (12, 3.3),
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> str:
    """Draw curves.

    Args:
        lines: name -> (x [N], y [N]).
        title: for those who cannot see it; it makes the ids of this chart different from another's.
        x_label, y_label: of the axes.
        percent: whether the vertical axis is 0 to 100.
        smooth: whether to draw the values faintly and their running mean on top.
        size_in: width and height.
        bands: name -> (lower [N], upper [N]) of its curve, drawn faintly around it.
    """
    import numpy as np

    with _axes(title, size_in) as (axes, svg):
        drawn = []
        for place, (name, (x, y)) in enumerate(lines.items()):
            if bands and name in bands:
                axes.fill_between(list(x), *bands[name], color=colour(place), alpha=0.15, linewidth=0)
            kept = np.asarray(y, dtype=float)
            window = max(1, len(kept) // 40) if smooth else 1
            if smooth:
                axes.plot(x, kept, color=colour(place), alpha=0.2, linewidth=0.8)
            mean = np.convolve(kept, np.ones(window) / window, mode="valid") if window > 1 else kept
            drawn += axes.plot(list(x)[window - 1 :], mean, color=colour(place), linewidth=2)
        axes.set_xlabel(plain(x_label))
        axes.set_ylabel(plain(y_label))
        if percent:
            axes.set_ylim(0, 100)
        _legend(axes, drawn, list(lines))
    return svg[0]


def bar_chart(
    values: Mapping[str, Mapping[str, float | None]], groups: Sequence[str], *, title: str, y_label: str
) -> str:
    """Draw a group of bars for each category, a bar for each variant.

    Args:
        values: variant -> category -> percent, None where there is nothing to score.
        groups: the categories from left to right.
        title: as of line_chart.
        y_label: of the vertical axis.
    """
    with _axes(title, (12, 3.3)) as (axes, svg):
        width = 0.8 / max(1, len(values))
        drawn = []
        for place, by_group in enumerate(values.values()):
            places = [group - 0.4 + width * (place + 0.5) for group in range(len(groups))]
            heights = [by_group.get(group) for group in groups]
            drawn.append(axes.bar(places, [h or 0.0 for h in heights], width * 0.92, color=colour(place)))
            for x, height in zip(places, heights, strict=True):
                if height is None:
                    axes.text(x, 1, DASH, ha="center")
        axes.set_xticks(range(len(groups)), map(plain, groups), rotation=35 if len(groups) > 15 else 0)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, 100)
        axes.set_ylabel(plain(y_label))
        _legend(axes, drawn, list(values))
    return svg[0]


def interval_chart(
    rows: Mapping[str, tuple[float, float | None, float | None]], *, title: str, x_label: str
) -> str:
    """Draw a point with its interval for each row, from above to below, and a line at zero.

    Args:
        rows: name -> (value, lower and upper bound, None if not known).
        title: as of line_chart.
        x_label: of the horizontal axis.
    """
    with _axes(title, (12, 0.9 + 0.34 * len(rows))) as (axes, svg):
        for place, (value, low, high) in enumerate(rows.values()):
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=colour(0), linewidth=2)
            axes.plot([value], [place], "o", color=colour(0), markersize=6)
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), map(plain, rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(plain(x_label))
    return svg[0]


@contextmanager
def _axes(title: str, size_in: tuple[float, float]) -> Iterator[tuple[Any, list[str]]]:
    """Yield axes to draw in, and a list that holds the SVG afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    svg: list[str] = []
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size_in, layout="constrained")
        yield figure.subplots(), svg
        target = io.StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg.append(_of_the_page(target.getvalue(), title))


def _of_the_page(svg: str, title: str) -> str:
    """Make a file's SVG part of a page: the page's font and colours, ids of its own, a third of the bytes."""
    prefix = re.sub(r"\W+", "-", title)
    svg = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|(?<=>)\s+(?=<)", "", svg[svg.index("<svg") :], flags=re.S
    )

    def ours(tag: re.Match[str]) -> str:  # only tags: a category may be called anything
        text = tag[0].replace(_INK, "currentColor").replace(_GRID, "var(--line)").replace("\n", "")
        return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", re.sub(_SPARE, "", text))

    svg = re.sub(r"<[^>]+>", ours, svg).replace("<g/>", "")
    label = f'role="img" aria-label="{escape(plain(title))}"'
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', label, svg, count=1)


def _legend(axes: Any, drawn: Sequence[Any], names: Sequence[str]) -> None:
    longest = max(map(len, names), default=0)
    columns = min(8, max(1, 150 // (longest + 7)))  # more would take the width from the axes
    axes.legend(
        drawn,
        [*map(plain, names)],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
    )
