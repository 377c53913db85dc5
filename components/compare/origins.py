"""Which variant is the start of another: a checkpoint of the very weights that the other began with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# settings of a network that do not change what it computes: how many categories it names (new ones begin
# fresh), where its first weights came from, and which of them are trained
_NOT_COMPUTED = {
    "categories",
    "backbone_pretrained",
    "backbone_weights",
    "backbone_frozen_parts",
    "audio_weights",
    "audio_frozen",
}


@dataclass(frozen=True)
class Origin:
    """The weights that a model began with, and those that it is, each with its network; empty: none known.

    categories: names that the model has a row for; empty if its card does not say.
    """

    start: str = ""
    checkpoint: str = ""
    categories: frozenset[str] = frozenset()

    def is_start_of(self, other: "Origin") -> bool:
        """Is this model, untrained, what the other one's training began with?"""
        return bool(self.checkpoint) and self.checkpoint == other.start


def read_origin(folder: Path) -> Origin:
    """What run.json and config.json of a model's folder say; nothing of one that an older training wrote."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        card = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        start, checkpoint = (_identity(run.get(name), card) for name in ("start_from", "checkpoint"))
        return Origin(start, checkpoint, frozenset(card.get("categories", {}).values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Origin()


def _identity(weights: dict[str, str] | None, card: dict[str, Any]) -> str:
    if weights is None:
        return ""
    network = {name: value for name, value in card["config"].items() if name not in _NOT_COMPUTED}
    return json.dumps([weights["sha256"], card["name"], network], sort_keys=True)
