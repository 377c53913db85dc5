"""How fast and how large deformable sampling is, by each way there is, as ratios to `grid_sample`.

The sampling of one encoder layer: fp32, 8 heads, 3 levels, 4 points, points about two cells from their query.
Ways are run in turn, so that a busy machine slows all of them; each figure is the median of the rounds.
On CUDA the Triton kernels stand beside `grid_sample`, also with values in bf16.

Run from the repository root: python benchmarks/deformable_attention.py [--threads 1] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from measuring import machine, peak_mb
from torch import Tensor

from models.networks.layers.deformable_attention import sample_grids, sample_levels

Sizes = list[tuple[int, int]]
Way = Callable[[Tensor, Sizes, Tensor, Tensor], Tensor]

HEADS, POINTS = 8, 4
# name: frames, padded height and width, channels
CASES = {
    "training as published, 5 frames 360x640": (5, 384, 640, 256),
    "inference as published, 18 frames 360x640": (18, 384, 640, 256),
    "the demo, 4 frames 160x288": (4, 160, 288, 128),
}


def make_inputs(
    frames: int, height: int, width: int, channels: int, device: str
) -> tuple[Sizes, list[Tensor]]:
    """Value, positions and weights as in an encoder layer: queries are the cells of all levels."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(height // stride, width // stride) for stride in (32, 16, 8)]
    centres = []
    for h, w in sizes:
        y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
        centres.append(torch.stack((x, y), -1).flatten(0, 1))
    extent = torch.tensor([(w, h) for h, w in sizes])
    places = torch.cat(centres)[:, None] * extent - 0.5  # [N, L, 2]
    shape = (frames, len(places), HEADS, len(sizes), POINTS)
    offsets = 2 * torch.randn(*shape, 2, generator=generator)
    weights = torch.randn(*shape[:3], len(sizes) * POINTS, generator=generator).softmax(-1).view(shape)
    value = torch.randn(frames, len(places), HEADS, channels // HEADS, generator=generator)
    inputs = (value, places[:, None, :, None] + offsets, weights)
    return sizes, [x.to(device).requires_grad_() for x in inputs]


def timed(way: Way, sizes: Sizes, inputs: list[Tensor], *, train: bool) -> float:
    """Seconds of a call, with the backward pass if `train`."""
    value, positions, weights = inputs
    cuda = value.is_cuda
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.set_grad_enabled(train):
        result = way(value, sizes, positions, weights)
    if train:
        torch.autograd.grad(result, inputs, torch.ones_like(result))
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_bf16(value: Tensor, sizes: Sizes, positions: Tensor, weights: Tensor) -> Tensor:
    return sample_levels(value.bfloat16(), sizes, positions, weights)


def main() -> None:
    """Print a line for each case and way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{machine()}, {options.threads} threads")
    ways: dict[str, Way] = {"grid_sample": sample_grids, "sample_levels": sample_levels}
    if device == "cuda":
        ways["sample_levels, value in bf16"] = in_bf16
    for name, case in CASES.items():
        sizes, inputs = make_inputs(*case, device)
        print(name)
        for train in (False, True):
            if train and case[0] > 5:
                continue  # this many frames are not trained on, and grid_sample would take 10 GB
            for way in ways.values():
                timed(way, sizes, inputs, train=train)
            rounds = [
                {key: timed(way, sizes, inputs, train=train) for key, way in ways.items()}
                for _ in range(options.rounds)
            ]
            for key in ways:
                ratio = statistics.median(r["grid_sample"] / r[key] for r in rounds)
                milliseconds = 1e3 * statistics.median(r[key] for r in rounds)
                what = "forward and backward" if train else "forward"
                print(f"  {what:<21} {key:<29} {milliseconds:9.1f} ms  {ratio:6.2f} times as fast")
    if device == "cpu":
        print(f"peak memory of the process {peak_mb() / 1e3:.1f} GB")


if __name__ == "__main__":
    main()
