"""Parameters, FLOPs, seconds per frame and per training step, and peak memory of AVISM, for every backbone.

The yardstick `plain` computes the same outputs without shortcuts (benchmarks/plain_avism.py). Every line is
measured in a process of its own, one after the other; ratios are of one run on one machine.

Run from the repository root: python benchmarks/networks.py [--backbones resnet50 …] [--sizes 360x640 …]
    [--frames 5] [--precisions fp32 bf16] [--repeat 3] [--no-plain] [--json FILE]
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from measuring import alone, machine, peak_mb

from models.networks.backbones import BACKBONE_FILES

INSTANCES = 3  # of the made-up clip that is learned from
CANDIDATES = 10  # (query, category) pairs that get masks


def main() -> None:
    """Measure every combination and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONE_FILES), default=list(BACKBONE_FILES))
    parser.add_argument("--sizes", nargs="+", default=["360x640"], help="height x width of the frames")
    parser.add_argument("--frames", type=int, default=5, help="of a clip")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16", "fp16"), default=["fp32", "bf16"])
    parser.add_argument("--parts", nargs="+", choices=("infer", "train"), default=["infer", "train"])
    parser.add_argument("--repeat", type=int, default=3, help="the fastest of so many counts")
    parser.add_argument("--no-plain", action="store_true", help="leave the yardstick out")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    options = parser.parse_args()
    rows = []
    print(f"{machine()}\n")
    print(
        f"{'backbone':19} {'size':>9} {'part':6} {'how':11} {'params':>8} {'GFLOP':>7} {'seconds':>8} "
        f"{'peak MB':>8} {'of products':>12} {'plain / ours':>13}"
    )
    for backbone in options.backbones:
        for size in options.sizes:
            for part in options.parts:
                slow = None
                ways = [("fp32", True)] if not options.no_plain else []
                for precision, plain in [*ways, *((name, False) for name in options.precisions)]:
                    row = alone(
                        measure,
                        backbone=backbone,
                        size=[int(side) for side in size.split("x")],
                        frames=options.frames,
                        part=part,
                        precision=precision,
                        plain=plain,
                        repeat=options.repeat,
                    )
                    rows.append(row)
                    slow = row if plain else slow
                    share = row["flops"] / row["seconds"] / row["product_flops_a_second"]
                    ratio = f"{slow['seconds'] / row['seconds']:.2f} x" if slow and not plain else ""
                    print(
                        f"{backbone:19} {size:>9} {part:6} {('plain ' if plain else '') + precision:11} "
                        f"{row['parameters'] / 1e6:7.1f}M {row['flops'] / 1e9:7.0f} {row['seconds']:8.3f} "
                        f"{row['peak_mb']:8.0f} {share:11.0%} {ratio:>13}",
                        flush=True,
                    )
    print("\ninfer: per frame; train: per step of one clip, optimiser left out; GFLOP: of ours, same unit")
    print("of products: the rate against that of a product of two 2,048 x 2,048 matrices in the same process")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(
    *, backbone: str, size: list[int], frames: int, part: str, precision: str, plain: bool, repeat: int
) -> dict[str, Any]:
    """One line of the table; seconds are per frame for `infer`, per step for `train`."""
    import plain_avism
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from models import build
    from models.inference.offline import find_sounding
    from models.networks.losses.criterion import LossWeights
    from models.networks.losses.targets import ClipTargets

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    queries = 200 if backbone == "swin_large" else 100  # as published
    model = build("avism", backbone=backbone, frame_queries=queries).to(device).train(part == "train")
    height, width = size
    clip = torch.randint(0, 256, (1, frames, 3, height, width), dtype=torch.uint8, device=device)
    audio = torch.randn(1, frames, 128, device=device)
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    masks = torch.zeros(
        INSTANCES, frames, height + -height % 32, width + -width % 32, dtype=torch.bool, device=device
    )
    for i in range(INSTANCES):
        top, left = height * i // 4, width * i // 4
        masks[i, :, top : top + height // 3, left : left + width // 3] = True
    targets = [ClipTargets(torch.arange(INSTANCES, device=device), masks)]
    weights = LossWeights()

    def autocast() -> Any:
        return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()

    def moments() -> Any:
        pictures, features = clip[0].permute(0, 2, 3, 1).cpu().numpy(), audio[0].cpu().numpy()
        return zip(pictures, features, strict=True)

    def infer() -> None:
        if plain:
            with torch.inference_mode(), autocast():
                plain_avism.infer(model, clip[0], audio[0], most=CANDIDATES)
        else:  # random weights are sure of nothing, so the best get masks whatever their score
            find_sounding(
                model,
                moments,
                size=(height, width),
                encode=lambda mask: mask,
                threshold=1.0,
                most=CANDIDATES,
                least=CANDIDATES,
                precision=dtype,
            )

    def train() -> None:
        if plain:
            loss = plain_avism.train_step(model, clip, audio, targets, weights)
        else:
            with autocast():
                output = model(clip, audio)
            loss = torch.stack(list(model.losses(output, targets, weights).values())).sum()
        loss.backward()
        model.zero_grad()

    work: Callable[[], None] = infer if part == "infer" else train
    seconds, product_seconds = [], []
    side = torch.randn(2048, 2048, device=device, dtype=dtype or torch.float32)
    for _ in range(repeat + 1):  # the first one warms up
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        side @ side
        if device.type == "cuda":
            torch.cuda.synchronize()
        product_seconds.append(time.perf_counter() - begin)
    most_mb = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else peak_mb()
    counter = FlopCounterMode(display=False)
    if part == "infer":  # the counter needs gradients to be off, and not by inference mode
        model.requires_grad_(False)
        with counter, torch.no_grad():
            output, _ = model.decode_frames(clip[0], audio[0])
            model.video_module(output.queries[-1][None], audio)
    else:
        with counter:
            output = model(clip, audio)
            torch.stack(list(model.losses(output, targets, weights).values())).sum().backward()
    per = frames if part == "infer" else 1
    return {
        "backbone": backbone,
        "size": size,
        "frames": frames,
        "part": part,
        "precision": precision,
        "plain": plain,
        "parameters": sum(x.numel() for x in model.parameters()),
        "flops": counter.get_total_flops() / per,
        "seconds": min(seconds[1:]) / per,
        "product_flops_a_second": 2 * len(side) ** 3 / min(product_seconds[1:]),
        "peak_mb": most_mb,
    }


if __name__ == "__main__":
    main()
