"""The train stage: one variant from annotations and media to weights, a history and an MLflow run.

The way of a clip: `annotated_clips` chooses its frames and draws crop, size and flip; `loader` deals the
examples of a step out to the processes; `batch` pads them to one size; `loop` takes losses, gradients and the
step. `launch` and `ray_launch` start several processes; `distributed` is how these agree.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from components.core.run.files import replace_folder, sha256_file, write_json
from components.core.run.params import read_variant
from components.core.run.paths import FURTHER, SEEDS, Paths, name_of_seed
from components.core.tracking.run import Run, training_run
from components.train.checkpoint import load_checkpoint
from components.train.loop import write_history
from components.train.params import TrainParams
from components.train.plan import Plan, plan_together
from components.train.processes.distributed import Team, join, threads_alone
from components.train.progress import Fitted, worth
from components.train.released import read_released
from components.train.validation import Calibration, calibrate, validation_loss
from models.checkpoints.saved import WEIGHTS, ModelCard, save_model
from models.networks.registry import Network

_FALL_POINTS = 2.0  # of the mean of FSLA and HOTA, from the best to the last state: less is noise


def train(variant: str, params: TrainParams | None = None, paths: Paths | None = None) -> None:
    """Train a variant and write data/model/<variant>/; one of several processes under torchrun.

    Raises:
        AvisError: bad parameters, missing files, nothing to learn, a loss that is not finite.
        Stopped: the same, in all processes but the first, which says it.
    """
    paths = paths or Paths()
    params = params or read_variant(variant, TrainParams)
    if params.checkpoint is not None:
        take_released(variant, params, paths)
        return
    with join(params) as team:
        for number in range(1, params.seeds + 1):
            name = name_of_seed(variant, number)
            plan = plan_together(name, params.with_seed(number), paths, team)
            if number > 1 and team.leads:
                print(f"train {variant}: seed {number} of {params.seeds}")
            _train_once(plan, team, last=number == params.seeds)
        if team.leads:
            forget_checkpoints(variant, params, paths)


def _train_once(plan: Plan, team: Team, *, last: bool) -> None:
    """Train with one seed; unless it is the last one the other processes wait for the first one's end."""
    every_s = plan.params.process_timeout_s / 4
    if not team.leads:
        plan.fit(team, log=lambda values, step: None)
        if not last:
            team.first_alone(lambda: None, every_s=every_s)
        return
    with recorded(plan) as run:

        def log(values: Mapping[str, float], step: int) -> None:
            run.metrics(values, step=step)

        fitted = plan.fit(team, log=log, run_id=run.run_id)
        if last:
            with threads_alone():
                finish(plan, fitted, run)
        else:
            team.first_alone(lambda: finish(plan, fitted, run), every_s=every_s)


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


def take_released(variant: str, params: TrainParams, paths: Paths | None = None) -> None:
    """Write data/model/<variant>/ of the variant's `checkpoint`, and its run, without training.

    Raises:
        AvisError: as released.read_released.
    """
    paths = paths or Paths()
    model, card, clips = read_released(params, paths)
    shown = {"checkpoint": params.checkpoint, "variant": variant}
    with training_run(variant=variant, params=shown, paths=paths) as run:
        _keep(variant, params, paths, model, card, clips, None, run)


def finish(plan: Plan, fitted: Fitted, run: Run) -> None:
    """Measure the trained model and write its folder."""
    clips = sorted(video.name for video in plan.annotations.videos)
    _keep(plan.variant, plan.params, plan.paths, plan.model, plan.card, clips, fitted, run)


def forget_checkpoints(variant: str, params: TrainParams, paths: Paths) -> None:
    """Remove what a killed training goes on from, when all seeds are trained.

    Only then: a kill before this (and DVC, which takes away what a stage wrote before it runs again) leaves
    the ends of the trainings to be done again, from their last checkpoints.
    """
    for number in range(1, params.seeds + 1):
        name = name_of_seed(variant, number)
        paths.training_checkpoint(name).unlink(missing_ok=True)
        paths.training_failure(name).unlink(missing_ok=True)


