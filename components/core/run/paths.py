"""Where the stages keep their files. The only place that knows the names under `data/`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The folders of `data/`, relative to the repository root unless `root` is given.

    `media_copy` takes the place of data/media where the media are stored elsewhere (storage/mirror.py).
    """

    root: Path = Path("data")
    media_copy: Path | None = None

    @property
    def sample(self) -> Path:
        return self.root / "sample"

    @property
    def kit(self) -> Path:
        return self.sample / "kit"

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def media(self) -> Path:
        return self.media_copy or self.root / "media"

    @property
    def annotations(self) -> Path:
        return self.root / "annotations"

    @property
    def qa(self) -> Path:
        return self.root / "qa"

    @property
    def mllm(self) -> Path:
        return self.root / "mllm"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison"

    @property
    def tracking(self) -> Path:
        """What MLflow could not take yet; never under DVC."""
        return self.root / ".tracking"

    @property
    def checked(self) -> Path:
        """What the check of params.yaml remembers; never under DVC."""
        return self.root / ".checked"

    def model(self, variant: str) -> Path:
        return self.root / "model" / variant

    def training_checkpoint(self, variant: str) -> Path:
        """Where a training that was stopped goes on; never under DVC."""
        return self.root / ".checkpoints" / f"{variant}.pt"

    def training_failure(self, variant: str) -> Path:
        """The clips at which the loss stopped being a number; never under DVC."""
        return self.root / "model-failures" / f"{variant}.json"

    def predictions(self, variant: str) -> Path:
        return self.root / "predictions" / variant

    def evaluation(self, variant: str) -> Path:
        return self.root / "evaluation" / variant
