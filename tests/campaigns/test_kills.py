"""The campaign of kills in short: two stages and a conversion, killed four times."""

import sys
from pathlib import Path

import pytest

from pipelines.dvc.graph import read_graph
from tests.campaigns.kills import Action, campaign, finish, stage_actions
from tests.support.small_project import make_small_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STAGES = {
    "sample": ["data/sample/videos", "data/sample/annotations.json", "data/sample/manifest.csv"],
    "ingest": ["data/raw"],
    "extract": ["data/media"],
    "annotate": ["data/annotations/train.json", "data/annotations/summary.json"],
}


def test_what_is_killed_ends_with_the_same_bytes_when_it_is_started_again(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    make_small_project(root)
    (root / ".venv").symlink_to(Path(sys.prefix))
    assert [action.name for action in stage_actions(root)] == [stage.name for stage in read_graph(root)]
    stages = [Action(name, ("-m", f"components.{name}"), outputs) for name, outputs in STAGES.items()]
    for stage in stages[:2]:
        assert not finish(root, stage)
    convert = ("-m", "pipelines.cli", "convert", "data/annotations/train.json", "out/y.zip", "--to")
    actions = [*stages[2:], Action("convert", (*convert, "coco_video"), ["out/y.zip"])]
    kills = list(campaign(root, actions, kills=4, seed=1))
    assert len(kills) == 4 and any(kill.hit for kill in kills)
    assert not [kill for kill in kills if kill.problem]
