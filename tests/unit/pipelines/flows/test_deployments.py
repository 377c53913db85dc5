"""avis deploy where no server is, and prefect.yaml; with a real server: integration/flows/test_worker.py."""

import socket
from collections import Counter
from pathlib import Path

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from components.core.run.errors import AvisError
from pipelines.dvc.graph import find_root
from pipelines.flows.deployments import POOLS, deploy

ROOT = find_root(Path(__file__).parent)


def test_without_a_server_it_says_where_one_was_looked_for() -> None:
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
        with (
            temporary_settings({PREFECT_API_URL: url}),
            pytest.raises(AvisError, match=f"no Prefect server answers.*{url}.*avis up"),
        ):
            deploy(None, None)
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(AvisError, match="no Prefect server is named"),
    ):
        deploy(None, None)


def test_nothing_of_prefect_yaml_starts_by_itself_and_everything_has_an_end() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    names = Counter((one["entrypoint"], one["name"]) for one in deployments)
    assert set(names.values()) == {1}
    for one in deployments:
        assert one["work_pool"]["name"] == one["name"] and one["name"] in POOLS
        assert all(schedule["active"] is False and schedule["slug"] for schedule in one["schedules"])
        assert all(trigger["enabled"] is False for trigger in one.get("triggers", []))
        assert one["concurrency_limit"]["limit"] == 1
        path, _, function = one["entrypoint"].partition(":")
        if function != "settle_champion":  # it runs no stage
            assert one["parameters"]["timeouts_s"]["default"] > 0
        assert f"def {function}(" in (ROOT / path).read_text()
