"""What a flow run shows in Prefect's page: how far it is, how its stages ended, and where to look."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from components.core.text.redaction import redact, redact_all
from components.core.text.terminal import visible
from components.core.tracking.address import server_of, tracking_uri

REPORTS = "data/*/report.html", "data/*/*/report.html"


def show_progress(total: int) -> Callable[[int], None]:
    """Make a bar at zero; returns what moves it to a number of finished stages."""
    made = create_progress_artifact(progress=0.0, key="progress", description=f"of {total} stages")
    bar = cast(UUID, made)  # no coroutine: this is no async function

    def move(done: int) -> None:
        update_progress_artifact(bar, progress=100.0 * done / max(total, 1))

    return move


def show_stages(root: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show how the stages ended, and where their runs and reports are."""
    create_table_artifact(
        key="stages", table=redact_all([dict(row) for row in rows]), description=f"Stages of {root.name}"
    )
    links = "\n".join(f"- {line}" for line in _links(root))
    if links:
        show_text("links", links, description="Runs and reports")


def show_text(key: str, markdown: str, *, description: str | None = None) -> None:
    """Show a text, without what is secret in it."""
    create_markdown_artifact(key=key, markdown=visible(redact(markdown)), description=description)


def _links(root: Path) -> Iterable[str]:
    if server := server_of(tracking_uri(root)):
        yield f"[MLflow: the runs]({server}/#/experiments)"
    for pattern in REPORTS:
        for path in sorted(root.glob(pattern)):
            yield f"`{path}`"
