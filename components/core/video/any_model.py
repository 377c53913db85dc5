"""A model from wherever somebody has one: the folder of a training, or a file that was released."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.run.errors import AvisError
from models.checkpoints.recognised import Choices, Recognised, SeveralReadingsError, numbered, recognise
from models.checkpoints.saved import CONFIG, WEIGHTS, ModelCard

_SHORT_SIDES_PX = {"swin_large": 448}  # of the frames that the published models see; of the others 360
_SHORT_SIDE_PX = 360
_DECIDES = "--take, --heads, --window, --clip-frames and --audio decide where a file leaves something open."


@dataclass(frozen=True)
class Reading:
    """What decides where the tensors of a released file can be read in more than one way.

    categories: their names, comma-separated or in a file: a line each, or `categories` of a JSON of
        annotations; "" as the file says, or AVISeg's if there are as many.
    short_side_px: of the frames that it sees; None as published.
    """

    choices: Choices = field(default_factory=Choices)
    categories: str = ""
    short_side_px: int | None = None

    @property
    def text(self) -> str:
        """Equal for equal readings."""
        return json.dumps(asdict(self), sort_keys=True)


def load_any(
    model: Path, params: PredictParams, reading: Reading | None = None
) -> tuple[Predictor, list[str]]:
    """Load a folder that training wrote, or a released file or folder of AVISM, ACVIS or TPAVI.

    Returns:
        The predictor, and what was assumed of a released file, a sentence each.

    Raises:
        AvisError: there is none, it is none, or it can be read in several ways; it says what decides.
    """
    reading = reading or Reading()
    folder = _trained_folder(model, reading)
    if folder is not None:
        return Predictor.load(folder, params), []
    seen, said = _usable(model, reading)
    network = seen.model()
    card = ModelCard(
        name=seen.network,
        config=asdict(network.config),
        categories=numbered(seen.categories or ()),
        short_side_px=_short_side_px(seen, reading),
        frame_rate_hz=1.0,  # of AVISeg
        released=str(model),
    )
    return Predictor.of(network, card, params), said


def examine(model: Path, reading: Reading | None = None) -> list[str]:
    """What `load_any` would assume of a released file, without making the network.

    Raises:
        AvisError: as `load_any`, but for the files of a training's folder.
    """
    reading = reading or Reading()
    return [] if _trained_folder(model, reading) is not None else _usable(model, reading)[1]


def _trained_folder(model: Path, reading: Reading) -> Path | None:
    """The folder of a training, given by itself or by its file of weights."""
    folder = model if model.is_dir() else model.parent
    if not ((folder / CONFIG).is_file() and (model.is_dir() or model.name == WEIGHTS)):
        return None
    if reading != Reading():
        raise AvisError(
            "the model's settings and categories stand beside its weights",
            where=str(folder / CONFIG),
            fix="Leave out the options that say how a released file is read.",
        )
    return folder


def _usable(model: Path, reading: Reading) -> tuple[Recognised, list[str]]:
    """A released file that nothing is missing of, its categories named."""
    seen = inspect_file(model, reading)
    if seen.different:
        raise AvisError(f"the weights cannot be used: {seen.different}", where=str(model), fix=_DECIDES)
    if seen.categories is None:
        raise AvisError(
            f"nothing names the {seen.settings.get('categories')} categories of this file",
            where=str(model),
            fix="Name them with --categories: a file of a name a line, or name,name,…",
        )
    return seen, _said_of(seen, reading)


def _short_side_px(seen: Recognised, reading: Reading) -> int:
    return reading.short_side_px or _SHORT_SIDES_PX.get(seen.settings.get("backbone", ""), _SHORT_SIDE_PX)


def inspect_file(file: Path, reading: Reading | None = None) -> Recognised:
    """What a released file is, its categories named as asked for.

    Raises:
        AvisError: as `load_any`, but not for what is missing or left over.
    """
    reading = reading or Reading()
    if not file.exists():
        raise AvisError("there is no such model", where=str(file), fix="Correct the path.")
    try:
        seen = recognise(file, reading.choices)
    except SeveralReadingsError as error:
        raise AvisError(str(error), fix=_DECIDES) from None
    except OSError as error:
        raise AvisError(f"the file cannot be read: {error.strerror or error}", where=str(file)) from None
    except ValueError as error:
        raise AvisError(f"it is no model that can be used: {error}") from None
    if not reading.categories:
        return seen
    names, count = _names(reading.categories), seen.settings.get("categories")
    if count is not None and len(names) != count:  # without a class head, what is missing is said instead
        raise AvisError(
            f"--categories names {len(names)} categories, the class head of {file} has {count}",
            where=reading.categories,
            fix="Name all of them in the order of their ids.",
        )
    return replace(seen, categories=tuple(names), categories_from="--categories")


def _said_of(seen: Recognised, reading: Reading) -> list[str]:
    """What a released file was taken for, a sentence each."""
    sentences = [
        f"{seen.program}, {seen.settings.get('backbone', 'backbone unknown')}, {seen.queries} queries, "
        f"names {seen.spelling}; sees frames of {_short_side_px(seen, reading)} px"
        + (", as published" if reading.short_side_px is None else ""),
        *(f"assumed: {sentence}" for sentence in seen.assumed),
    ]
    if seen.categories_from:
        sentences.append(f"{len(seen.categories or ())} categories: {seen.categories_from}")
    return sentences


def _names(given: str) -> list[str]:
    path = Path(given)
    if not path.is_file():
        names = [name.strip() for name in given.split(",")]
    elif path.suffix.lower() == ".json":
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["categories"]
            names = [str(row["name"]) for row in sorted(rows, key=lambda row: int(row["id"]))]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise AvisError(f"there are no categories: {error!r}", where=given) from None
    else:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    if "" in names or len(set(names)) < len(names):
        raise AvisError("a category has no name, or two have the same", where=given)
    return names
