"""Which trained models had seen a video."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.core.run.paths import Paths
from components.core.tracking.reader import read_run_files

CLIPS_FILE = "training/clips.json"  # of an MLflow run: what train wrote


@dataclass
class Seen:
    """Models by what is known of them; runs with their names."""

    yes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One per model."""
        return [
            *self.yes,
            *(f"{name}: unknown, its clips were not recorded" for name in self.unknown),
        ]


def models_that_saw(video_ids: Iterable[str], paths: Paths) -> Seen:
    """The models in data/model, and the runs in MLflow, that were trained with any of these clips."""
    names = set(video_ids)
    seen = Seen()
    for file in sorted((paths.root / "model").glob("*/run.json")):
        _add(seen, names, str(file.parent), file.with_name("clips.json"))
    for run, text in read_run_files(CLIPS_FILE, paths=paths).items():
        _judge(seen, names, f"MLflow run {run}", text)
    return seen


def _add(seen: Seen, names: set[str], label: str, file: Path) -> None:
    _judge(seen, names, label, file.read_text() if file.is_file() else None)


def _judge(seen: Seen, names: set[str], label: str, text: str | None) -> None:
    try:
        clips = set(json.loads(text)) if text is not None else None
    except (ValueError, TypeError):
        clips = None
    if clips is None:
        seen.unknown.append(label)
    elif names & clips:
        seen.yes.append(f"{label}: {', '.join(sorted(names & clips)[:5])}")
