"""TPAVI: every cell of every frame is told what the clip's sound has to do with it.

Temporal pixel-wise audio-visual interaction, of AVSBench (arXiv 2207.05042, section 4.3) and of the first
AVIS model (arXiv 2310.18709, version 1), in "dot" mode:

    F = theta(x) phi(a)^T / S,   z = LayerNorm(BatchNorm(W_z(F g(x))) + x),   S = T * H * W

There is no softmax, so F g = theta(x) (phi(a)^T g(x)) / S, and the S x S matrix F is never made. The sound a
is the same in all cells of a frame, so phi(a)^T g(x) is a sum over T frames of products with g(mean of x):
the interaction is one with T keys and T values, and costs time and memory linear in S.

Letters: N clips of a batch, T frames, H W cells of a frame, S = T * H * W, C channels, A audio.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TpaviFusion(nn.Module):
    """One scale's fusion. Parameters are named and shaped as published."""

    def __init__(self, *, channels: int, audio_channels: int = 128) -> None:
        super().__init__()
        inner = channels // 2
        self.align_channel = nn.Linear(audio_channels, channels)
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.W_z = nn.Sequential(nn.Conv3d(inner, channels, 1), nn.BatchNorm3d(channels))
        self.norm_layer = nn.LayerNorm(channels)
        for start in self.W_z[1].parameters():  # at first the sound changes nothing
            nn.init.zeros_(start)

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, C, T, H, W], audio [N, T, A] -> z [N, C, T, H, W] and the aligned sound a [N, T, C]."""
        channels, frames = x.shape[1:3]
        aligned = self.align_channel(audio)  # [N, T, C]
        phi = F.linear(aligned, *_affine(self.phi))  # [N, T, C/2]
        # the sum of g(x) over a frame's cells, divided by S, is that of the mean over its cells, divided by T
        seen = F.linear(x.mean((3, 4)).transpose(1, 2), *_affine(self.g)) / frames  # [N, T, C/2]
        theta, theta_bias = _affine(self.theta)
        keys = phi @ theta  # [N, T, C]
        offset = (phi @ theta_bias[:, None]).transpose(1, 2)  # [N, 1, T]
        weight, bias = self._output()
        values = F.linear(seen, weight)  # [N, T, C]
        cells = x.flatten(2).transpose(1, 2).contiguous()  # [N, S, C]
        if 2 * frames < channels:
            scores = torch.baddbmm(offset, cells, keys.transpose(1, 2))  # [N, S, T]
            mixed = torch.baddbmm(bias, scores, values)  # [N, S, C]
        else:  # in long clips the products of all keys and values are the smaller matrix
            mixed = torch.baddbmm(offset @ values + bias, cells, keys.transpose(1, 2) @ values)
        if self.training:
            mixed = self.W_z[1](mixed.transpose(1, 2).unflatten(2, x.shape[2:])).flatten(2).transpose(1, 2)
        z = self.norm_layer(mixed + cells)  # [N, S, C]
        return z.transpose(1, 2).unflatten(2, x.shape[2:]), aligned

    def _output(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of W_z's convolution; in evaluation with its batch norm, which is linear then."""
        convolution, norm = cast(tuple[nn.Conv3d, nn.BatchNorm3d], tuple(self.W_z))
        weight, bias = _affine(convolution)
        if self.training:
            return weight, bias
        mean, variance = cast(tuple[Tensor, Tensor], (norm.running_mean, norm.running_var))
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return weight * scale[:, None], (bias - mean) * scale + norm.bias


def _affine(convolution: nn.Conv3d) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias [out] of a 1x1x1 convolution."""
    return convolution.weight.flatten(1), cast(Tensor, convolution.bias)
