"""Label Studio's tasks, of pictures, videos and sound alike: their data, and the annotation that counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.annotate.parsing.fields import mapping
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError

UPLOAD = re.compile(r"(?:^|/)data/upload/(?:\d+/)?[^/]+$")  # the number is Label Studio's project
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before an uploaded file's name
MIN_KEYS = frozenset({"annotation_id", "annotator"})  # of a row of JSON-MIN


@dataclass(frozen=True)
class Chosen:
    """The annotation of a task that counts, its regions, and how many others there are, for each reason."""

    annotation: Mapping[str, Any] = field(default_factory=dict)
    regions: list[Any] = field(default_factory=list)
    earlier: int = 0
    of_others: int = 0
    besides_truth: int = 0
    skipped: int = 0
    malformed: int = 0
    drafts: int = 0

    def note(self, changes: Changes, where: str) -> None:
        """Count the annotations that are left out."""
        for count, why in (
            (self.earlier, "its task was annotated again later"),
            (self.of_others, "another person annotated its task later"),
            (self.besides_truth, "another one of its task is marked as ground truth"),
            (self.skipped, "it was skipped (cancelled) in Label Studio"),
            (self.malformed, "it has no list of regions"),
            (self.drafts, "it is a draft that nobody has submitted"),
        ):
            changes.add(Kind.DROPPED, "annotation", why, example=where, count=count)


def data_of(row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What a task shows; raises AvisError where the row is none."""
    if "data" not in row and row.keys() >= MIN_KEYS:
        raise AvisError(
            "This is a JSON-MIN export of Label Studio, which forgets which track a region belongs to",
            where=where,
            fix="Export as JSON.",
        )
    return mapping(row.get("data"), where)


def annotation_of(row: Mapping[str, Any]) -> Chosen:
    """Of a task's annotations, the ground truth; of several, or without one, the latest."""
    listed = row.get("annotations")
    found = listed if isinstance(listed, list) else []
    skipped = [one for one in found if isinstance(one, Mapping) and one.get("was_cancelled")]
    kept = [
        one
        for one in found
        if isinstance(one, Mapping) and not one.get("was_cancelled") and isinstance(one.get("result"), list)
    ]
    malformed = len(found) - len(skipped) - len(kept)
    drafts = len(row["drafts"]) if isinstance(row.get("drafts"), list) else 0
    if not kept:
        return Chosen(skipped=len(skipped), malformed=malformed, drafts=drafts)
    true = [one for one in kept if one.get("ground_truth") is True] or kept
    latest = max(true, key=lambda one: str(one.get("updated_at") or ""))
    of_others = sum(one.get("completed_by") != latest.get("completed_by") for one in true)
    return Chosen(
        latest,
        list(latest["result"]),
        earlier=len(true) - 1 - of_others,
        of_others=of_others,
        besides_truth=len(kept) - len(true),
        skipped=len(skipped),
        malformed=malformed,
        drafts=drafts,
    )


def without_upload_prefix(address: str, name: str) -> str:
    """A file's name as it was before it was uploaded to Label Studio."""
    return _UPLOAD_PREFIX.sub("", name) if UPLOAD.search(address) else name


def note_upload(changes: Changes, uploaded_as: str, name: str) -> None:
    """Count a video or sound that is called as it was before it was uploaded; nothing where it was not."""
    if uploaded_as:
        changes.add(
            Kind.RENAMED,
            "video",
            "Label Studio had put 8 digits before the name of the uploaded file",
            example=f"{uploaded_as} to {name}",
        )
