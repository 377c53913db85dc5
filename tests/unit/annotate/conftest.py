"""What the tests of annotate share: most read in their own process."""

from collections.abc import Iterator

import pytest

from components.annotate import exports
from tests.support.same_process import SameProcess

# What a file does to the process that reads it, and the limits of that process.
APART = {"test_annotate_stage", "test_effort", "test_hostile_exports", "test_large_files"}


@pytest.fixture(scope="module", autouse=True)
def _read_here(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem not in APART:
            patch.setattr(exports, "Worker", SameProcess)
        yield
