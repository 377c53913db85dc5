"""A variant that is not trained: a checkpoint that somebody released, or that was trained earlier.

It gets the same folder as a trained one, so that predict, evaluate, compare and MLflow treat it alike.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from components.core.clips.index import common_frame_rate_hz
from components.core.records.annotations import read_annotations
from components.core.run.errors import AvisError
from components.core.run.params import read_yaml
from components.core.run.paths import Paths
from components.train.params import TrainParams
from models.checkpoints.published import load_published
from models.checkpoints.saved import CONFIG, WEIGHTS, ModelCard, load_model, names_in_header, start_from
from models.networks.registry import Network, build

WHERE = "params.yaml, checkpoint"


def read_released(params: TrainParams, paths: Paths) -> tuple[Network, ModelCard, list[str] | None]:
    """The network of `checkpoint`, its card with the ids that the annotations give its categories, and the
    clips that it learned from: those of a training's folder, else None.

    Read are a folder that training wrote, weights with the names of their categories in the header (as
    `avis pretrain` writes them), and released checkpoints of AVISM and ACVIS. A category that the annotations
    do not have gets an id behind theirs: predict leaves its tracks out.

    Raises:
        AvisError: it cannot be read, is of another network than `model`, has no category of the annotations
            (unless it is what `start_from` names: what it is taught is told beside it), or does not name its
            categories and has another number of them.
    """
    if params.checkpoint is None:
        raise AvisError("the variant names no checkpoint")
    path = Path(params.checkpoint)
    wanted = read_annotations(paths.annotations / "train.json").categories
    if not path.exists():
        raise AvisError(f"there is no checkpoint at {path}", where=WHERE, fix="Correct the path.")
    try:
        if (path / CONFIG).is_file():
            _, earlier = load_model(path)
            model, card = _named(path / WEIGHTS, earlier.name, earlier.config, earlier, wanted, params, paths)
            return model, card, _clips_seen(path, paths)
        if names_in_header(path):
            settings = json.loads(json.dumps(params.model.model_dump(exclude={"name"})))
            return *_named(path, params.model.name, settings, None, wanted, params, paths), None
        model = load_published(path)
    except (ValueError, OSError, SafetensorError) as error:
        raise AvisError(f"{path} is no checkpoint that can be used: {error}", where=WHERE) from error
    if model.config.categories != len(wanted):
        raise AvisError(
            f"{path} has {model.config.categories} categories without names, the annotations {len(wanted)}",
            where=WHERE,
            fix="A released checkpoint goes with the categories of its own data set, in the order of ids.",
        )
    print(f"{path} does not name its categories: they are taken in the order of the annotations' ids")
    return model, _card("avism", asdict(model.config), dict(wanted), None, params, paths), None


def say_what_is_ignored(variant: str, params: TrainParams) -> None:
    """Print which of the variant's own settings mean nothing beside its `checkpoint`."""
    used = {"checkpoint", "device"}
    if not (Path(params.checkpoint or "") / CONFIG).is_file():  # else its own card says what it is
        used |= {"model", "test_short_side_px"}
    own = read_yaml()["variants"][variant] or {}
    ignored = [name for name in own if name not in used]
    if ignored:
        print(
            f"variants.{variant}: {', '.join(ignored)} count for nothing beside `checkpoint`, which is not "
            "trained; take them out"
        )


def _clips_seen(folder: Path, paths: Paths) -> list[str] | None:
    """The clips that an earlier training learned from. Says which of them are test clips here."""
    file = folder / "clips.json"
    try:
        clips: list[str] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except ValueError as error:
        raise AvisError(f"the list of its clips cannot be read: {error}", where=str(file)) from None
    test = paths.annotations / "test.json"
    if clips and test.is_file():
        both = sorted(set(clips) & {video.name for video in read_annotations(test).videos})
        if both:
            print(
                f"{folder} learned from {len(both)} of the test clips ({both[0]}, …): its scores are too high"
            )
    return clips


def _named(
    weights: Path,
    name: str,
    settings: dict[str, Any],
    earlier: ModelCard | None,
    wanted: dict[int, str],
    params: TrainParams,
    paths: Paths,
) -> tuple[Network, ModelCard]:
    """A network whose weights name their categories: rows of heads go where the ids want them."""
    named = names_in_header(weights) or []
    elsewhere = {"backbone_pretrained": False, "backbone_weights": None, "audio_weights": None}
    config = {**settings, "categories": len(named)}
    config |= {setting: value for setting, value in elsewhere.items() if setting in config}
    model = build(name, **config)
    categories = _numbered(named, wanted, is_start=params.checkpoint == params.start_from)
    _require_same_network(model, weights)
    start_from(model, weights, categories)
    return model.eval(), _card(name, config, categories, earlier, params, paths)


def _require_same_network(model: Network, weights: Path) -> None:
    """Raise ValueError unless all parameters are there, in these sizes, and no others.

    Heads that tag sounds count in training only: where `model` has none they are left.
    """
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    with safe_open(weights, framework="pt") as file:
        given = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118, no mapping
    missing = [name for name, shape in wanted.items() if given.get(name) != shape]
    further = [name for name in given if name not in wanted and not name.startswith("audio_tags.")]
    if missing:
        raise ValueError(
            f"it is of another network than `model` describes: {len(missing)} parameters of that are not "
            f"there or of another size ({', '.join(missing[:3])}, …)"
        )
    if further:
        raise ValueError(
            f"it is of another network than `model` describes: that has no place for {len(further)} of its "
            f"parameters ({', '.join(further[:3])}, …)"
        )


def _numbered(names: list[str], wanted: dict[int, str], *, is_start: bool) -> dict[int, str]:
    """The categories by the annotations' ids; those that these lack follow. Says what does not meet."""
    ids = {name: number for number, name in wanted.items()}
    if not set(names) & set(ids) and is_start:
        print(
            "the checkpoint knows none of the annotations' categories: it finds nothing before it is trained"
        )
    elif not set(names) & set(ids):
        raise ValueError(
            f"it knows none of the annotations' categories: it has {', '.join(names[:5])}, they "
            f"{', '.join(list(ids)[:5])}"
        )
    unknown = [name for name in ids if name not in names]
    foreign = [name for name in names if name not in ids]
    if unknown:
        print(f"the checkpoint knows nothing of {', '.join(unknown)}")
    if foreign:
        print(f"the annotations have nothing of {', '.join(foreign)}: such tracks are left out")
    behind = max(ids.values())
    numbers = {name: ids.get(name, behind + 1 + place) for place, name in enumerate([*foreign])} | ids
    return {numbers[name]: name for name in names}


def _card(
    name: str,
    config: dict[str, Any],
    categories: dict[int, str],
    earlier: ModelCard | None,
    params: TrainParams,
    paths: Paths,
) -> ModelCard:
    rate_hz = common_frame_rate_hz(paths.media / "index.parquet")
    if earlier and earlier.frame_rate_hz != rate_hz:
        print(f"it learned from {earlier.frame_rate_hz:g} frames per second, the media have {rate_hz:g}")
    return ModelCard(
        name=name,
        config=config,
        categories=categories,
        short_side_px=earlier.short_side_px if earlier else params.test_short_side_px,
        frame_rate_hz=rate_hz,
        features_from=earlier.features_from if earlier else "",
        released=str(params.checkpoint),
    )
