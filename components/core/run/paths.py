"""Where the stages keep their files. The only place that knows the names under `data/`."""

from dataclasses import dataclass
from pathlib import Path

SEEDS = "seeds"
"""The folder of a variant's further trainings, of what they predicted, and of how they scored."""

FURTHER = "further.json"
"""In that folder: how many there are. An output without a file would make DVC warn."""


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
        return self.root / "model" / _folder(variant)

    def seeds(self, variant: str) -> list[str]:
        """The names of a variant's trainings with further seeds, in their order; to be used as its own."""
        return [name_of_seed(variant, number) for number in numbers_of_seeds(self.model(variant) / SEEDS)]

    def training_checkpoint(self, variant: str) -> Path:
        """Where a training that was stopped goes on; never under DVC."""
        return self.root / ".checkpoints" / f"{variant}.pt"

    def training_failure(self, variant: str) -> Path:
        """The clips at which the loss stopped being a number; never under DVC."""
        return self.root / "model-failures" / f"{variant}.json"

    def predictions(self, variant: str) -> Path:
        return self.root / "predictions" / _folder(variant)

    def evaluation(self, variant: str) -> Path:
        return self.root / "evaluation" / _folder(variant)


def numbers_of_seeds(folder: Path) -> list[int]:
    """The further seeds that a folder `seeds` holds; none if it is not there."""
    return sorted(int(one.name) for one in folder.iterdir() if one.name.isdigit()) if folder.is_dir() else []


def name_of_seed(variant: str, number: int) -> str:
    """What the training of a variant with its first, second, … seed is called."""
    return variant if number == 1 else f"{variant}@{number}"


def _folder(name: str) -> Path:
    """A variant's folder; those of its further seeds are inside."""
    variant, _, number = name.partition("@")  # which no variant's name holds
    return Path(variant) / SEEDS / number if number else Path(variant)
