"""On clips that training has not seen: the loss, and the thresholds under which FSLA is highest."""

from dataclasses import dataclass

import torch

from components.core.calibration.candidates import find_candidates
from components.core.calibration.reliability import Reliability, Silence, reliability, silence
from components.core.calibration.thresholds import ChosenThresholds, choose_thresholds
from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.metrics.accumulate import add_up, all_values, count
from components.core.metrics.protocols import summarise
from components.core.records.annotations import AnnotationSet, Video, read_annotations
from components.core.records.masks import is_empty
from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.train.examples.annotated_clips import clips_of
from components.train.examples.batch import collate
from components.train.kept_features import KeptFeatures
from components.train.loop import seed_everything
from components.train.params import TrainParams
from components.train.processes.distributed import choose_device
from components.train.progress import Validate
from models.checkpoints.saved import ModelCard
from models.networks.losses.criterion import LossWeights
from models.networks.registry import Network

_ROUNDS = 2  # each clip is seen so often, at other frames


@dataclass(frozen=True)
class Calibration:
    """Chosen on `clips` validation clips.

    reliability: of all candidates under the chosen presence threshold; silence: under both thresholds.
    """

    thresholds: ChosenThresholds
    reliability: Reliability
    silence: Silence
    clips: int


def validation_clips(paths: Paths) -> AnnotationSet | None:
    """The val split; None if it has no clips, or none of them has a mask."""
    file = paths.annotations / "val.json"
    annotations = read_annotations(file, paths.root) if file.is_file() else None
    if annotations is None or all(is_empty(mask) for x in annotations.tracks for mask in x.segmentations):
        return None
    return annotations


def predict_settings(params: TrainParams) -> PredictParams:
    """As many tracks as predict will take, in full precision; clips as the training has them.

    Raises:
        AvisError: the `predict` block is wrong.
    """
    most = read_block("predict", PredictParams, optional=True).most_tracks
    return PredictParams(most_tracks=most, disturb=params.disturb)


def calibrate(model: Network, card: ModelCard, params: TrainParams, paths: Paths) -> Calibration | None:
    """Choose the thresholds of a trained model; None if no validation clip has a mask."""
    annotations = validation_clips(paths)
    if annotations is None:
        return None
    names = [video.name for video in annotations.videos]
    model.to(choose_device(params.device))  # one that was not trained here is still on the CPU
    predictor = Predictor(model.eval(), card, predict_settings(params), paths.root)
    clips = find_candidates(predictor, annotations, with_local_media(paths, names).media, label="thresholds")
    chosen = choose_thresholds(clips)
    kept = [clip.under(chosen.score, chosen.presence, chosen.hearing) for clip in clips]
    every = [clip.under(0.0, chosen.presence, chosen.hearing) for clip in clips]
    return Calibration(chosen, reliability(every), silence(kept), len(clips))


def validator(card: ModelCard, params: TrainParams, paths: Paths) -> Validate:
    """What scores a model on clips spread over val: FSLA, HOTA and mAP, percent, corrected.

    Thresholds are chosen anew each time: how sure a model is changes while it learns.

    Raises:
        AvisError: none of these clips has a mask.
    """
    annotations = validation_clips(paths)
    if annotations is None:
        raise AvisError(
            "training is to be validated, but no validation clip has a mask",
            where="params.yaml, train.validate_every_steps",
            fix="Set it to 0, or give some sources to the split val.",
        )
    videos = spread(annotations.videos, params.validation_clips)
    chosen = {video.id for video in videos}
    tracks = [track for track in annotations.tracks if track.video_id in chosen]
    if all(is_empty(mask) for track in tracks for mask in track.segmentations):
        raise AvisError(
            f"training is to be validated, but of {len(annotations.videos)} validation clips the "
            f"{len(videos)} that are taken have no mask",
            where="params.yaml, train.validation_clips",
            fix=f"Set it higher, at most {len(annotations.videos)}.",
        )
    few = AnnotationSet(annotations.categories, videos, tracks)
    media = with_local_media(paths, [video.name for video in videos]).media

    settings = predict_settings(params)
    features = KeptFeatures()

    def validate(model: Network) -> dict[str, float]:
        predictor = Predictor(model.eval(), card, settings, paths.root)
        with features.used_by(model):
            clips = find_candidates(predictor, few, media, label="validate")
        best = choose_thresholds(clips)
        kept = [clip.under(best.score, best.presence, best.hearing) for clip in clips]
        categories = sorted(few.categories)
        summaries = [summarise(clip, categories, "corrected") for clip in kept]
        values = all_values(add_up(count(summaries, categories, "corrected")))
        return {name: float(values[name] or 0.0) for name in ("FSLA", "HOTA", "mAP")}

    return validate


def spread(videos: list[Video], count: int) -> list[Video]:
    """So many of the videos (all, if there are fewer), in their order, at equal distances."""
    count = min(count, len(videos))
    return [videos[(2 * place + 1) * len(videos) // (2 * count)] for place in range(count)]


def validation_loss(model: Network, params: TrainParams, paths: Paths) -> float | None:
    """Mean loss over the validation clips, without flips or crops, at frames that the seed 0 fixes.

    Returns:
        None if there are no validation clips, or none of them has a mask.
    """
    annotations = validation_clips(paths)
    if annotations is None:
        return None
    still = params.model_copy(
        update={
            "flip": False,
            "crop_px": None,
            "max_long_side_px": None,
            "short_sides_px": (params.test_short_side_px,),
            "seed": 0,
        }
    )
    clips = clips_of(annotations, still, paths.annotations / "val.json", paths)
    device = choose_device(params.device)
    weights = LossWeights(**params.loss.model_dump())
    model.to(device).eval()
    seed_everything(0)
    total = 0.0
    count = _ROUNDS * len(annotations.videos)
    with torch.no_grad():
        for index in range(count):
            batch = collate([clips[index]]).to(device)
            output = model(batch.frames, batch.sound)
            counts = model.counts(batch.targets, weights)  # this process measures alone
            losses = model.losses(output, batch.targets, weights, counts=counts)
            total += float(torch.stack(list(losses.values())).sum())
    return total / count
