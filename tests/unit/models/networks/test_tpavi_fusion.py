"""TPAVI: the published outputs, the published formula, and the cost that the shortcuts save."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.golden import compare_tpavi
from models.networks.tpavi.fusion import TpaviFusion

GOLDEN = Path("tests/data/golden/tpavi")


def test_output_is_the_published_one() -> None:
    rows = {row.name: row for row in compare_tpavi(GOLDEN)}
    assert rows["z"].difference <= 1e-4 < rows["z"].magnitude


def formula(fusion: TpaviFusion, x: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
    """As published: sound in every cell, a matrix between all cells."""
    batch, channels, _, height, width = x.shape
    heard = fusion.align_channel(audio).transpose(1, 2)[..., None, None].expand(-1, -1, -1, height, width)
    theta, phi, g = (f.flatten(2) for f in (fusion.theta(x), fusion.phi(heard), fusion.g(x)))
    matrix = theta.transpose(1, 2) @ phi / theta.shape[-1]
    mixed = (matrix @ g.transpose(1, 2)).transpose(1, 2).reshape(batch, channels // 2, *x.shape[2:])
    return fusion.norm_layer((fusion.W_z(mixed) + x).movedim(1, -1)).movedim(-1, 1)


def random_fusion(channels: int) -> TpaviFusion:
    """Nothing at its starting value, in double precision."""
    torch.manual_seed(0)
    fusion = TpaviFusion(channels=channels, audio_channels=5).double()
    for value in fusion.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.2, 1.2)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    return fusion


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9])  # from 4 frames on keys and values are multiplied first
def test_shortcuts_are_the_formula_with_its_gradients(frames: int, training: bool) -> None:
    ours = random_fusion(8).train(training)
    theirs = copy.deepcopy(ours)
    x, audio = torch.randn(2, 8, frames, 3, 5).double(), torch.randn(2, frames, 5).double()
    results: list[list[torch.Tensor]] = []
    for fusion, run in ((ours, lambda x, audio: ours(x, audio)[0]), (theirs, lambda *a: formula(theirs, *a))):
        inputs = [x.clone().requires_grad_(), audio.clone().requires_grad_()]
        z = run(*inputs)
        (z * torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view(z.shape)).sum().backward()
        gradients = [parameter.grad for parameter in fusion.parameters()]
        buffers = [value for name, value in fusion.named_buffers()]
        results.append([z, *(value.grad for value in inputs), *gradients, *buffers])
    for mine, published in zip(*results, strict=True):
        torch.testing.assert_close(mine, published, rtol=1e-9, atol=1e-9)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that anything makes, backward passes included."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return result


def test_memory_is_linear_in_frames_and_cells() -> None:
    """48,000 cells: the matrix between them would be 9.2 GB."""
    fusion = TpaviFusion(channels=16)
    x = torch.randn(1, 16, 6, 80, 100, requires_grad=True)
    assert 4 * (x.numel() / 16) ** 2 > 8e9
    with Largest() as largest:
        fusion(x, torch.randn(1, 6, 128))[0].square().sum().backward()
    assert largest.numbers == x.numel()


def test_a_fresh_fusion_hears_nothing_but_learns_to() -> None:
    fusion = TpaviFusion(channels=16)
    x, audio = torch.randn(2, 16, 2, 4, 4), torch.randn(2, 2, 128)
    z, _ = fusion(x, audio)
    torch.testing.assert_close(z, torch.nn.functional.layer_norm(x.movedim(1, -1), (16,)).movedim(-1, 1))
    z.square().flatten()[::3].sum().backward()
    assert fusion.W_z[1].weight.grad.abs().max() > 0
