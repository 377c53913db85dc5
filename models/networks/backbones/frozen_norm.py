"""Frozen batch norms inside the convolutions before them.

A frozen norm scales and shifts channels by constants. Scaling the convolution's weights instead spares two
passes over every feature map, forward and backward, and the memory of the maps in between; the outputs and
gradients are the same up to rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrozenNorm(nn.Module):
    """Batch norm with constant statistics and weights (buffers, named as in torchvision and Detectron2)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.folded = False  # into the convolution before it: nothing is left to do here
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """x -> scale * x + shift, each [C]."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        if self.folded:
            return x
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None] + shift[:, None, None]


class NormedConvolution(nn.Conv2d):
    """A convolution without bias that does its frozen norm's work; made by ``fold_frozen_norms``."""

    def forward(self, x: Tensor) -> Tensor:
        norm: FrozenNorm = self.__dict__["norm"]  # no submodule: it keeps its own place and name
        scale, shift = norm.scale_and_shift()  # [C], [C]
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)


def fold_frozen_norms(network: nn.Module) -> None:
    """Let every convolution that stands right before a frozen norm do its work, in place.

    Names of parameters and buffers stay. "Right before" is the order in which modules were registered, which
    is the order of the data in torchvision's ResNets (conv1, bn1, …, and conv, bn of a shortcut).
    """
    before: nn.Module | None = None
    for module in network.modules():
        if isinstance(module, FrozenNorm) and isinstance(before, nn.Conv2d) and before.bias is None:
            before.__class__ = NormedConvolution
            before.__dict__["norm"] = module
            module.folded = True
        if not list(module.children()):  # modules that hold others do nothing to the data themselves
            before = module
