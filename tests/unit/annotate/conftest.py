"""What the tests of annotate share: most read in their own process."""

import pytest

# What a file does to the process that reads it, and the limits of that process.
APART = {"test_annotate_stage", "test_effort", "test_hostile_exports", "test_large_files"}


@pytest.fixture(scope="module", autouse=True)
def _most_read_here(request: pytest.FixtureRequest) -> None:
    if request.path.stem not in APART:
        request.getfixturevalue("read_here")
