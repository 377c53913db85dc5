"""The page's plots, as inline SVG: training curves of all variants, scores per category."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

MODEL_COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#65a30d", "#0891b2", "#78716c")
"""Of the variants, in their order; the first eight differ, then they come again."""

_STYLE = {
    "svg.fonttype": "none",  # text stays text: sharp, searchable, in the page's own font
    "svg.hashsalt": "avis",  # the same plot gives the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#475569",
    "xtick.color": "#475569",
    "ytick.color": "#475569",
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
}


def model_colour(index: int) -> str:
    """The colour of the model in this place of the table."""
    return MODEL_COLOURS[index % len(MODEL_COLOURS)]


def training_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, label: str) -> str:
    """All variants in one plot: each value faintly, its running mean on top.

    Args:
        curves: variant -> (steps [N], values [N]).
        label: of the vertical axis.
    """
    import numpy as np

    figure, axes = _figure()
    for index, (variant, (steps, values)) in enumerate(curves.items()):
        colour = model_colour(index)
        window = max(1, len(values) // 40)
        kept = np.asarray(values, dtype=float)
        smooth = np.convolve(kept, np.ones(window) / window, mode="valid") if window > 1 else kept
        axes.plot(steps, kept, color=colour, alpha=0.2, linewidth=0.8)
        axes.plot(list(steps)[window - 1 :], smooth, color=colour, linewidth=2, label=variant)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    _legend(axes)
    return _svg(figure, f"{label} of each variant over the training steps")


def category_bars(
    values: Mapping[str, Mapping[str, float | None]], categories: Sequence[str], *, label: str
) -> str:
    """A group of bars per category, a bar per variant.

    Args:
        values: variant -> category -> percent, None where there is nothing to score.
        categories: from left to right.
        label: of the vertical axis.
    """
    figure, axes = _figure()
    width = 0.8 / max(1, len(values))
    for index, (variant, by_category) in enumerate(values.items()):
        places = [place - 0.4 + width * (index + 0.5) for place in range(len(categories))]
        heights = [by_category.get(category) for category in categories]
        axes.bar(
            places,
            [0.0 if height is None else height for height in heights],
            width * 0.92,
            color=model_colour(index),
            label=variant,
        )
        for place, height in zip(places, heights, strict=True):
            if height is None:
                axes.text(place, 1, "\N{EN DASH}", ha="center", color="#94a3b8")
    axes.set_xticks(range(len(categories)), categories, rotation=35 if len(categories) > 15 else 0)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, 100)
    axes.set_ylabel(label)
    _legend(axes)
    return _svg(figure, f"{label} of each variant, per category")


def _figure() -> tuple[Any, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(12, 3.3), layout="constrained")
        return figure, figure.subplots()


def _legend(axes: Any) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=8, frameon=False, borderaxespad=0.2)


def _svg(figure: Any, title: str) -> str:
    import matplotlib

    target = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :]
    # ids are unique in a page only if each plot's are its own
    prefix = re.sub(r"\W+", "-", title)
    svg = re.sub(r'(\bid=")', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', svg, count=1)
