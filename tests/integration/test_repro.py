"""The whole pipeline on a handful of tiny clips: what a change runs again, and what heals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.core.run.errors import AvisError
from components.core.run.params import read_variant_names
from components.tools.promotion.measure import measure_model
from tests.support.small_project import SMALL, make_small_project
from tests.support.zygote import REAL_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("quick_python"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with small parameters, brought up to date once."""
    root = tmp_path_factory.mktemp("checkout")
    make_small_project(root)
    dvc(root, "repro")
    return root


def avis(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def dvc(root: Path, *arguments: str, python: str | None = None) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the copy has no .venv
    done = subprocess.run(
        [python or sys.executable, "-m", "dvc", *arguments],
        cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


def changed_stages(root: Path) -> set[str]:
    return set(json.loads(dvc(root, "status", "--json")))


def would_run(root: Path, *targets: str) -> set[str]:
    lines = dvc(root, "repro", "--dry", *targets).splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def test_everything_that_the_graph_promises_is_there(project: Path) -> None:
    assert changed_stages(project) == set()
    for variant in read_variant_names(project / "params.yaml"):
        metrics = json.loads((project / f"data/evaluation/{variant}/metrics.json").read_text())
        assert {"corrected", "official"} <= set(metrics)
        assert {"mAP", "HOTA", "FSLA"} <= set(metrics["corrected"])
    report = (project / "data/comparison/report.html").read_text()
    assert all(variant in report for variant in read_variant_names(project / "params.yaml"))
    assert "data/qa/metrics.json" in dvc(project, "metrics", "show")


def cpu_s() -> float:
    """What all children of this process have computed: as long beside other work as alone."""
    used = os.times()
    return used.children_user + used.children_system


def test_a_second_repro_does_nothing_and_says_so_in_ten_seconds(project: Path) -> None:
    lock = (project / "dvc.lock").read_bytes()
    before_s = cpu_s()
    said = dvc(project, "repro", python=REAL_PYTHON)
    assert cpu_s() - before_s < 10
    assert "Data and pipelines are up to date." in said
    assert (project / "dvc.lock").read_bytes() == lock


def test_git_sees_only_the_lock_and_the_metrics(project: Path) -> None:
    done = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=project, capture_output=True, text=True, check=True
    )
    new = {line[3:] for line in done.stdout.splitlines()}
    assert all(name == "dvc.lock" or name.endswith("metrics.json") for name in new), new


def test_a_variants_seed_concerns_only_that_variant_and_what_follows(project: Path) -> None:
    first, *others = read_variant_names(project / "params.yaml")
    params = (project / "params.yaml").read_text()
    values = yaml.safe_load(params)
    values["variants"][first] = {**(values["variants"][first] or {}), "seed": 77}
    try:
        (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        assert changed_stages(project) == {f"train@{first}", "mllm", "compare"}  # these two read the variants
        assert f"train@{first}" in would_run(project, f"evaluate@{first}")
        assert not any(would_run(project, f"evaluate@{other}") for other in others)
    finally:
        (project / "params.yaml").write_text(params)
    assert changed_stages(project) == set()


def test_a_deleted_frame_heals_and_nothing_else_runs(project: Path) -> None:
    frame = sorted((project / "data/media/frames").glob("*/00001.jpg"))[0]
    before = frame.read_bytes()
    lock = (project / "dvc.lock").read_bytes()
    frame.unlink()
    assert changed_stages(project) >= {"extract"}
    said = dvc(project, "repro")
    assert frame.read_bytes() == before
    assert (project / "dvc.lock").read_bytes() == lock
    assert [line for line in said.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'extract':"
    ]


def test_a_qa_rule_does_not_train_again(project: Path) -> None:
    params = (project / "params.yaml").read_text()
    values = yaml.safe_load(params)
    values["qa"]["findings_shown"] = 1
    try:
        (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        gate = (project / "data/qa/gate.json").read_bytes()
        dvc(project, "repro", "qa")
        assert (project / "data/qa/gate.json").read_bytes() == gate
        assert changed_stages(project) == set()
    finally:
        (project / "params.yaml").write_text(params)


def test_an_aviseg_download_goes_the_same_way_by_profile(project: Path) -> None:
    """The last test here: it leaves the project with other parameters."""
    assert "7 videos" in avis(project, "export", "aviseg", "data/aviseg", "--features", "avism")
    said = avis(project, "profile", "aviseg-r50")
    assert "train.steps: 3 → 48000" in said
    assert "data/aviseg/manifest.csv: 7 videos" in said
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["train"].update(SMALL["train"], crop_px=None, milestones=[2], loader_workers=0)
    values["train"]["model"].update(
        backbone_pretrained=False, channels=32, hidden=32, pixel_hidden=32, pixel_layers=1, frame_layers=2,
        frame_queries=4, video_queries=4, video_encoder_layers=2, video_supervision=1,
    )  # fmt: skip
    (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    before = (project / "data/annotations/test.json").read_bytes()
    dvc(project, "repro")
    assert json.loads((project / "data/annotations/test.json").read_text())["videos"]
    assert (project / "data/annotations/test.json").read_bytes() == before
    assert len(list((project / "data/media/features").glob("*.npy"))) == 7
    config = json.loads((project / "data/model/avism_r50/config.json").read_text())
    assert (config["config"]["backbone"], config["config"]["audio"]) == ("resnet50", "features")
    assert "mAP" in json.loads((project / "data/evaluation/avism_r50/metrics.json").read_text())["official"]
    assert changed_stages(project) == set()


def test_a_champion_is_scored_as_the_evaluate_stage_scores(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model on the same clips: the same bytes, so champion and challenger are comparable."""
    command = [
        sys.executable,
        "-m",
        "components.tools.promotion.measure",
        "data/model/avism",
        os.fspath(tmp_path),
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for made, expected in (
        ("counts.safetensors", "data/evaluation/avism/counts.safetensors"),
        ("results.json", "data/predictions/avism/results.json"),
    ):
        assert (tmp_path / made).read_bytes() == (project / expected).read_bytes()
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(project)
    with pytest.raises(AvisError, match=r"config\.json"):
        measure_model(tmp_path, tmp_path)
