"""The training loop: batches in, a trained model and its history out; resumes after kill -9."""

import csv
import ctypes
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from components.core.errors import AvisError
from components.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from components.train.clip import ClipBatch, ClipSource, TrainingClip, collate
from components.train.params import TrainParams
from components.train.schedule import build_optimizer, build_schedule
from models.losses import LossWeights
from models.networks import Network
from models.precision import autocast_type

Logger = Callable[[Mapping[str, float], int], None]  # (values, step)


@dataclass
class Fitted:
    """What training leaves besides the weights."""

    history: list[dict[str, float]]  # one row per logged step
    seconds: float  # of training, earlier sittings included
    steps: int


class _InOrder(Sampler[int]):
    """Example numbers from the first step to do on; the source itself shuffles."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


class _Guarded(Dataset[TrainingClip | AvisError]):
    """Hands an AvisError over as a value: raised in a loader's worker it would arrive as a traceback."""

    def __init__(self, source: ClipSource) -> None:
        self.source = source

    def __getitem__(self, index: int) -> TrainingClip | AvisError:
        try:
            return self.source[index]
        except AvisError as error:
            return error


def _collate(clips: list[TrainingClip | AvisError]) -> ClipBatch | AvisError:
    good = [clip for clip in clips if isinstance(clip, TrainingClip)]
    errors = [clip for clip in clips if isinstance(clip, AvisError)]
    return errors[0] if errors else collate(good)


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU when there is one. Raises AvisError when cuda is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise AvisError(
            "train.device is cuda, but PyTorch sees no GPU", where="params.yaml", fix="Set it to auto or cpu."
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory: returned and zeroed anew every step it costs a tenth of the time."""
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
    checkpoint: Path | None = None,
    fingerprint: str = "",
    run_id: str = "",
    label: str = "train",
) -> Fitted:
    """Train ``model`` in place for ``params.steps`` steps.

    Args:
        source: example i is always the same; step s uses examples s * clips_per_step and following.
        log: called every ``log_every_steps`` with the mean losses since the last call.
        checkpoint: file for resuming; read when it is there and its fingerprint is ours.
        fingerprint: of everything that decides the result; a checkpoint with another one is ignored.
        run_id: stored in the checkpoint, so that a resumed training continues its MLflow run.

    Raises:
        AvisError: the loss is not finite (the clips of that step are named), or an example cannot be read.
    """
    keep_freed_memory()
    device = choose_device(params.device)
    model.to(device).train()
    optimizer = build_optimizer(model, params)
    schedule = build_schedule(optimizer, params)
    dtype = autocast_type(params.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    weights = LossWeights(**params.loss.model_dump())
    fitted = Fitted([], 0.0, 0)
    done = load_checkpoint(checkpoint, fingerprint) if checkpoint else None
    if done is not None:
        done.restore(model, optimizer, schedule, scaler)
        fitted = Fitted(done.history, done.seconds, done.step)
        tqdm.write(f"{label}: resuming at step {done.step} of {params.steps}")

    loader: DataLoader[TrainingClip | AvisError] = DataLoader(
        _Guarded(source),
        batch_size=params.clips_per_step,
        sampler=_InOrder(fitted.steps * params.clips_per_step, params.steps * params.clips_per_step),
        collate_fn=_collate,
        num_workers=params.loader_workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if params.loader_workers else None,
        persistent_workers=False,
    )
    sums: dict[str, Tensor] = {}
    summed = 0
    started = time.monotonic() - fitted.seconds
    bar = tqdm(loader, total=params.steps, initial=fitted.steps, desc=label, unit="step", mininterval=1.0)
    batch: ClipBatch | AvisError
    for step, batch in enumerate(bar, start=fitted.steps):
        if isinstance(batch, AvisError):
            bar.close()
            raise batch
        # randomness belongs to the step, so a resumed run draws what an undisturbed one would have drawn
        seed_everything(params.seed * 1_000_003 + step)
        batch = batch.to(device)
        sound = None if torch.rand(()) < params.deaf_share else batch.sound
        with torch.autocast(device.type, dtype=dtype) if dtype else nullcontext():
            output = model(batch.frames, sound)
        losses = model.losses(output, batch.targets, weights)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip_gradient_norm)
        # a gradient that overflows in fp16 is skipped by the scaler, a loss that is not finite stays so
        if not torch.isfinite(total if scaler.is_enabled() else norm):
            bar.close()
            raise AvisError(
                f"the loss became {total.item():g}, its gradient {norm.item():g}, at step {step}",
                where=f"clips {', '.join(batch.names)}",
                fix="Look at these clips, or lower train.learning_rate.",
            )
        scaler.step(optimizer)
        scaler.update()
        schedule.step()

        for name, value in {**losses, "loss": total}.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach()
        summed += 1
        fitted.steps, fitted.seconds = step + 1, time.monotonic() - started
        if fitted.steps % params.log_every_steps == 0 or fitted.steps == params.steps:
            means = {name: float(value) / summed for name, value in sums.items()}
            row = {
                "step": float(fitted.steps),
                **means,
                "learning_rate": float(schedule.get_last_lr()[-1]),
                "seconds": fitted.seconds,
            }
            fitted.history.append(row)
            log({f"train/{name}": value for name, value in row.items() if name != "step"}, fitted.steps)
            bar.set_postfix(loss=f"{means['loss']:.2f}", refresh=False)
            sums, summed = {}, 0
        if checkpoint and (fitted.steps % params.checkpoint_every_steps == 0 or fitted.steps == params.steps):
            state = Checkpoint.of(model, optimizer, schedule, scaler, fingerprint, run_id, **asdict(fitted))
            save_checkpoint(checkpoint, state)
    bar.close()
    model.eval()
    return fitted


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the logged rows as CSV, steps as whole numbers."""
    names = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in history:
            writer.writerow({**{k: f"{v:.6g}" for k, v in row.items()}, "step": int(row["step"])})
