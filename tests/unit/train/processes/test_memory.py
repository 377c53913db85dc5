"""A training that finds no memory says what to lower, with its own numbers."""

import pytest
import torch

from components.core.run.errors import AvisError
from components.train.params import TrainParams
from components.train.processes.distributed import join
from components.train.processes.memory import out_of_memory

SMALL = TrainParams(clips_per_step=8, frames_per_clip=3, short_sides_px=(120, 160), device="cpu")


def test_an_allocation_that_fails_says_what_to_lower_and_from_where() -> None:
    with pytest.raises(AvisError) as ended, join(SMALL):
        torch.empty(1 << 50)
    said = str(ended.value)
    assert "too little memory for 8 x 3 frames at a time: 4503599627370496 bytes more" in said
    assert "train.accumulate: 2 (now 1; the result stays the same)" in said
    assert "train.frames_per_clip: 2 (now 3)" in said
    assert "train.short_sides_px: at most 120 (now up to 160)" in said
    assert "train.processes" not in said
    with pytest.raises(AvisError, match="too little memory"), join(SMALL):
        raise MemoryError


def test_what_is_lowered_fits_the_rules() -> None:
    params = TrainParams(
        clips_per_step=12, accumulate=2, frames_per_clip=1, checkpoint_activations=("backbone",)
    )
    said = str(out_of_memory(RuntimeError(), params, rank=1, processes=2))
    assert "3 x 1 frames" in said and "train.accumulate: 6 (now 2" in said and "processes: 1 (now 2)" in said
    assert "frames_per_clip" not in said and "checkpoint_activations" not in said
    gpu = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of …")
    said = str(out_of_memory(gpu, params, rank=0, processes=2))
    assert (
        "the GPU has too little memory" in said
        and "2.00 GiB more" in said
        and "processes" not in said.split("of 2")[1]
    )


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), join(SMALL):
        raise RuntimeError("shapes cannot be multiplied")
