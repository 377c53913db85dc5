"""TPAVI's fusion at [1, 256, 5, 56, 100] (res2 of 5 frames of 224x400) against forming the N x N matrix.

Both run in one process of their own, one after the other, on the same weights and inputs in fp32.
Run from the repository root: python benchmarks/tpavi.py [--threads 2]
"""

import argparse
import time

import torch
from measuring import alone, peak_mb
from torch import Tensor

from models.networks.tpavi.fusion import TpaviFusion

SHAPE = (1, 256, 5, 56, 100)
LEAST_RATIO = 50


def plain(fusion: TpaviFusion, x: Tensor, audio: Tensor) -> Tensor:
    """The published formula as it stands: sound in every cell, and the matrix between all cells."""
    batch, channels, frames, height, width = x.shape
    heard = fusion.align_channel(audio).transpose(1, 2)[..., None, None].expand(-1, -1, -1, height, width)
    theta = fusion.theta(x).flatten(2).transpose(1, 2)  # [N, S, C/2]
    phi = fusion.phi(heard).flatten(2)  # [N, C/2, S]
    g = fusion.g(x).flatten(2).transpose(1, 2)  # [N, S, C/2]
    matrix = theta @ phi
    matrix /= matrix.shape[-1]  # in place: the published code holds it twice
    mixed = (matrix @ g).transpose(1, 2).reshape(batch, channels // 2, frames, height, width)
    z = fusion.W_z(mixed) + x
    return fusion.norm_layer(z.movedim(1, -1)).movedim(-1, 1)


def exact(fusion: TpaviFusion, x: Tensor, audio: Tensor) -> Tensor:
    """Ours."""
    return fusion(x, audio)[0]


def measure(name: str, threads: int, rounds: int) -> tuple[float, float, Tensor]:
    """Median seconds, megabytes above what was in use before, and the result."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    fusion = TpaviFusion(channels=SHAPE[1]).eval()
    torch.nn.init.normal_(fusion.W_z[1].weight)  # a fresh fusion would hide what was mixed
    x, audio = torch.rand(SHAPE), torch.randn(SHAPE[0], SHAPE[2], 128)
    run = {"plain": plain, "exact": exact}[name]
    with torch.inference_mode():
        exact(fusion, x[..., :8, :8], audio)  # libraries are loaded
        before_mb = peak_mb()
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            z = run(fusion, x, audio)
            seconds.append(time.perf_counter() - start)
    return sorted(seconds)[rounds // 2], peak_mb() - before_mb, z[:, ::8, :, ::7, ::7].clone()


def main() -> None:
    """Print seconds and memory of both, and their ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    results = {}
    for name, rounds in (("exact", 9), ("plain", 1), ("exact", 9)):
        seconds, used_mb, z = alone(measure, name, threads, rounds)
        earlier = results.get(name)
        results[name] = (min(seconds, earlier[0]) if earlier else seconds, used_mb, z)
    cells = SHAPE[2] * SHAPE[3] * SHAPE[4]
    print(f"TPAVI fusion {list(SHAPE)}, N = {cells}, fp32, {threads} threads")
    for name, (seconds, used_mb, _) in results.items():
        print(f"{name}  {1e3 * seconds:9.1f} ms   {used_mb:7.0f} MB")
    ratio = results["plain"][0] / results["exact"][0]
    memory = results["plain"][1] / results["exact"][1]
    difference = float((results["plain"][2] - results["exact"][2]).abs().max())
    print(f"largest difference {difference:.1e}")
    print(f"{ratio:.0f} times as fast (at least {LEAST_RATIO} wanted), 1/{memory:.0f} of the memory")


if __name__ == "__main__":
    main()
