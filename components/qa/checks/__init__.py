"""The checks. One class each; adding one touches the one file it is written in."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from components.core.run.errors import AvisError
from components.qa.checked_clip import Clip
from components.qa.dataset import Dataset
from components.qa.findings import Finding, Severity
from components.qa.params import QaParams

Group = Literal["structure", "geometry", "time", "sound", "media", "set", "people"]
GROUPS: tuple[Group, ...] = ("structure", "geometry", "time", "sound", "media", "set", "people")


class Check:
    """A kind of error and how to find it. A subclass with a `name` is run without further ado.

    threshold: what `check` compares with, None where there is nothing to set; `unit` says what it counts.
    """

    name: ClassVar[str]
    group: ClassVar[Group]
    severity: Severity
    threshold: float | None = None
    unit: ClassVar[str] = ""
    explanation: ClassVar[str]
    fix: ClassVar[str]

    known: ClassVar[dict[str, type["Check"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in cls.__dict__:  # a shared base has none
            Check.known[cls.name] = cls

    def configure(self, params: QaParams) -> None:
        """Take what a check needs beyond its threshold and severity.

        Raises:
            AvisError: params.yaml names something that cannot be used.
        """

    def check(self, clip: Clip) -> Iterable[Finding]:
        """What is wrong with one clip."""
        return []

    def remember(self, clip: Clip) -> Any:
        """What `check_set` needs of this clip: small and pickled, since the clip itself is not kept."""
        return None

    def check_set(self, dataset: Dataset) -> Iterable[Finding]:
        """What is wrong with the whole set."""
        return []

    @property
    def limit(self) -> float:
        """The threshold of a check that has one."""
        assert self.threshold is not None  # noqa: S101
        return self.threshold

    def found(
        self,
        message: str,
        clip: Clip | None = None,
        *,
        split: str = "",
        video: str = "",
        track: int | None = None,
        frame: int | None = None,
        last_frame: int | None = None,
        value: float | None = None,
    ) -> Finding:
        """A finding of this check."""
        return Finding(
            check=self.name,
            severity=self.severity,
            message=message,
            split=clip.split if clip else split,
            video=clip.name if clip else video,
            track=track,
            frame=frame,
            last_frame=frame if last_frame is None else last_frame,
            value=value,
        )


def runs(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending frame numbers as runs of neighbours, (first, last)."""
    found: list[tuple[int, int]] = []
    for k in frames:
        if found and found[-1][1] == k - 1:
            found[-1] = (found[-1][0], k)
        else:
            found.append((k, k))
    return found


def all_checks() -> dict[str, type[Check]]:
    """Every check by name, in the order of the groups."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(Check.known.items(), key=lambda entry: GROUPS.index(entry[1].group)))


def chosen_checks(params: QaParams) -> list[Check]:
    """The checks to run, with the thresholds and severities that params.yaml sets.

    Raises:
        AvisError: params.yaml names a check that does not exist, or a threshold for one that has none.
    """
    known = all_checks()
    for field in ("thresholds", "severities", "skip"):
        for name in getattr(params, field):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]}? " if near else ""
                raise AvisError(
                    f"There is no check {name!r}",
                    where=f"params.yaml, qa.{field}",
                    fix=f"{hint}Known: {', '.join(known)}.",
                )
    chosen = []
    for name, kind in known.items():
        if name in params.skip:
            continue
        check = kind()
        if name in params.thresholds:
            if check.threshold is None:
                raise AvisError(f"The check {name} has no threshold", where="params.yaml, qa.thresholds")
            check.threshold = params.thresholds[name]
        check.severity = params.severities.get(name, check.severity)
        check.configure(params)
        chosen.append(check)
    return chosen
