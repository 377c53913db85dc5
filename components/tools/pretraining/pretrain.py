"""`avis pretrain`: make the weights that a short training starts from, out of thousands of composed clips.

Settings: the `train` block of params.yaml with pretrain.yaml, beside this file, laid over it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.train.params import TrainParams

SETTINGS = Path(__file__).with_suffix(".yaml")
CHECKPOINT = Path("data/.checkpoints/pretrain.pt")


class PretrainParams(TrainParams):
    """The `train` block, and what of the kit these weights shall not know: what trainings then teach."""

    unseen_categories: tuple[str, ...] = ()


def pretrain(out: Path, *, steps: int | None = None, settings: Path = SETTINGS) -> None:
    """Train on clips composed in memory and write the weights, in half precision, to ``out``.

    Killed and started again, it goes on from its last checkpoint. Test clips and held-out sprites are
    never composed: their seeds and their sprites are others.

    Raises:
        AvisError: a parameter is wrong, or the kit of the composer is.
    """
    try:
        override = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise AvisError(
            "the pretraining settings cannot be read", where=str(settings), fix=str(error)
        ) from None
    if steps is not None:
        override["steps"] = steps
    params = read_block("train", PretrainParams, override=override)
    if params.model.audio == "features":
        raise AvisError(
            "composed clips have no precomputed audio features",
            where="params.yaml, train.model.audio",
            fix="Set it to vggish or none.",
        )

    import torch

    from components.core.run.files import replace_file
    from components.tools.pretraining.composed_clips import ComposedClips
    from components.train.loop import fit, seed_everything, write_history
    from models.checkpoints.saved import save_weights
    from models.networks.registry import build

    # On one core, whatever there are: more threads add up in another order, and other bytes come out.
    torch.set_num_threads(1)
    seed_everything(params.seed)
    clips = ComposedClips(
        count=params.steps * params.clips_per_step,
        frames_per_clip=params.frames_per_clip,
        short_side_px=params.short_sides_px[0],
        unseen=params.unseen_categories,
    )
    architecture = params.model.model_dump(exclude={"name"})
    try:
        model = build(params.model.name, categories=len(clips.categories), **architecture)
    except (ValueError, OSError) as error:
        raise AvisError(f"the model cannot be built: {error}", where="params.yaml, train.model") from None

    def log(values: Mapping[str, float], step: int) -> None:
        """The progress bar says it; the history keeps it."""

    described = json.dumps([params.model_dump(), clips.params.model_dump()], sort_keys=True)
    fitted = fit(
        model,
        clips,
        params,
        log=log,
        checkpoint=CHECKPOINT,
        fingerprint=hashlib.sha256(described.encode()).hexdigest(),
        label="pretrain",
    )
    with replace_file(out) as temporary:
        save_weights(temporary, model.state_dict(), categories=clips.categories, half=True)
    with replace_file(out.with_suffix(".csv")) as temporary:
        write_history(temporary, fitted.history)
    CHECKPOINT.unlink(missing_ok=True)
