"""What a training step costs with each of its options: clips per second, peak memory, share of the roofline.

    python benchmarks/training.py                                  the demo's model, 90x160: for a CPU
    python benchmarks/training.py --published --size 360x640       ResNet-50 as published, 5 frames: for a GPU
    python benchmarks/training.py --only plain bf16 --steps 4

Every option trains for some steps through the stage's own loop (components/train/loop.py) on made-up clips,
in a process of its own; `plain` is the computation without any shortcut (benchmarks/plain_avism.py), in fp32.
Two rounds, interleaved; the faster counts. On CUDA memory is what PyTorch allocated, on a CPU what the
process grew by. FLOPs are counted for one eager step (torch.utils.flop_counter: products,
convolutions, attention), the same for every option, so recomputation does not look like work done. Run from
the repository root.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ALL = ["backbone", "pixel_decoder", "frame_decoder"]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"precision": "fp32"},
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "bf16 recomputed": {"precision": "bf16", "checkpoint_activations": ALL},
    "bf16 accumulated": {"precision": "bf16", "accumulate": "each"},
    "bf16 compiled": {"precision": "bf16", "compile": True},
}
PEAK_BF16_FLOPS = {  # dense, from the makers' data sheets
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "4090": 165e12,
}
WARM_STEPS = 2
ROUNDS = 2


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """A `train` block for made-up clips."""
    import yaml

    height, width = map(int, arguments.size.split("x"))
    model: dict[str, Any] = {"name": "avism"}
    loss: dict[str, Any] = {"points": 12_544}
    if arguments.published:
        published = yaml.safe_load(Path("params/aviseg-r50.yaml").read_text(encoding="utf-8"))["train"]
        model |= published["model"]
    else:
        demo = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
        model |= demo["model"]
        loss |= demo["loss"]
    return {
        "model": {**model, "audio": "features", "audio_tagging": False, "backbone_pretrained": False},
        "loss": loss,
        "clips_per_step": arguments.clips,
        "frames_per_clip": arguments.frames,
        "short_sides_px": [min(height, width)],
        "steps": WARM_STEPS + arguments.steps,
        "device": arguments.device,
        "processes": 1,
    }


class MadeUpClips:
    """Noise with three objects, at one size."""

    def __init__(self, size: str, frames: int) -> None:
        self.height, self.width = map(int, size.split("x"))
        self.frames = frames

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Any:
        import numpy as np

        from components.train.examples.batch import TrainingClip

        chance = np.random.default_rng(index)
        shape = (self.frames, self.height, self.width)
        masks = np.zeros((3, *shape), bool)
        for row in range(3):
            top, left = int(chance.integers(self.height // 2)), int(chance.integers(self.width // 2))
            masks[row, :, top : top + self.height // 3, left : left + self.width // 3] = True
        return TrainingClip(
            name=f"clip_{index}",
            frames=chance.integers(0, 256, (*shape, 3), np.uint8),
            sound=chance.standard_normal((self.frames, 128)).astype(np.float32),
            labels=np.arange(3),
            masks=masks,
        )


def build_model(params: Any) -> Any:
    import torch

    from models import build

    torch.manual_seed(0)
    return build("avism", categories=26, **params.model.model_dump(exclude={"name"}))


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Train with one option in this process."""
    import torch

    from components.train.params import TrainParams
    from components.train.processes.distributed import choose_device

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    changes = dict(OPTIONS[name])
    if changes.get("accumulate") == "each":
        changes["accumulate"] = arguments.clips
    params = TrainParams.model_validate({**settings(arguments), **changes})
    source, model = MadeUpClips(arguments.size, arguments.frames), build_model(params)
    on_gpu = choose_device(params.device).type == "cuda"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = (plain if name == "plain" else ours)(model, source, params)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"clips_per_s": arguments.clips * arguments.steps / seconds, "peak_mb": peak}


def ours(model: Any, source: MadeUpClips, params: Any) -> float:
    """Seconds of all steps but the first ones, by the stage's own loop."""
    from components.train.loop import fit

    rows: list[tuple[int, float]] = []
    every = params.model_copy(update={"log_every_steps": WARM_STEPS})
    fit(model, source, every, log=lambda row, step: rows.append((step, row["train/seconds"])))
    return rows[-1][1] - rows[0][1]


