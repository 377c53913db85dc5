"""The pages: one environment, one base template (base.html, style.css), one way to write a number.

A page is a template beside the code that fills it; it extends core/reports/base.html, and tables, bars and
time lines come from core/reports/macros.html. Every page is one file, readable in light and dark.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.text.redaction import redact
from components.core.text.terminal import visible

if TYPE_CHECKING:
    from jinja2 import Environment

DASH = "\N{EN DASH}"
"""Stands where there is no value."""

_COMPONENTS = Path(__file__).parents[2]
_NO_TRACKS = -100  # the published evaluator's average precision of a size without tracks


def render_page(template: str, **values: object) -> str:
    """Return a page as HTML: self-contained, without secrets, every text from outside as `shown` and escaped.

    Args:
        template: under components/, such as "evaluate/report.html", or beside it: "pipelines/…".
        values: of its names; one that the template has and they have not is an error.
    """
    return redact(_environment().get_template(template).render(values))


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([_COMPONENTS, _COMPONENTS.parent]),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        percent=percent,
        signed=signed,
        probability=probability,
        thousands=thousands,
        breakable=breakable,
    )
    return environment


def shown(value: object) -> object:
    """What stands in a page for a value: of a text, signs that hide or turn others as their codes."""
    from markupsafe import Markup

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def breakable(name: str) -> str:
    """Let a name break after its underscores."""
    from markupsafe import Markup, escape

    return escape(shown(redact(name))).replace("_", Markup("_<wbr>"))


def number(value: object, decimals: int = 2) -> str:
    """Format a score."""
    if not isinstance(value, int | float):
        return DASH
    return "no tracks" if value == _NO_TRACKS else f"{value:.{decimals}f}"


def percent(value: object, decimals: int = 1) -> str:
    """Format a share that is given in percent."""
    return DASH if value is None else f"{value:.{decimals}f} %"


def signed(value: float | None, decimals: int = 1) -> str:
    """Format a difference."""
    return DASH if value is None else f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def probability(value: float) -> str:
    """Format p with its sign: a randomisation test of some thousand draws knows no more digits."""
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def thousands(value: float) -> str:
    """Format a count, in groups of three digits."""
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}")
