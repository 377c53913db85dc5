"""A copy of this checkout whose whole pipeline takes seconds: few tiny clips, three steps of training."""

import shutil
import subprocess
from pathlib import Path

import yaml

from pipelines.dvc.graph import find_root

ROOT = find_root(Path(__file__).parent)
SMALL = {
    "sample": {
        "train_clips": 4, "val_clips": 1, "test_clips": 2, "min_duration_s": 3, "max_duration_s": 4,
        "width": 192, "height": 112,
    },
    "train": {
        "steps": 3, "clips_per_step": 1, "frames_per_clip": 2, "checkpoint_every_steps": 2,
        "log_every_steps": 1,
        "short_sides_px": [64], "test_short_side_px": 64, "start_from": None, "warmup_steps": 0,
        "frozen_parts": [],
    },
    "compare": {"clips": 1, "frames": 2, "bootstrap_samples": 100},
}  # fmt: skip


def make_small_project(root: Path) -> None:
    """Put it into an empty folder, committed, with nothing computed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name not in ("dvc.lock",):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    for name in ("data/model", "data/evaluation", "data/qa"):  # another run's metrics
        shutil.rmtree(root / name, ignore_errors=True)
    params = yaml.safe_load((root / "params.yaml").read_text())
    for block, values in SMALL.items():
        params[block].update(values)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
