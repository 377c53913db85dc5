"""What a training needs, read and checked before its first step: examples, network, starting weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from components.core.clips.index import common_features
from components.core.records.annotations import AnnotationSet, read_annotations
from components.core.records.masks import is_empty
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.run.paths import Paths
from components.train.examples.annotated_clips import AnnotatedClips, clips_of
from components.train.examples.loader import Share
from components.train.loop import fit, seed_everything
from components.train.params import TrainParams
from components.train.processes.distributed import Team
from components.train.processes.wrapping import recomputable
from components.train.progress import Fitted, Logger, Validate
from components.train.validation import predict_settings, validation_clips, validator
from models.checkpoints.saved import ModelCard
from models.checkpoints.starting import Start, begin, read_start, weights_file
from models.networks.registry import Network, build

START = "params.yaml, train.start_from"
HOW_IT_IS_SPREAD = {
    "accumulate",
    "processes",
    "process_timeout_s",
    "compile",
    "checkpoint_activations",
    "loader_workers",
    "checkpoint_every_steps",
    "log_every_steps",
    "seeds",
}


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
    card: ModelCard
    validate: Validate | None = None

    def fit(self, team: Team, *, log: Logger, run_id: str = "") -> Fitted:
        return fit(
            self.model,
            self.clips,
            self.params,
            log=log,
            team=team,
            validate=self.validate,
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
    annotations = read_annotations(file, paths.root)
    clips = clips_of(annotations, params, file, paths)
    if with_weights:
        _say_what_cannot_be_learned(annotations, paths)
    seed_everything(params.seed)
    start = _read_start(params) if with_weights else None
    model = _build(params, annotations, start, with_weights=with_weights)
    if start:
        _start(model, start, annotations)
    for part in params.frozen_parts:
        model.get_submodule(part).requires_grad_(False)
    for part in params.checkpoint_activations:
        recomputable(model, part)
    fingerprint = _fingerprint(params, file, paths) if with_weights else ""
    names = [video.name for video in annotations.videos]
    card = ModelCard(
        name=params.model.name,
        config={
            **json.loads(json.dumps(params.model.model_dump(exclude={"name"}))),
            "categories": len(annotations.categories),
        },
        categories=annotations.categories,
        short_side_px=params.test_short_side_px,
        frame_rate_hz=clips.frame_rate_hz,
        features_from=common_features(paths.media / "index.parquet", names)
        if params.model.audio == "features"
        else "",
    )
    validate = validator(card, params, paths) if params.validate_every_steps else None
    return Plan(variant, params, paths, annotations, clips, model, fingerprint, card, validate)


def _say_what_cannot_be_learned(annotations: AnnotationSet, paths: Paths) -> None:
    """Categories that are heard in val and not in train: the network cannot know them."""
    validated = validation_clips(paths)
    if validated is None:
        return
    learned, wanted = (
        {x.category_id for x in split.tracks if not all(map(is_empty, x.segmentations))}
        for split in (annotations, validated)
    )
    names = [validated.categories[key] for key in sorted(wanted - learned)]
    if names:
        print(
            f"{', '.join(names)}: in val, but with no mask in train: nothing is learned of it, "
            "and its frames count as wrong"
        )


def _read_start(params: TrainParams) -> Start | None:
    if params.start_from is None:
        return None
    try:
        return read_start(Path(params.start_from))
    except FileNotFoundError:
        raise AvisError(
            f"there are no weights at {params.start_from}",
            where=START,
            fix="Set it to null to start without.",
        ) from None
    except Exception as error:  # safetensors raises its own kinds for damaged files
        raise AvisError(f"{params.start_from} does not hold weights: {error}", where=START) from None


def _build(
    params: TrainParams, annotations: AnnotationSet, start: Start | None, *, with_weights: bool
) -> Network:
    settings = params.model.model_dump(exclude={"name"})
    if not with_weights:
        none = {"backbone_pretrained": False, "backbone_weights": None, "audio_weights": None}
        settings |= {name: value for name, value in none.items() if name in settings}
    try:
        if start and start.holds_backbone(params.model.backbone):
            settings["backbone_pretrained"] = False  # loaded over it anyway, and perhaps not at hand
        return build(params.model.name, categories=len(annotations.categories), **settings)
    except (ValueError, OSError) as error:
        raise AvisError(f"the model cannot be built: {error}", where="params.yaml, train.model") from None


def _start(model: Network, start: Start, annotations: AnnotationSet) -> None:
    """Load ``start_from``; says what was taken, and which categories start anew."""
    try:
        started = begin(model, start, annotations.categories)
    except ValueError as error:
        raise AvisError(
            f"{start.path} is of another network: {error}",
            where=START,
            fix="Set train.model as the weights were trained, or name other weights.",
        ) from None
    if started.taken == 0:
        raise AvisError(
            f"{start.path} was read, but nothing in it fits this model",
            where=START,
            fix="Name weights of such a model, or set it to null to start without.",
        )
    print(f"start from {start.path}: {started.taken} of {started.of} tensors")
    for sentence in (*start.notes, *started.sentences()):
        print(sentence)


def _fingerprint(params: TrainParams, annotations: Path, paths: Paths) -> str:
    """Of what decides the result: parameters, annotations, media and the starting weights.

    How the work is spread does not, so a training that ran out of memory goes on after that is changed.
    """
    parts = [params.model_dump_json(exclude=HOW_IT_IS_SPREAD), sha256_file(annotations)]
    index = paths.media / "index.parquet"
    files = [index, *([weights_file(Path(params.start_from))] if params.start_from else [])]
    if params.validate_every_steps:  # val decides which state is kept
        files.append(paths.annotations / "val.json")
        parts.append(str(predict_settings(params).most_tracks))
    parts += [sha256_file(file) for file in files if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
