"""What the rules about params.yaml share: how one is written, what it may look at, what it finds."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.core.run.errors import AvisError
from components.core.run.lineage import LOCK
from components.core.run.params import Location, ParamsFile
from components.core.run.paths import Paths

STAGES = (
    "sample", "ingest", "extract", "annotate", "qa", "train", "predict", "evaluate", "mllm", "compare",
)  # fmt: skip
GRAPH = Path("dvc.yaml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What the stage sample makes: these files need not be there before it ran.
MADE_BY_SAMPLE = (Paths().sample / "manifest.csv", Paths().sample / "annotations.json")
Rule = Callable[..., Iterator[AvisError]]
RULES: list[tuple[tuple[str, ...], Rule]] = []


def rule(*blocks: str) -> Callable[[Rule], Rule]:
    """Mark a function as a rule: it is called with a Facts and these blocks, if all of them are valid."""

    def add(function: Rule) -> Rule:
        RULES.append((blocks, function))
        return function

    return add


@dataclass(frozen=True)
class Graph:
    """Our stages in dvc.yaml (without variants), and the blocks of params.yaml that they depend on."""

    stages: frozenset[str]
    blocks: frozenset[str]


def read_graph(path: Path = GRAPH) -> Graph:
    """Read dvc.yaml as far as a check of parameters needs it; DVC itself takes a second to load.

    A file that is not as expected gives all stages: DVC says what is wrong with it.
    """
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)["stages"]  # noqa: S506
        bodies = {name: stage.get("do", stage) for name, stage in written.items() if name in STAGES}
        stages = {name: body for name, body in bodies.items() if f"components.{name}" in body["cmd"]}
        blocks = {name.partition(".")[0] for body in stages.values() for name in body.get("params", [])}
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return Graph(frozenset(STAGES), frozenset(STAGES) | {"dataset", "storage", "variants"})
    return Graph(frozenset(stages), frozenset(blocks))


@dataclass
class Facts:
    """What rules may ask beside the blocks.

    graph: of dvc.yaml.
    first: the stage that is about to run, as DVC calls it (`train@avism`); empty: any may.
    files: every file that was looked for. environment: every variable that was asked for.
    """

    file: ParamsFile
    graph: Graph
    first: str = ""
    files: set[Path] = field(default_factory=set)
    environment: set[str] = field(default_factory=set)

    def mistake(self, place: Location, what: str, fix: str) -> AvisError:
        """A mistake at a key, given as its place from the top of the file."""
        return AvisError(f"{'.'.join(map(str, place))}: {what}", where=self.file.where(place), fix=fix)

    def of_variant(self, variant: str, *place: str | int) -> Location:
        """Where a variant's value is written: with the variant, or in `train`."""
        own: Location = ("variants", variant, *place)
        return own if own in self.file.lines else ("train", *place)

    def variable(self, name: str) -> str:
        """An environment variable, empty if it is not set."""
        self.environment.add(name)
        return os.environ.get(name, "")

    def is_there(self, path: str | Path) -> bool:
        """Whether a file or folder exists."""
        self.files.add(Path(path))
        return Path(path).exists()

    def missing_file(
        self, stage: str, place: Location, path: str | None, fix: str, *, variant: str = ""
    ) -> Iterator[AvisError]:
        """A mistake if a stage that may run would look for a file in vain."""
        if path and not self.is_there(path) and self.may_run(stage, variant):
            yield self.mistake(place, f"there is no {path}", fix)

    def may_run(self, stage: str, variant: str = "") -> bool:
        """Whether a stage may run from now on; only then must its files be there, and its GPU.

        DVC runs stages in the graph's order: what comes before the one that is about to run has run, or need
        not. (Models that were pulled from another machine can be scored where they could not be trained.) Of
        another variant it may still come, unless it ran with these very parameters.
        """
        group, _, of = self.first.partition("@")
        if stage not in self.graph.stages:
            return False
        if group not in STAGES or STAGES.index(stage) >= STAGES.index(group):
            return True
        return bool(of and variant and of != variant) and self._parameters_changed(stage, variant)

    def _parameters_changed(self, stage: str, variant: str) -> bool:
        try:
            text = LOCK.read_text(encoding="utf-8")
            locked = yaml.load(text, Loader=_LOADER)  # noqa: S506
            then: dict[str, Any] = locked["stages"][f"{stage}@{variant}"]["params"][str(self.file.path)]
        except (OSError, yaml.YAMLError, TypeError, KeyError):
            return True
        values = self.file.values
        values = {**values, f"variants.{variant}": values["variants"][variant]}
        return any(_at(values, name) != value for name, value in then.items())


def _at(values: Any, name: str) -> Any:
    """A value by the name that DVC gives it; None if it is not there."""
    if not isinstance(values, dict) or name in values:
        return values.get(name) if isinstance(values, dict) else None
    first, _, rest = name.partition(".")
    return _at(values.get(first), rest) if rest else None
