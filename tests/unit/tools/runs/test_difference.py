"""`avis runs diff` on a real sqlite store, real counts and a real git repository."""

import csv
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.core.metrics.counts_file import write_counts
from components.core.metrics.score import score
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.results import Result
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.evaluate.tables import clip_csv
from pipelines.commands.runs.runs import diff
from tests.unit.core.metrics.test_corrected import HEIGHT, WIDTH, A, encoded

CATEGORIES = {1: "cello", 2: "drum"}


def evaluation(folder: Path, clips: list[str], right: set[str]) -> None:
    """Write the evaluation of a model that finds what sounds in some clips and nothing in the others."""
    videos = [
        Video(number, clip, [f"{clip}/{k}.jpg" for k in range(3)], 3, HEIGHT, WIDTH)
        for number, clip in enumerate(clips, start=1)
    ]
    masks = [encoded(A), encoded(A), None]
    annotations = AnnotationSet(
        CATEGORIES, videos, [Track(video.id, video.id, 1 + video.id % 2, masks) for video in videos]
    )
    results = [Result(video.id, 1 + video.id % 2, 0.9, masks) for video in videos if video.name in right]
    scores = score(annotations, results, engine=EngineParams())
    corrected = scores.protocols["corrected"]
    folder.mkdir()
    (folder / "per_clip.csv").write_text(clip_csv(scores))
    write_counts(
        folder / "counts.safetensors",
        {protocol: part.counts for protocol, part in scores.protocols.items()},
        videos=[str(row["video"]) for row in corrected.clips],
        categories=[str(row["category"]) for row in corrected.categories],
    )


def commit(folder: Path, name: str, content: str) -> str:
    """Commit a file and return the commit's id."""
    git = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@localhost"]
    (folder / name).write_text(content)
    subprocess.run([*git, "add", name], check=True)
    subprocess.run([*git, "commit", "-qm", f"{name} says {content}"], check=True)
    return subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass
class Made:
    """A folder with a repository, its store's address, and run ids by name."""

    folder: Path
    uri: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Made:
    import mlflow
    from mlflow.entities import Dataset, DatasetInput

    folder = tmp_path_factory.mktemp("made")
    uri = new_store(folder)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    commits = [commit(folder, "model.py", text) for text in ("one", "two")]
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("avis", artifact_location=f"{folder}/mlruns")
    clips = [f"clip{number}" for number in range(12)]
    runs: dict[str, str] = {}

    def add(
        name: str, code: str, seed: str, tested: list[str], right: set[str], *, counts: bool = True
    ) -> None:
        tags = {"mlflow.source.git.commit": code, "git.dirty": str(name == "deaf").lower()}
        run = runs[name] = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        client.log_param(run, "seed", seed)
        client.log_metric(run, "predict/seconds_per_frame", 0.5)
        client.log_metric(run, "corrected/FSLA", 50.0)
        digest = f"{len(tested)}e46be6ae"
        client.log_inputs(run, [DatasetInput(Dataset("test", digest, "dvc", "{}"))])
        client.log_text(
            run, f"# Python 3.11, Linux\ntorch=={seed}.0\nnumpy==2\n", "environment/requirements.txt"
        )
        kept = folder / name
        evaluation(kept, tested, right)
        if not counts:
            (kept / "counts.safetensors").unlink()
        client.log_artifacts(run, str(kept), "evaluation")

    add("deaf", commits[0], "1", clips, {"clip0"})
    add("avism", commits[1], "2", clips, {*clips} - {"clip0"})
    add("other", "f" * 40, "2", [*clips[8:], "clip99"], {*clips})
    add("old", commits[1], "2", clips, {*clips}, counts=False)
    client.create_registered_model("avis")
    client.create_model_version("avis", "runs:/x", run_id=runs["deaf"])
    client.set_registered_model_alias("avis", "champion", "1")
    return Made(folder, uri, runs)


@pytest.fixture(autouse=True)
def workspace(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)


def sections(text: str) -> dict[str, str]:
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in text.split("\n\n")}


def test_all_that_differs_is_told(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diff("champion", made.runs["avism"][:12], csv=tmp_path / "clips.csv")
    told = sections(capsys.readouterr().out)
    assert told["parameters"].split("\n")[1].split() == ["seed", "1", "2"]
    assert "data: the same" in told
    assert "model.py says two" in told["code"] and "1 file changed" in told["code"]
    assert "ran with changes that were not committed" in told["code"]
    assert "torch  1.0    2.0" in told["environment"] and "numpy" not in told["environment"]
    [line] = [line for line in told["scores"].splitlines() if line.startswith("corrected/FSLA ")]
    first, second, difference, low, to, high, p, verdict = line.split()[1:]
    assert float(second) - float(first) == pytest.approx(float(difference), abs=0.02)
    assert float(low) < float(difference) < float(high) and to == "to" and verdict == "clear"
    assert float(p) < 0.05
    assert told["clips"].split("\n")[1].split() == ["clip0", "100.0", "33.3", "-66.7"]
    assert "1 clips fell, 11 gained, 0 are as before" in told["clips"]
    with (tmp_path / "clips.csv").open() as file:
        rows = {(row["protocol"], row["video"], row["score"]): row for row in csv.DictReader(file)}
    assert len([key for key in rows if key[0] == "corrected" and key[2] == "FSLA"]) == 12
    assert float(rows["corrected", "clip0", "FSLA"]["difference"]) == pytest.approx(-200 / 3, abs=0.001)


def test_other_clips_are_compared_where_they_meet(capsys: pytest.CaptureFixture[str]) -> None:
    diff("avism", "other")
    told = sections(capsys.readouterr().out)
    assert "different clips (12 and 5): compared on the 4 that they share" in told["scores"]
    assert "The test annotations differ" in told["scores"]
    [line] = [line for line in told["scores"].splitlines() if line.startswith("corrected/FSLA ")]
    assert line.split()[1:4] == ["100.00", "100.00", "+0.00"]  # over all 12 the first has less
    assert "0 clips fell, 0 gained, 4 are as before" in told["clips: the same"]
    assert "test  12e46be6ae  5e46be6ae" in told["data"]
    assert "not both in this repository" in told["code"]


def test_without_counts_there_are_numbers_but_no_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    diff("deaf", "old")
    told = sections(capsys.readouterr().out)
    assert "kept no counts per clip" in told["scores"]
    assert "corrected/FSLA" in told["scores"] and "clear" not in told["scores"]
    assert "11 gained" in told["clips"]


def test_a_run_that_is_not_there_is_one_message() -> None:
    with pytest.raises(
        AvisError, match=r"no model avis@9 is registered. There are: avis version 1, avis@champion"
    ):
        diff("avis@9", "avism")
    for wanted in ("nobody", "it's", "0000"):
        with pytest.raises(AvisError, match=f"there is no run .{wanted}"):
            diff(wanted, "avism")
