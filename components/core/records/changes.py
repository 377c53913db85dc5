"""What a reader changed of what it read: counted, with examples. Nothing odd is repaired in silence."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from components.core.run.errors import AvisError

MOST_EXAMPLES = 5
MOST_NAMED = 3  # causes in one error message
MAX_CHANGED_SHARE = (
    0.01  # of the masks or frames, dropped or moved: more of it has one cause, and that is a mistake
)


class Kind(StrEnum):
    """How something differs from what the source says."""

    DROPPED = "dropped"  # it is not there any more
    MOVED = "moved"  # to another frame, time or place
    CLIPPED = "clipped"  # cut to what is allowed
    MERGED = "merged"  # several became one
    FILLED = "filled"  # the source says nothing there
    GUESSED = "guessed"  # the source can be read in more than one way
    RENAMED = "renamed"


LOSES = (Kind.DROPPED, Kind.MOVED)  # what makes a label wrong where there is much of it


@dataclass(slots=True)
class Change:
    """All that was changed for one reason.

    unit: what is counted: "mask", "frame", "track", "video", "category", "row", …
    why: a clause without anything of a single case, so that equal reasons are counted together:
        "it lies outside the task's frames".
    examples: where, at most MOST_EXAMPLES: "clip_a, track 3, frame 7".
    """

    kind: Kind
    unit: str
    why: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        unit = self.unit if self.count == 1 else _plural(self.unit)
        first = ", ".join(self.examples[:MOST_NAMED]) + (", …" if self.count > MOST_NAMED else "")
        return f"{self.count} {unit} {self.kind}: {self.why}" + (f" ({first})" if self.examples else "")


class Changes:
    """The changes of one source, one video or one stage, in the order in which their reasons came up."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self._by_reason: dict[tuple[Kind, str, str], Change] = {}
        for change in changes:
            self._take(change, change.examples)

    def __iter__(self) -> Iterator[Change]:
        return iter(self._by_reason.values())

    def __bool__(self) -> bool:
        return bool(self._by_reason)

    def add(self, kind: Kind, unit: str, why: str, *, example: str = "", count: int = 1) -> None:
        """Count one more case, or `count` of them at one place; none if `count` is 0."""
        if count:
            self._take(Change(kind, unit, why, count), [example] if example else [])

    def extend(self, others: Iterable[Change], source: str = "") -> None:
        """Add what another reader changed; its examples begin with the name of its source."""
        for other in others:
            examples = [f"{source}: {example}" for example in other.examples] or [source]
            self._take(other, examples if source else other.examples)

    def _take(self, change: Change, examples: list[str]) -> None:
        key = (change.kind, change.unit, change.why)
        known = self._by_reason.setdefault(key, Change(*key))
        known.count += change.count
        known.examples += examples[: MOST_EXAMPLES - len(known.examples)]

    def count(self, unit: str, kinds: Iterable[Kind] = tuple(Kind)) -> int:
        """How many of a unit were changed in these ways."""
        wanted = set(kinds)
        return sum(change.count for change in self if change.unit == unit and change.kind in wanted)

    def sentences(self) -> list[str]:
        """One for each reason: "3 masks dropped: they lie outside the frame (clip_a, frame 7)"."""
        return [str(change) for change in self]

    def line(self) -> str:
        """All of it in a few words: "3 masks dropped, 1 video renamed"; "nothing" where there is nothing."""
        counts: dict[tuple[Kind, str], int] = {}
        for change in self:
            key = (change.kind, change.unit)
            counts[key] = counts.get(key, 0) + change.count
        words = [f"{n} {unit if n == 1 else _plural(unit)} {kind}" for (kind, unit), n in counts.items()]
        return ", ".join(words) or "nothing"

    def report(self) -> list[str]:
        """Lines for the terminal: what was changed, and each reason under it."""
        return [f"changed on reading: {self.line()}", *(f"  {sentence}" for sentence in self.sentences())]

    def rows(self) -> list[dict[str, Any]]:
        """For tables and files: kind, unit, count, why, examples."""
        return [asdict(change) for change in self]

    def metrics(self) -> dict[str, float]:
        """Counts by kind and unit: {"changed.dropped.mask": 3.0}."""
        found: dict[str, float] = {}
        for change in self:
            name = f"changed.{change.kind}.{change.unit.replace(' ', '_')}"
            found[name] = found.get(name, 0.0) + change.count
        return found

    def text(self) -> str:
        """For a column of an index: JSON, "" where nothing was changed; `changes_of_text` reads it."""
        return json.dumps(self.rows(), ensure_ascii=False) if self else ""

    def refuse(
        self,
        totals: Mapping[str, int],
        *,
        strict: bool,
        max_share: float,
        where: str,
        setting: str,
    ) -> None:
        """Raise where too much was changed.

        Args:
            totals: how many of each unit the source has; only these units are measured against `max_share`.
            strict: any change at all is too much.
            max_share: of a unit, that may be dropped or moved.
            setting: what to change to let it pass, for the message: "annotate.max_changed_share".

        Raises:
            AvisError: with the reasons, the most frequent first.
        """
        if strict and self:
            raise AvisError(
                f"Reading changed something, and strict reading was asked for: {self._reasons(list(self))}",
                where=where,
                fix="Mend the source, or read without strict.",
            )
        for unit, total in totals.items():
            changed = self.count(unit, LOSES)
            if changed > max_share * total:
                guilty = [change for change in self if change.unit == unit and change.kind in LOSES]
                raise AvisError(
                    f"{changed} of {total} {_plural(unit)} ({changed / max(total, 1):.1%}) were dropped or "
                    f"moved, {max_share:.1%} are allowed: {self._reasons(guilty)}",
                    where=where,
                    fix=f"Mend the cause. If this is as it should be, raise {setting}.",
                )

    @staticmethod
    def _reasons(changes: list[Change]) -> str:
        most = sorted(changes, key=lambda change: -change.count)
        more = f"; and {len(most) - MOST_NAMED} more reasons" if len(most) > MOST_NAMED else ""
        return "; ".join(str(change) for change in most[:MOST_NAMED]) + more


def changes_of_text(text: str) -> Changes:
    """What `Changes.text` wrote."""
    rows = json.loads(text) if text else []
    return Changes(Change(**{**row, "kind": Kind(row["kind"])}) for row in rows)


def _plural(unit: str) -> str:
    for link in (" in ", " of "):  # gap in the pictures
        if link in unit:
            thing, rest = unit.split(link, 1)
            return f"{_plural(thing)}{link}{rest}"
    if unit.endswith(("s", "x")):
        return f"{unit}es"
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"
