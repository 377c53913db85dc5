"""The training loop: batches in, a trained model and its history out; resumes after kill -9.

Letters: B clips, T frames of each, N instances of a clip.
"""

import csv
import ctypes
import random
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from components.core.run.errors import AvisError
from components.train.averaging import WeightAverage
from components.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from components.train.examples.batch import ClipBatch, ClipSource
from components.train.examples.loader import Share, steps_of_parts
from components.train.finite_losses import FiniteWatch
from components.train.params import TrainParams
from components.train.processes.distributed import Stopped, Team, choose_device
from components.train.processes.wrapping import in_training
from components.train.progress import Fitted, Logger, Validate, Validations, stops_early
from components.train.schedule import build_optimizer, build_schedule
from models.networks.losses.criterion import LossWeights
from models.networks.losses.targets import Counts
from models.networks.precision import autocast_type
from models.networks.registry import Network

SMALLEST_SCALE = 2.0**-20  # of fp16 gradients; it starts at 2**16 and is halved with each that overflows


@dataclass
class _Sums:
    """Losses added up on the device since they were last logged."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, value in losses.items():
            value = value.detach()
            self.losses[name] = self.losses[name] + value if name in self.losses else value

    def means(self, team: Team) -> dict[str, float]:
        """Per step, of all processes; waits for the device."""
        values = torch.stack(list(self.losses.values())).double().cpu().tolist()
        summed = team.sum(values)
        return {name: value / team.size / self.steps for name, value in zip(self.losses, summed, strict=True)}


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory: returned and zeroed anew every step it costs a tenth of the time."""
    # mallopt(3). Other C libraries (macOS, musl) have no such call.
    if sys.platform.startswith("linux"):
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def fit(
    model: Network,
    source: ClipSource,
    params: TrainParams,
    *,
    log: Logger,
    team: Team | None = None,
    validate: Validate | None = None,
    checkpoint: Path | None = None,
    failures: Path | None = None,
    fingerprint: str = "",
    run_id: str = "",
    label: str = "train",
) -> Fitted:
    """Train ``model`` in place for ``params.steps`` steps.

    With several processes each calls this with the same model and source; the weights that count are the
    first one's. The result does not depend on how the clips of a step are shared (float noise aside).

    Args:
        source: example i is always the same; step s uses examples s * clips_per_step and following.
        log: called by the first process every ``log_every_steps`` with the mean losses since the last call.
        team: this process among all; None: alone.
        validate: called by the first process before the first step and every ``validate_every_steps``.
        checkpoint: file for resuming, of the first process; read if it is there and its fingerprint is ours.
        failures: where the clips are written at which the loss stopped being finite.
        fingerprint: of everything that decides the result; a checkpoint with another one is set aside.
        run_id: stored in the checkpoint, so that a resumed training continues its MLflow run.

    Raises:
        AvisError: the loss is not finite (the clips of that step are named), an example cannot be read, or
            the clips of a step cannot be shared evenly.
        Stopped: the same, in all processes but the first.
    """
    keep_freed_memory()
    team = team or Team(choose_device(params.device))
    share, device = Share.of(params, team), team.device
    model.to(device).train()
    optimizer = build_optimizer(model, params)
    schedule = build_schedule(optimizer, params)
    dtype = autocast_type(params.precision, device, scaled=True)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    weights = LossWeights(**params.loss.model_dump())
    average = WeightAverage(model, params.average_decay)
    fitted = _resume(checkpoint, fingerprint, team, model, optimizer, schedule, scaler, average)
    if fitted.steps and team.leads:
        tqdm.write(f"{label}: resuming at step {fitted.steps} of {params.steps}")
    watch = FiniteWatch(team, check_gradient=not scaler.is_enabled(), failures=failures)
    sums = _Sums()
    started = time.monotonic() - fitted.seconds
    validations = Validations(validate, params, team, fitted, log, label, average)
    if fitted.steps == 0:
        validations.score(model, 0)
    # killed after it had stopped early, it has nothing left to do
    steps = range(fitted.steps, fitted.steps if stops_early(fitted.history, params) else params.steps)
    with (
        in_training(model, params, team) as running,
        tqdm(
            total=params.steps,
            initial=fitted.steps,
            desc=label,
            unit="step",
            mininterval=1.0,
            disable=not team.leads,
        ) as bar,
    ):
        for step, found in zip(steps, steps_of_parts(source, share, steps, params, device), strict=True):
            parts, counts = _agree(found, model, weights, team)
            # by step, not by example: the whole step is deaf, whatever process and part a clip is in
            deaf = bool(np.random.default_rng([params.seed, 2, step]).random() < params.deaf_share)
            optimizer.zero_grad(set_to_none=True)
            totals = []
            for number, batch in enumerate(parts):
                examples = share.numbers(step, number)
                # randomness belongs to the examples: a resumed run draws what an undisturbed one had drawn
                seed_everything(params.seed * 1_000_003 + examples[0])
                batch = batch.to(
                    device
                )  # frames [B, T, 3, H, W], sound [B, T, 16000], masks B x [N, T, H', W']
                last = number == len(parts) - 1
                with running.exchange(last=last):
                    with torch.autocast(device.type, dtype=dtype) if dtype else nullcontext():
                        output = running.network(batch.frames, None if deaf else batch.sound)
                    seeds = [_clip_seed(params.seed, example) for example in examples]
                    losses = model.losses(output, batch.targets, weights, seeds=seeds, counts=counts)
                    total = torch.stack(list(losses.values())).sum()
                    running.backward(scaler.scale(total), deaf=deaf, last=last)
                del output  # the largest tensors of the step: gone before the next part makes its own
                sums.add({**losses, "loss": total})
                totals.append(total)
            scaler.unscale_(optimizer)  # before clipping, which means the gradient itself
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip_gradient_norm)
            done = step + 1
            logs = done % params.log_every_steps == 0 or done == params.steps
            saves = checkpoint is not None and (
                done % params.checkpoint_every_steps == 0 or done == params.steps
            )
            validates = params.validate_every_steps and (
                done % params.validate_every_steps == 0 or done == params.steps
            )
            names = [batch.names for batch in parts]
            watch.note(step, names, [share.numbers(step, part) for part in range(share.parts)], totals, norm)
            watch.check(
                now=bool(logs or saves or validates)
            )  # before the step, so that no weights are kept that it spoilt
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            average.update()

            sums.steps += 1
            fitted.steps, fitted.seconds = done, time.monotonic() - started
            stops = bool(validates) and validations.score(model, done)
            if logs or stops:
                means = sums.means(team)
                if scaler.is_enabled() and scaler.get_scale() < SMALLEST_SCALE:
                    raise _never_finite(step, team)
                row = {
                    **means,
                    "learning_rate": params.learning_rate * schedule.lr_lambdas[0](done),
                    "seconds": fitted.seconds,
                }
                fitted.add(done, row)
                if team.leads:
                    log({f"train/{name}": value for name, value in row.items()}, done)
                bar.set_postfix(loss=f"{means['loss']:.2f}", refresh=False)
                sums = _Sums()
            fitted.seconds = time.monotonic() - started
            if (saves or stops) and checkpoint is not None and team.leads:
                state = Checkpoint.of(
                    model,
                    optimizer,
                    schedule,
                    scaler,
                    average,
                    fingerprint,
                    run_id,
                    steps=done,
                    seconds=fitted.seconds,
                    history=fitted.history,
                    best=fitted.best,
                    validation_s=fitted.validation_s,
                )
                save_checkpoint(checkpoint, state)
            bar.update()
            if stops:
                break
    if fitted.best is not None:
        model.load_state_dict(fitted.best["weights"])
    else:
        average.settle()
    validations.conclude()
    model.eval()
    return fitted


