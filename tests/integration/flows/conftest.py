"""What the tests of flows share: one Prefect server, which ends with the last of them.

Not one a file: what a process has not yet sent to a server that ended is tried again for minutes, also at its
exit.
"""

from collections.abc import Iterator

import pytest

from tests.support.prefect_server import Server, prefect_server


@pytest.fixture(scope="package")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server; other tests leave runs, artifacts and events in it."""
    with prefect_server(tmp_path_factory.mktemp("prefect") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def prefect_api(prefect: Server) -> Iterator[None]:
    """Flows that are called in this process use the server."""
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    # nobody looks at their logs there
    with temporary_settings({PREFECT_API_URL: prefect.url, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield
