"""The campaign of kills in short: four stages and a conversion, killed eight times."""

import sys
from pathlib import Path

import pytest

from tests.campaigns.kills import Action, campaign
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
    actions = [Action(name, ("-m", f"components.{name}"), outputs) for name, outputs in STAGES.items()]
    convert = (
        "-m",
        "pipelines.cli",
        "convert",
        "data/annotations/train.json",
        "out/y.zip",
        "--to",
        "coco_video",
    )
    actions.append(Action("convert", convert, ["out/y.zip"]))
    kills = list(campaign(root, actions, kills=8, seed=1))
    assert len(kills) == 8 and any(kill.hit for kill in kills)
    assert not [kill for kill in kills if kill.problem]
