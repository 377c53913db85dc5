"""Points at which masks are compared (PointRend, arXiv 1912.08193), drawn clip by clip.

Letters: N masks, P points, C channels, h w map size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


class Draws:
    """Random places in 0..1, from a generator per clip, so that it matters not which clips stand beside it.

    Without seeds they come from torch's own generator.
    """

    def __init__(self, seeds: list[int] | None, device: torch.device) -> None:
        self.device = device
        self.generators = None
        if seeds is not None:
            self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def places(self, clip: int, *shape: int) -> Tensor:
        """[*shape, 2] as (x, y)."""
        generator = None if self.generators is None else self.generators[clip]
        return torch.rand(*shape, 2, device=self.device, generator=generator)


def sample(planes: Tensor, places: Tensor) -> Tensor:
    """Bilinear values of planes [N, C, h, w] at places [N, P, 2] (x, y in 0..1) -> [N, C, P]."""
    return F.grid_sample(planes, 2 * places[:, :, None] - 1, align_corners=False)[..., 0]


def sample_shared(planes: Tensor, places: Tensor) -> Tensor:
    """Bilinear values of planes [..., h, w] at the same places [P, 2] for all -> [..., P].

    A bag of four rows per point reads all channels of a cell in one go: for many channels faster than
    `grid_sample`, which walks through the planes. Not for training: the places get no gradient.
    """
    height, width = planes.shape[-2:]
    table = planes.flatten(0, -3).flatten(1).T  # [h * w, N]
    x = places[:, 0].double() * width - 0.5
    y = places[:, 1].double() * height - 0.5
    left, top = x.floor(), y.floor()  # the upper left of the four cells around each point
    right_share, lower_share = x - left, y - top
    rows, weights = [], []
    for dy, row_share in ((0, 1 - lower_share), (1, lower_share)):
        for dx, column_share in ((0, 1 - right_share), (1, right_share)):
            row, column = top + dy, left + dx
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            rows.append((row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long())
            weights.append(row_share * column_share * inside)
    bags, shares = torch.stack(rows, 1), torch.stack(weights, 1).to(table.dtype)  # [P, 4]
    sampled = F.embedding_bag(bags, table.contiguous(), mode="sum", per_sample_weights=shares)  # [P, N]
    return sampled.T.unflatten(0, planes.shape[:-2])  # as the planes, P in place of h, w


@torch.no_grad()
def uncertain_places(logits: Tensor, candidates: Tensor, others: Tensor, important: int) -> Tensor:
    """The ``important`` least certain of the candidate places, and the other places.

    logits [N, 1, h, w], candidates [N, P', 2], others [N, P'', 2] -> [N, important + P'', 2].
    """
    certainty = sample(logits, candidates)[:, 0].abs()  # logit 0 is even odds
    chosen = certainty.topk(important, dim=1, largest=False, sorted=False).indices
    return torch.cat((candidates.gather(1, chosen[..., None].expand(-1, -1, 2)), others), dim=1)
