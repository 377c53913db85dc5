"""The `annotate` block of params.yaml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from components.core.records.changes import MAX_CHANGED_SHARE
from components.core.run.params import Block, Seed


class Shares(Block):
    """Share of the clips that each split gets when splits are drawn; together 1."""

    train: float = Field(default=0.7, gt=0, lt=1)
    val: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _are_a_whole(self) -> Self:
        together = self.train + self.val + self.test
        if abs(together - 1) > 1e-6:
            raise ValueError(f"train, val and test are {together:g} together; they must be 1")
        return self


class SplitParams(Block):
    """Where a clip's split comes from.

    by: `manifest` takes the manifest's split column; `file` takes it from the annotation file's name
        (train.json, val.json, test.json); `hash` draws it by a seeded hash of the source video.
    manifest: the manifest that ingest downloads from; it also tells which clips share a source.
    shared_sources: what to do when given splits cut one source video apart. `refuse` stops; `drop` keeps
        its clips of the test split (failing that, of val) and drops the others; `keep` leaves them, as
        published benchmarks need to stay comparable.
    """

    by: Literal["manifest", "file", "hash"] = "manifest"
    manifest: str | None = "data/sample/manifest.csv"
    shares: Shares = Shares()
    seed: Seed = 0
    shared_sources: Literal["refuse", "drop", "keep"] = "refuse"


class AnnotateParams(Block):
    """What to import.

    source: an annotation file, an archive, or a folder of them (DVC watches this path).
    format: `auto`, or the name of a format.
    category_map: a YAML file `name in the source: name here`; null as the name here drops its tracks.
    frame_rate_hz: of annotated frames, a second, where they are not those that were extracted; None: what the
        source tells, or else the video's own rate, as ingest read it.
    sound: a file or folder of sound labels (Audacity, ELAN, Label Studio): when each track is heard. Masks of
        frames in which it is not are taken away.
    strict: nothing may be dropped, merged, guessed, filled in, cut or renamed on reading.
    max_changed_share: of the masks, how many may be dropped or moved on reading.
    max_failed_share: the stage fails when a larger share of the annotation files cannot be read.
    """

    source: str = Field(default="data/sample/annotations.json", min_length=1)
    format: str = "auto"
    category_map: str | None = None
    frame_rate_hz: float | None = Field(default=None, ge=0.001, le=1000)
    sound: str | None = None
    strict: bool = False
    max_changed_share: float = Field(default=MAX_CHANGED_SHARE, ge=0, le=1)
    max_failed_share: float = Field(default=0.1, ge=0, le=1)
    splits: SplitParams = SplitParams()
