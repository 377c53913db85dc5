"""What the tests of flows use: a Prefect server for each file, so that the files run side by side."""

from collections.abc import Iterator

import pytest

from tests.support.prefect_server import Server, prefect_server


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server; other tests of the file leave runs, artifacts and events in it."""
    with prefect_server(tmp_path_factory.mktemp("prefect") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def prefect_api(prefect: Server) -> Iterator[None]:
    """Flows that are called in this process use the server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect.url}):
        yield