def plain(model: Any, source: MadeUpClips, params: Any) -> float:
    """The same by the plain computation."""
    import torch

    from benchmarks.plain_avism import train_step
    from components.train.examples.batch import collate
    from components.train.processes.distributed import choose_device
    from components.train.schedule import build_optimizer
    from models.networks.losses.criterion import LossWeights

    device = choose_device(params.device)
    model.to(device).train()
    optimizer, weights = build_optimizer(model, params), LossWeights(**params.loss.model_dump())
    clips, start = params.clips_per_step, 0.0
    for step in range(params.steps):
        if step == WARM_STEPS:
            _wait(device)
            start = time.monotonic()
        batch = collate([source[step * clips + i] for i in range(clips)]).to(device)
        optimizer.zero_grad(set_to_none=True)
        train_step(model, batch.frames, batch.sound, batch.targets, weights).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip_gradient_norm)
        optimizer.step()
    _wait(device)
    return time.monotonic() - start


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def count_flops(arguments: argparse.Namespace) -> dict[str, float]:
    """Of one eager step's forward and backward pass, per clip; and the parameters."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from components.train.examples.batch import collate
    from components.train.params import TrainParams
    from models.networks.losses.criterion import LossWeights

    params = TrainParams.model_validate(settings(arguments))
    model = build_model(params).train()
    batch = collate([MadeUpClips(arguments.size, arguments.frames)[0]])
    with FlopCounterMode(display=False) as counter:
        output = model(batch.frames, batch.sound)
        losses = model.losses(output, batch.targets, LossWeights(**params.loss.model_dump()))
        torch.stack(list(losses.values())).sum().backward()
    return {
        "flops": float(counter.get_total_flops()),
        "parameters": float(sum(x.numel() for x in model.parameters())),
    }


def in_a_process(name: str) -> dict[str, float]:
    """Run this file for one option alone; memory of one does not count for another."""
    command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--child", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        print(f"{name}: failed: {reason}", file=sys.stderr)
        return {}
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Print a line for every option, and its ratio to the first that ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--published", action="store_true", help="ResNet-50 as published, not the demo's model"
    )
    parser.add_argument("--size", default="96x160", help="height x width of the frames")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--clips", type=int, default=2, help="of a step")
    parser.add_argument("--steps", type=int, default=4, help="measured, an even number")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS), metavar="OPTION")
    parser.add_argument("--child", choices=[*OPTIONS, "flops"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps < WARM_STEPS or arguments.steps % WARM_STEPS:
        parser.error(f"--steps must be a multiple of {WARM_STEPS}")
    if arguments.child:
        work: Callable[[], dict[str, float]] = (
            (lambda: count_flops(arguments))
            if arguments.child == "flops"
            else (lambda: measure(arguments.child, arguments))
        )
        print(json.dumps(work()))
        return

    size = in_a_process("flops")
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for name in arguments.only:
            found = in_a_process(name)
            if found and found["clips_per_s"] > best.get(name, {}).get("clips_per_s", 0.0):
                best[name] = found
    report(arguments, size, best)


def report(arguments: argparse.Namespace, size: dict[str, float], best: dict[str, dict[str, float]]) -> None:
    import torch

    on_gpu = arguments.device != "cpu" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine()
    peak_flops = next((peak for key, peak in PEAK_BF16_FLOPS.items() if on_gpu and key in device), None)
    model = "ResNet-50 as published" if arguments.published else "the demo's model"
    print(f"{datetime.now(UTC):%Y-%m-%d} {device}, PyTorch {torch.__version__}")
    print(
        f"{model}: {size['parameters'] / 1e6:.1f} M parameters, {arguments.clips} clips of "
        f"{arguments.frames} frames {arguments.size} a step, {size['flops'] / 1e9:.0f} GFLOPs a clip"
    )
    first = next((best[name] for name in arguments.only if name in best), None)
    for name in arguments.only:
        if name not in best or first is None:
            continue
        found = best[name]
        speed, peak = found["clips_per_s"] / first["clips_per_s"], found["peak_mb"] / first["peak_mb"]
        line = f"{name:18s}{found['clips_per_s']:8.3f} clips/s ({speed:4.2f}x)"
        line += f"{found['peak_mb']:9.0f} MB ({peak:4.2f}x)"
        if peak_flops:
            share = found["clips_per_s"] * size["flops"] / peak_flops
            line += f"{100 * share:7.1f} % of {peak_flops / 1e12:.0f} TFLOPS"
        print(line)


if __name__ == "__main__":
    main()
