"""What the annotate stage says of its work, data/annotations/summary.json: origins of clips, and changes."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from components.core.records.changes import Change, Changes, Kind
from components.core.run.errors import AvisError
from components.qa.label_files import shown


@dataclass(slots=True)
class LabelSummary:
    """Where labels come from.

    origins: by clip, the source with its format: "labels/avsbench (mots_png)".
    changes: what reading them changed, and the annotated clips that were left out.
    """

    origins: dict[str, str] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)


def read_label_summary(path: Path) -> LabelSummary:
    """Read the summary; an empty one where there is none, or an older version wrote it without origins.

    Raises:
        AvisError: it is not what the annotate stage writes.
    """
    if not path.is_file():
        return LabelSummary()
    try:
        content = json.loads(path.read_bytes())
        origins = {
            clip: shown(f"{source['name']} ({source['format']})")
            for source in content.get("sources", [])
            for clip in source["clips"]
        }
        told = [row for row in content.get("changes", []) if isinstance(row, dict)]  # once they were words
        rows = [{**row, "kind": Kind(row["kind"])} for row in told]
        changes = Changes(Change(**row) for row in rows)
        left_out = content.get("dropped", {})
        for clip, reason in left_out.items() if isinstance(left_out, dict) else ():
            why = shown(str(reason).partition(":")[0])  # what follows is of this clip alone
            changes.add(Kind.DROPPED, "annotated clip", why, example=shown(clip))
        return LabelSummary(origins, changes)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AvisError(
            f"The summary of the annotations cannot be read: {error!r:.200}", where=str(path),
            fix="Run the annotate stage again.",
        ) from None  # fmt: skip
