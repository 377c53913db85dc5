"""A selective state space model (Mamba, arXiv 2312.00752) over frames and queries, gated by sound.

Letters: B clips, b of them without passes, T frames, Q queries, L = T * Q places of a sequence, C channels,
E = 2 C inner channels, N size of a channel's state, R rank of a step's size, 4 directions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

STATE, DIRECTIONS = 16, 4
_BLOCK = 128  # places whose states are in memory together


class AudioGate(nn.Module):
    """How much of its sound each place of each sequence lets in: m and its gate, both [b, 4, E, L]."""

    def __init__(self, *, inner: int, hidden: int) -> None:
        super().__init__()
        all_inner, all_hidden = DIRECTIONS * inner, DIRECTIONS * hidden

        def grouped(channels: int, out: int) -> nn.Conv1d:  # own weights in each direction
            return nn.Conv1d(channels, out, 1, groups=DIRECTIONS)

        self.temporal_conv = nn.Conv1d(all_inner, all_inner, 3, padding=1, groups=all_inner)
        self.audio_transform = grouped(all_inner, all_hidden)
        self.gate_fusion = nn.Sequential(
            grouped(all_hidden, all_hidden), nn.ReLU(), grouped(all_hidden, all_inner)
        )

    def forward(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        near = self.temporal_conv(sequences.flatten(1, 2))  # [b, 4 * E, L]
        gate = self.gate_fusion(self.audio_transform(near)).sigmoid()
        return near.unflatten(1, (DIRECTIONS, -1)), gate.unflatten(1, (DIRECTIONS, -1))


class SelectiveScan(nn.Module):
    """X [B, T, Q, C], G [b, T, Q, C] -> [B, T, Q, C]: four scans over all frames and queries, summed."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        inner, rank = 2 * channels, channels // 16
        self.inner, self.rank = inner, rank
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.audio_proj_1 = nn.Linear(channels, inner)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.audio_gate = AudioGate(inner=inner, hidden=inner // 4)
        # not Linear layers, since each direction has its own: start values as one of each would have
        self.x_proj_weight = nn.Parameter(_uniform(DIRECTIONS, rank + 2 * STATE, inner, bound=inner**-0.5))
        self.dt_projs_weight = nn.Parameter(_uniform(DIRECTIONS, inner, rank, bound=rank**-0.5))
        # steps between 0.001 and 0.1 at the start, as Mamba's: softplus gives them
        step = torch.exp(torch.rand(DIRECTIONS, inner) * math.log(100) + math.log(0.001))
        self.dt_projs_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.A_logs = nn.Parameter(torch.arange(1.0, STATE + 1).log().repeat(DIRECTIONS * inner, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        frames, queries = x.shape[1:3]
        u, z = self.in_proj(x).chunk(2, dim=-1)  # [B, T, Q, E] both
        u = F.silu(self.conv2d(u.permute(0, 3, 1, 2)))  # [B, E, T, Q]
        sound, gate = self.audio_gate(_sequences(self.audio_proj_1(guide).permute(0, 3, 1, 2)))
        let_in = gate * sound  # [b, 4, E, L], of all passes alike
        let_in = let_in.repeat(len(x) // len(guide), 1, 1, 1)  # [B, 4, E, L]
        with torch.autocast(x.device.type, enabled=False):  # sums over thousands of places
            y = self._scan(_sequences(u).float(), let_in.float())  # [B, 4, E, L]
            y = _summed(y, frames, queries)  # [B, T, Q, E]
        return self.out_proj(self.out_norm(y) * F.silu(z))

    def _scan(self, u: Tensor, let_in: Tensor) -> Tensor:
        """s <- exp(step A) s + step B u, y = C s + D u, along the last axis of u [B, 4, E, L]."""
        parts = torch.einsum("brel,rpe->brpl", u, self.x_proj_weight.float())  # [B, 4, R + 2 N, L]
        delta, write, read = parts.split((self.rank, STATE, STATE), dim=2)
        delta = torch.einsum("brpl,rep->brel", delta, self.dt_projs_weight.float())  # [B, 4, E, L]
        step = F.softplus(delta + let_in + self.dt_projs_bias.float()[:, :, None])
        decay = -self.A_logs.float().exp().unflatten(0, (DIRECTIONS, -1))  # [4, E, N]
        state = u.new_zeros((*u.shape[:3], STATE))  # [B, 4, E, N]
        blocks = []
        for start in range(0, u.shape[-1], _BLOCK):
            cut = (x[..., start : start + _BLOCK] for x in (step, u, write, read))
            if torch.is_grad_enabled():
                block, state = checkpoint(_scan_block, state, decay, *cut, use_reentrant=False)
            else:
                block, state = _scan_block(state, decay, *cut)
            blocks.append(block)
        return torch.cat(blocks, dim=-1) + self.Ds.float().view(DIRECTIONS, -1, 1) * u


def _scan_block(
    state: Tensor, decay: Tensor, step: Tensor, u: Tensor, write: Tensor, read: Tensor
) -> tuple[Tensor, Tensor]:
    """From a state [B, 4, E, N] over some places: what is read [B, 4, E, l], and the state after them."""
    step, u, write, read = (x.movedim(-1, 0) for x in (step, u, write, read))  # places first
    shrink = (step[..., None] * decay).exp()  # [l, B, 4, E, N]
    written = (step * u)[..., None] * write[..., None, :]  # [l, B, 4, E, N]
    states = []
    for here, factor in zip(written.unbind(), shrink.unbind(), strict=True):
        state = torch.addcmul(here, factor, state)
        states.append(state)
    return torch.einsum("lbren,lbrn->brel", torch.stack(states), read), state


def _sequences(plane: Tensor) -> Tensor:
    """[B, E, T, Q] -> [B, 4, E, L]: frame by frame, query by query, and both backwards."""
    both = torch.stack((plane.flatten(2), plane.transpose(2, 3).flatten(2)), dim=1)  # [B, 2, E, L]
    return torch.cat((both, both.flip(-1)), dim=1)


def _summed(sequences: Tensor, frames: int, queries: int) -> Tensor:
    """What `_sequences` made, each value back at its place, and summed: [B, T, Q, E]."""
    both = sequences[:, :2] + sequences[:, 2:].flip(-1)  # [B, 2, E, L]
    by_frame = both[:, 0].unflatten(-1, (frames, queries))  # [B, E, T, Q]
    by_query = both[:, 1].unflatten(-1, (queries, frames)).transpose(2, 3)  # [B, E, T, Q]
    return (by_frame + by_query).permute(0, 2, 3, 1)


def _uniform(*shape: int, bound: float) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound)
