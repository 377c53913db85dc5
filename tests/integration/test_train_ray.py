"""Training on a local Ray cluster (CPU, 2 workers): what is lost, and what cannot be read.

That two workers train as one process does is in test_ray_s3.py, where a flow run drives a cluster.
"""

import os
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from components.core.run.process import BRIEF_SPIN, SPIN_VARIABLES
from tests.integration.test_train_distributed import ENVIRONMENT, Project
from tests.support.processes import PATIENT_RAY
from tests.support.zygote import REAL_PYTHON

if find_spec("ray") is None:  # not imported here: it starts threads, which forks do not survive
    pytest.skip("Ray is not installed: uv pip install -e '.[ray]'", allow_module_level=True)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800), pytest.mark.usefixtures("ray_folder")]


def start(project: Project, python: str) -> "subprocess.Popen[str]":
    values = yaml.safe_load((project.root / "params.yaml").read_text())
    values["engine"] = {"kind": "ray", "workers": 2}
    (project.root / "params.yaml").write_text(yaml.safe_dump(values))
    environment = {**ENVIRONMENT, **PATIENT_RAY, "RAY_TMPDIR": os.environ["RAY_TMPDIR"]}
    return subprocess.Popen(
        [python, "-m", "components.train", "--variant", "tiny"],
        cwd=project.root,
        env={key: value for key, value in environment.items() if key not in ("RAY_ADDRESS", *SPIN_VARIABLES)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_lost_worker_is_replaced_and_training_goes_on(tmp_path: Path) -> None:
    import psutil

    project = Project(tmp_path, steps=40, checkpoint_every_steps=2)
    process = start(project, REAL_PYTHON)  # its processes are looked for, and what they began with
    checkpoint = project.paths.training_checkpoint("tiny")
    deadline = time.monotonic() + 600
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    for worker in workers:
        assert BRIEF_SPIN.items() <= worker.environ().items()  # set before it could load torch
    os.kill(workers[1].pid, 9)
    said, errors = process.communicate(timeout=900)
    assert process.returncode == 0, said + errors
    assert "a worker was lost" in said
    assert [row["step"] for row in project.history()] == [float(step) for step in range(1, 41)]


def test_what_a_worker_cannot_read_is_one_message(tmp_path: Path, zygote_python: str) -> None:
    project = Project(tmp_path)
    for frame in (project.paths.media / "frames" / "train_horn").iterdir():
        frame.unlink()
    process = start(project, zygote_python)  # its workers, too, have torch already
    errors = process.communicate(timeout=900)[1]
    assert process.returncode == 1
    assert errors.count("train: the frame is missing or is no image") == 1
    assert not project.weights.exists()
