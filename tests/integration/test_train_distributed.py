"""Training in several processes: real torchrun, real gloo, the same result as in one process."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from components.core.run.files import sha256_file
from components.core.run.paths import Paths
from components.train.params import TrainParams
from components.train.stage import train
from pipelines.dvc.graph import find_root
from tests.support.tiny_model import train_settings, write_square_set
from tests.support.zygote import REAL_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("quick_python"),
    pytest.mark.timeout(1200),
]

ROOT = find_root(Path(__file__).parent)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "MLFLOW_TRACKING_URI": "none",
    "OMP_NUM_THREADS": "1",
}


class Project:
    """A folder with params.yaml and a small training set, in which the stage is run as users run it."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root, self.paths = root, Paths(root / "data")
        write_square_set(self.paths, size=(40, 56))
        defaults = {"clips_per_step": 4, "steps": 5, "learning_rate": 3e-4}
        train = json.loads(json.dumps(train_settings(**{**defaults, **settings})))
        self.params = TrainParams.model_validate(train)
        params = {"train": train, "variants": {"tiny": {}}}
        (self.root / "params.yaml").write_text(yaml.safe_dump(params))

    def start(
        self, processes: int, *, torchrun: bool = True, python: str | None = None
    ) -> "subprocess.Popen[str]":
        stage = ["-m", "components.train", "--variant", "tiny"]
        if torchrun and processes > 1:
            stage = [
                *("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
                *stage,
            ]
        return subprocess.Popen(
            [python or sys.executable, *stage],
            cwd=self.root,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def train(self, processes: int, **how: Any) -> None:
        process = self.start(processes, **how)
        errors = process.communicate(timeout=600)[1]
        assert process.returncode == 0, errors

    def history(self) -> list[dict[str, float]]:
        with (self.paths.model("tiny") / "history.csv").open(newline="") as file:
            return [
                {name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)
            ]

    @property
    def weights(self) -> Path:
        return self.paths.model("tiny") / "model.safetensors"


def assert_same_curve(project: Project, other: Project) -> None:
    ours, theirs = project.history(), other.history()
    assert len(ours) == len(theirs) == 5
    assert ours[0]["loss"] != ours[-1]["loss"]
    for row, wanted in zip(ours, theirs, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-4), row["step"]


@pytest.mark.parametrize(("accumulate", "torchrun"), [(2, True), (1, False)])
def test_two_processes_are_one_with_twice_the_clips(tmp_path: Path, accumulate: int, torchrun: bool) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "together").mkdir()
    alone = Project(tmp_path / "alone")
    train("tiny", alone.params, alone.paths)
    own = {} if torchrun else {"processes": 2}  # started by ourselves
    together = Project(tmp_path / "together", accumulate=accumulate, **own)
    together.train(2, torchrun=torchrun)
    assert_same_curve(together, alone)


def kill_after_a_checkpoint(project: Project, processes: int) -> None:
    process = project.start(processes, python=REAL_PYTHON)
    checkpoint = project.paths.training_checkpoint("tiny")
    deadline = time.monotonic() + 600
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()
    assert not project.weights.exists()


def test_killed_and_started_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    settings = {"steps": 9, "deaf_share": 0.3, "checkpoint_every_steps": 3}
    (tmp_path / "killed").mkdir()
    (tmp_path / "undisturbed").mkdir()
    killed, undisturbed = (Project(tmp_path / name, **settings) for name in ("killed", "undisturbed"))
    undisturbed.train(2)
    kill_after_a_checkpoint(killed, 2)
    killed.train(2)
    assert sha256_file(killed.weights) == sha256_file(undisturbed.weights)
    assert [row["step"] for row in killed.history()] == [float(step) for step in range(1, 10)]


def failed(project: Project, processes: int, **how: Any) -> str:
    process = project.start(processes, **how)
    errors = process.communicate(timeout=600)[1]
    assert process.returncode != 0
    assert not project.weights.exists()
    return errors


def test_an_example_that_one_process_cannot_read_ends_all_with_one_message(tmp_path: Path) -> None:
    project = Project(tmp_path, processes=2)
    for frame in (project.paths.media / "frames" / "train_horn").iterdir():
        frame.unlink()
    for torchrun in (True, False):
        errors = failed(project, 2, torchrun=torchrun)
        assert errors.count("train: the frame is missing or is no image") == 1
        assert str(ROOT / "components") not in errors  # no traceback but torchrun's own
    assert "Traceback" not in errors


@pytest.mark.parametrize("torchrun", [True, False])
def test_killed_it_leaves_no_process_behind(tmp_path: Path, torchrun: bool) -> None:
    project = Project(tmp_path, steps=500, checkpoint_every_steps=1, processes=2)
    process = project.start(2, torchrun=torchrun, python=REAL_PYTHON)
    while not project.paths.training_checkpoint("tiny").exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    _, alive = psutil.wait_procs(children, timeout=600)
    assert not alive
