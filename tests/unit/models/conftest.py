"""One thread: the tests' tensors are small, and sums then come out the same everywhere."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)