def _keep(
    variant: str,
    params: TrainParams,
    paths: Paths,
    model: Network,
    card: ModelCard,
    clips: list[str] | None,
    fitted: Fitted | None,
    run: Run,
) -> None:
    """Choose thresholds, measure, write the model's folder.

    Args:
        clips: that it learned from; None if nobody knows.
        fitted: None of a model that was not trained here.
    """
    calibration = calibrate(model, card, params, paths)
    if calibration is None:
        print("no validation clip has a mask: thresholds stay as published")
    else:
        chosen = calibration.thresholds
        card = replace(
            card,
            score_threshold=chosen.score,
            presence_threshold=chosen.presence,
            hearing_threshold=chosen.hearing,
        )
        print(
            f"thresholds chosen on {calibration.clips} validation clips: score {chosen.score:g}, presence "
            f"{chosen.presence:g}, hearing {chosen.hearing:g} (FSLA there {chosen.fsla:.1f}, with the "
            f"published ones {chosen.published_fsla:.1f})"
        )
    metrics = {} if fitted is None else _of_validation(fitted, params)  # first what a training is judged by
    metrics |= _of_calibration(calibration)
    if fitted is not None:
        metrics |= _of_training(fitted, validation_loss(model, params, paths))
    metrics["parameters"] = float(sum(x.numel() for x in model.parameters()))
    run.metrics({f"train/{name}": value for name, value in metrics.items()})
    folder = paths.model(variant)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as temporary:
        if folder == paths.model(variant.partition("@")[0]):
            write_json(temporary / SEEDS / FURTHER, 0 if fitted is None else params.seeds - 1)
        save_model(temporary, model, card)
        write_history(temporary / "history.csv", fitted.history if fitted else [])
        write_json(temporary / "metrics.json", metrics, sort_keys=False)
        write_json(temporary / "calibration.json", None if calibration is None else asdict(calibration))
        write_json(temporary / "clips.json", clips)  # so that it can be told which models saw a video
        write_json(
            temporary / "run.json",
            {"run_id": run.run_id, "trained": time.strftime("%Y-%m-%d"), **_origin(params)},
        )
    for name in ("history.csv", "config.json", "clips.json", "calibration.json"):
        run.artifact(folder / name, "training")
    validated = {name: value for name, value in metrics.items() if name == "validation_loss"}
    run.logged_model(card.name, folder / WEIGHTS, validated)


def _origin(params: TrainParams) -> dict[str, dict[str, str]]:
    """Which weights the model began with, or is: compare finds out whose start a checkpoint is."""
    name = "start_from" if params.checkpoint is None else "checkpoint"
    given = params.checkpoint or params.start_from
    path = Path(given or "")
    path = path / WEIGHTS if path.is_dir() else path
    return {name: {"file": given, "sha256": sha256_file(path)}} if given and path.is_file() else {}


def _of_training(fitted: Fitted, validated: float | None) -> dict[str, float]:
    """Numbers of the training: length, speed, and the loss on clips it has not seen."""
    metrics = {
        "steps": float(fitted.steps),
        "seconds": round(fitted.seconds, 2),
        "steps_per_s": round(fitted.steps / max(fitted.seconds - fitted.validation_s, 1e-9), 4),
        "final_loss": round(next(row["loss"] for row in reversed(fitted.history) if "loss" in row), 4),
    }
    return metrics if validated is None else {**metrics, "validation_loss": round(validated, 4)}


def _of_validation(fitted: Fitted, params: TrainParams) -> dict[str, float]:
    """The start, the kept and the last of the validated states; what is no gain is said to be seen."""
    rows = [row for row in fitted.history if "val_FSLA" in row]
    if not rows:
        return {}
    start, last, best = rows[0], rows[-1], max(rows, key=worth)
    kept = best if fitted.best is not None else last
    if worth(kept) <= worth(start):
        _warn(
            f"This training taught nothing: on the validation clips {_shown(start)} at its start, "
            f"{_shown(kept)} at its end.",
            "Try another train.learning_rate or more steps, or look at the labels (data/qa/report.html).",
        )
    elif worth(last) < worth(best) - _FALL_POINTS:
        _warn(
            f"The last steps made it worse: on the validation clips {_shown(best)} at step "
            f"{best['step']:.0f}, {_shown(last)} at the end.",
            f"The state of step {best['step']:.0f} is kept. Take fewer steps or a lower train.learning_rate."
            if fitted.best is not None
            else "Set train.keep to best, or take fewer steps or a lower train.learning_rate.",
        )
    names = ("FSLA", "HOTA", "mAP")
    return {
        **{f"kept_{name}": round(kept[f"val_{name}"], 2) for name in names},
        **{f"gain_{name}": round(kept[f"val_{name}"] - start[f"val_{name}"], 2) for name in names},
        **{f"start_{name}": round(start[f"val_{name}"], 2) for name in names},
        "kept_step": kept["step"],
        "validation_share": round(fitted.validation_s / max(fitted.seconds, 1e-9), 4),
        **(
            {}
            if params.stop_after_validations is None
            else {"stopped_early": float(fitted.steps < params.steps)}
        ),
    }


def _shown(row: Mapping[str, float]) -> str:
    return f"FSLA {row['val_FSLA']:.1f} and HOTA {row['val_HOTA']:.1f}"


def _warn(*lines: str) -> None:
    print("!" * 78, *lines, "!" * 78, sep="\n", file=sys.stderr)


def _of_calibration(calibration: Calibration | None) -> dict[str, float]:
    if calibration is None:
        return {}
    chosen = calibration.thresholds
    return {
        "validation_FSLA": round(chosen.fsla, 2),
        "validation_FSLA_published_thresholds": round(chosen.published_fsla, 2),
        "score_threshold": chosen.score,
        "presence_threshold": chosen.presence,
        "hearing_threshold": chosen.hearing,
        "calibration_error": round(calibration.reliability.expected_error, 4),
    }
