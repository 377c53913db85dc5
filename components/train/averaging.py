"""A moving average of the weights: steadier than the last steps, and nearer to what a network knew before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The exponential moving average of what learns in ``model``, from its weights of now on.

    Args:
        decay: the share of the average that stays at each step; None: the average is the last weights.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self._learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._decay = decay
        self._means = {name: value.detach().clone() for name, value in self._learned.items()} if decay else {}

    def update(self) -> None:
        """Take in the weights after a step."""
        if self._decay is not None:
            average = get_ema_multi_avg_fn(self._decay)
            average(list(self._means.values()), [x.detach() for x in self._learned.values()], 1)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def settle(self) -> None:
        """Leave the averaged weights in the model, for good."""
        self._exchange()
        self._means = {}

    def state_dict(self) -> dict[str, Tensor]:
        return self._means

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in self._means.items():
            value.copy_(state[name])

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, mean in self._means.items():
            weights = self._learned[name].detach().clone()
            self._learned[name].copy_(mean)
            mean.copy_(weights)
