"""The train stage: one variant from annotations and media to weights, a history and an MLflow run."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.core.clips.index import common_features, common_frame_rate_hz
from components.core.records.annotations import AnnotationSet, read_annotations
from components.core.records.masks import is_empty
from components.core.run.errors import AvisError
from components.core.run.files import replace_folder, sha256_file, write_json
from components.core.run.params import read_variant
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.core.tracking.run import Run, training_run
from components.train.annotated_clips import AnnotatedClips
from components.train.batch import collate
from components.train.checkpoint import load_checkpoint
from components.train.distributed import Team, choose_device, join
from components.train.loader import Share
from components.train.loop import Fitted, Logger, fit, seed_everything, write_history
from components.train.params import TrainParams
from components.train.wrapping import recomputable
from models.checkpoints.saved import WEIGHTS, ModelCard, holds_backbone, save_model, start_from
from models.networks.losses.criterion import LossWeights
from models.networks.registry import Network, build

START = "params.yaml, train.start_from"
HOW_IT_IS_SPREAD = (
    "accumulate",
    "processes",
    "process_timeout_s",
    "compile",
    "checkpoint_activations",
    "loader_workers",
    "checkpoint_every_steps",
    "log_every_steps",
)


def train(variant: str, params: TrainParams | None = None, paths: Paths | None = None) -> None:
    """Train a variant and write data/model/<variant>/; one of several processes under torchrun.

    Raises:
        AvisError: bad parameters, missing files, nothing to learn, a loss that is not finite.
        Stopped: the same, in all processes but the first, which says it.
    """
    paths = paths or Paths()
    params = params or read_variant(variant, TrainParams)
    with join(params) as team:
        plan = plan_together(variant, params, paths, team)
        if not team.leads:
            plan.fit(team, log=lambda values, step: None)
            return
        with recorded(plan) as run:

            def log(values: Mapping[str, float], step: int) -> None:
                run.metrics(values, step=step)

            finish(plan, plan.fit(team, log=log, run_id=run.run_id), run)


@dataclass
class Plan:
    """All that a training needs, checked; made anew in each process."""

    variant: str
    params: TrainParams
    paths: Paths
    annotations: AnnotationSet
    clips: AnnotatedClips
    model: Network
    fingerprint: str

    def fit(self, team: Team, *, log: Logger, run_id: str = "") -> Fitted:
        return fit(
            self.model,
            self.clips,
            self.params,
            log=log,
            team=team,
            checkpoint=self.paths.training_checkpoint(self.variant),
            failures=self.paths.training_failure(self.variant),
            fingerprint=self.fingerprint,
            run_id=run_id,
            label=f"train {self.variant}",
        )


def plan_together(variant: str, params: TrainParams, paths: Paths, team: Team) -> Plan:
    """Make the plan in every process; what one of them cannot do ends all of them with one message."""
    found: Plan | AvisError
    try:
        Share.of(params, team)
        found = make_plan(variant, params, paths, with_weights=team.leads)
    except AvisError as error:
        found = error
    return team.all_or_none(found)


def make_plan(variant: str, params: TrainParams, paths: Paths, *, with_weights: bool) -> Plan:
    """Read the annotations and build the model.

    Args:
        with_weights: load pretrained and starting weights; False where the first process's will come.
    """
    file = paths.annotations / "train.json"
    annotations = read_annotations(file)
    clips = _clips(annotations, params, file, paths)
    seed_everything(params.seed)
    model = _build(params, annotations, with_weights=with_weights)
    if params.start_from and with_weights:
        _start(model, params.start_from, annotations)
    for part in params.checkpoint_activations:
        recomputable(model, part)
    fingerprint = _fingerprint(params, file, paths) if with_weights else ""
    return Plan(variant, params, paths, annotations, clips, model, fingerprint)


@contextmanager
def recorded(plan: Plan) -> Iterator[Run]:
    """The MLflow run of a training: a new one, or that of the unfinished training that goes on."""
    paths, params = plan.paths, plan.params
    unfinished = load_checkpoint(paths.training_checkpoint(plan.variant), plan.fingerprint)
    shown = {**params.model_dump(), "variant": plan.variant, "clips": len(plan.annotations.videos)}
    with training_run(
        variant=plan.variant, params=shown, run_id=unfinished.run_id if unfinished else None, paths=paths
    ) as run:
        run.dataset("train", paths.annotations / "train.json", "training")
        run.dataset("media", paths.media, "training")
        yield run


def finish(plan: Plan, fitted: Fitted, run: Run) -> None:
    """Measure the trained model, write its folder and forget the checkpoint."""
    metrics = _measure(plan.model, plan.params, fitted, plan.paths)
    run.metrics({f"train/{name}": value for name, value in metrics.items()})
    card = _card(plan)
    clips = sorted(video.name for video in plan.annotations.videos)
    _write(plan.paths.model(plan.variant), plan.model, card, fitted, metrics, clips, run)
    plan.paths.training_checkpoint(plan.variant).unlink(missing_ok=True)
    plan.paths.training_failure(plan.variant).unlink(missing_ok=True)


def _clips(annotations: AnnotationSet, params: TrainParams, file: Path, paths: Paths) -> AnnotatedClips:
    """The examples of an annotation file, at the rate at which extract chose the frames."""
    paths = with_local_media(paths, [video.name for video in annotations.videos])
    rate_hz = common_frame_rate_hz(paths.media / "index.parquet")
    return AnnotatedClips(annotations, paths.media, params, where=str(file), frame_rate_hz=rate_hz)


def _build(params: TrainParams, annotations: AnnotationSet, *, with_weights: bool) -> Network:
    settings = params.model.model_dump(exclude={"name"})
    if not with_weights:
        none = {"backbone_pretrained": False, "backbone_weights": None, "audio_weights": None}
        settings |= {name: value for name, value in none.items() if name in settings}
    if params.start_from and with_weights and not Path(params.start_from).is_file():
        raise AvisError(
            f"there are no weights at {params.start_from}",
            where=START,
            fix="Set it to null to start without.",
        )
    try:
        start = Path(params.start_from) if params.start_from and with_weights else None
        if start and holds_backbone(start, params.model.backbone):
            settings["backbone_pretrained"] = False  # loaded over it anyway, and perhaps not at hand
        return build(params.model.name, categories=len(annotations.categories), **settings)
    except (ValueError, OSError) as error:
        raise AvisError(f"the model cannot be built: {error}", where="params.yaml, train.model") from None


def _start(model: Network, file: str, annotations: AnnotationSet) -> None:
    """Load ``start_from``; parameters it lacks start fresh and are counted in one line."""
    try:
        left = start_from(model, Path(file), annotations.categories)
    except Exception as error:  # safetensors raises its own kinds for damaged files
        raise AvisError(f"{file} does not hold weights: {error}", where=START) from None
    own = model.state_dict()
    taken = len(own) - sum(name in own for name in left)
    if taken == 0:
        raise AvisError(
            f"{file} was read, but nothing in it fits this model",
            where=START,
            fix="Name weights of such a model, or set it to null to start without.",
        )
    print(f"start from {file}: {taken} of {len(own)} tensors")


def _fingerprint(params: TrainParams, annotations: Path, paths: Paths) -> str:
    """Of what decides the result: parameters, annotations, media and the starting weights.

    How the work is spread does not, so a training that ran out of memory goes on after that is changed.
    """
    parts = [params.model_dump_json(exclude=set(HOW_IT_IS_SPREAD)), sha256_file(annotations)]
    index = paths.media / "index.parquet"
    files = [index, *([Path(params.start_from)] if params.start_from else [])]
    parts += [sha256_file(file) for file in files if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _measure(model: Network, params: TrainParams, fitted: Fitted, paths: Paths) -> dict[str, float]:
    """Numbers of the training: size, speed, and the loss on clips it has not seen."""
    last = fitted.history[-1]
    metrics = {
        "steps": float(fitted.steps),
        "seconds": round(fitted.seconds, 2),
        "steps_per_s": round(fitted.steps / max(fitted.seconds, 1e-9), 4),
        "parameters": float(sum(x.numel() for x in model.parameters())),
        "final_loss": round(last["loss"], 4),
    }
    file = paths.annotations / "val.json"
    validation = read_annotations(file) if file.is_file() else None
    if validation and any(not is_empty(mask) for track in validation.tracks for mask in track.segmentations):
        metrics["validation_loss"] = round(_validation_loss(model, params, validation, paths), 4)
    return metrics


def _validation_loss(
    model: Network, params: TrainParams, annotations: AnnotationSet, paths: Paths, rounds: int = 2
) -> float:
    """Mean loss over the validation clips, without flips or crops, at fixed frames."""
    still = params.model_copy(
        update={
            "flip": False,
            "crop_px": None,
            "max_long_side_px": None,
            "short_sides_px": (params.test_short_side_px,),
            "seed": 0,
        }
    )
    clips = _clips(annotations, still, paths.annotations / "val.json", paths)
    device = choose_device(params.device)
    weights = LossWeights(**params.loss.model_dump())
    model.to(device).eval()
    seed_everything(0)
    total = 0.0
    count = rounds * len(annotations.videos)
    with torch.no_grad():
        for index in range(count):
            batch = collate([clips[index]]).to(device)
            output = model(batch.frames, batch.sound)
            counts = model.counts(batch.targets, weights)  # this process measures alone
            losses = model.losses(output, batch.targets, weights, counts=counts)
            total += float(torch.stack(list(losses.values())).sum())
    return total / count


def _card(plan: Plan) -> ModelCard:
    params, annotations = plan.params, plan.annotations
    config: dict[str, Any] = json.loads(json.dumps(params.model.model_dump(exclude={"name"})))
    names = [video.name for video in annotations.videos]
    index = plan.paths.media / "index.parquet"
    return ModelCard(
        name=params.model.name,
        config={**config, "categories": len(annotations.categories)},
        categories=annotations.categories,
        short_side_px=params.test_short_side_px,
        frame_rate_hz=plan.clips.frame_rate_hz,
        features_from=common_features(index, names) if params.model.audio == "features" else "",
    )


def _write(
    folder: Path,
    model: Network,
    card: ModelCard,
    fitted: Fitted,
    metrics: dict[str, float],
    clips: list[str],
    run: Run,
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as temporary:
        save_model(temporary, model, card)
        write_history(temporary / "history.csv", fitted.history)
        write_json(temporary / "metrics.json", metrics)
        write_json(temporary / "clips.json", clips)  # so that it can be told which models saw a video
        write_json(temporary / "run.json", {"run_id": run.run_id, "trained": time.strftime("%Y-%m-%d")})
    run.artifact(folder / "history.csv", "training")
    run.artifact(folder / "config.json", "training")
    run.artifact(folder / "clips.json", "training")
    validated = {name: value for name, value in metrics.items() if name == "validation_loss"}
    run.logged_model(card.name, folder / WEIGHTS, validated)