def _resume(
    checkpoint: Path | None,
    fingerprint: str,
    team: Team,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    scaler: torch.amp.GradScaler,
    average: WeightAverage,
) -> Fitted:
    """Take up the first process's checkpoint in all processes; where a training begins without one."""
    found = load_checkpoint(checkpoint, fingerprint) if checkpoint and team.leads else None
    values = team.from_first(vars(found) if found else None)
    if values is None:
        return Fitted([], 0.0, 0)
    done = Checkpoint(**values)
    done.restore(model, optimizer, schedule, scaler, average)
    return done.fitted


def _agree(
    found: list[ClipBatch] | AvisError, model: Network, weights: LossWeights, team: Team
) -> tuple[list[ClipBatch], Counts]:
    """One word between the processes before a step: can all go on, and by what the losses are divided.

    The counts are of the whole step, divided by the number of processes, as DDP takes the mean.
    """
    mine = [0.0] * len(Counts._fields)
    if isinstance(found, list):
        counted = [model.counts(batch.targets, weights) for batch in found]
        mine = [sum(column) for column in zip(*counted, strict=True)]
    failed, *total = team.sum([float(isinstance(found, AvisError)), *mine])
    parts = team.all_or_none(found) if failed or isinstance(found, AvisError) else found
    return parts, Counts(*(value / team.size for value in total))


def _never_finite(step: int, team: Team) -> AvisError | Stopped:
    """In fp16 steps whose gradient is no number are skipped; when all are, nothing is learned any more."""
    if not team.leads:
        return Stopped()
    return AvisError(
        f"the gradient was no number in every one of the last steps, up to step {step}",
        fix="Set train.precision to bf16 or fp32, or lower train.learning_rate.",
    )


def _clip_seed(seed: int, example: int) -> int:
    """For the random points of an example's losses, whatever process it is on."""
    return int(np.random.SeedSequence([seed, 3, example]).generate_state(1)[0])


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the logged rows as CSV, steps as whole numbers."""
    names = list(dict.fromkeys(name for row in history for name in row)) or ["step", "loss"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in history:
            writer.writerow({**{k: f"{v:.6g}" for k, v in row.items()}, "step": int(row["step"])})
