"""The stage from files to files: two clips with pictures and sound, one predicted well and one badly."""

import csv
import json
import subprocess
import sys
import time
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from components.core import masks
from components.core.errors import AvisError
from components.core.params import EngineParams
from components.core.paths import Paths
from components.core.records import AnnotationSet, Result, Track, Video, write_annotations, write_results
from components.core.video_writer import write_video
from components.evaluate import evaluate as evaluation
from components.evaluate.bootstrap import confidence_intervals
from components.evaluate.evaluate import score
from components.evaluate.params import EvaluateParams
from components.evaluate.stage import evaluate

HEIGHT, WIDTH, SECONDS = 90, 160, 3
ENGINE = EngineParams(workers=1)
PARAMS = EvaluateParams(
    resamples=20,
    overlays_best=1,
    overlays_worst=1,
    overlays_random=1,
    overlay_height_px=90,
    overlay_rate_hz=4,
)


def mask(x):
    picture = np.zeros((HEIGHT, WIDTH), dtype=bool)
    picture[20:60, x : x + 40] = True
    return masks.encode(picture)


def make(root: Path) -> Paths:
    """Two clips; `moving` has its original video, `still` only the extracted frames."""
    paths = Paths(root)
    random = np.random.default_rng(0)
    videos, tracks = [], []
    for number, name in enumerate(("moving", "still<b>"), start=1):
        name = name.replace("<b>", "")
        files = [f"{name}/{frame:05d}.jpg" for frame in range(SECONDS)]
        videos.append(Video(number, name, files, SECONDS, HEIGHT, WIDTH))
        tracks.append(Track(number, number, number, [mask(10), None, mask(20)]))
        (paths.media / "frames" / name).mkdir(parents=True)
        for file in files:
            picture = random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            cv2.imwrite(str(paths.media / "frames" / file), picture)
        (paths.media / "audio").mkdir(parents=True, exist_ok=True)
        with wave.open(str(paths.media / "audio" / f"{name}.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(16_000)
            sound.writeframes((random.normal(0, 3000, SECONDS * 16_000)).astype("<i2").tobytes())
    moving = (np.full((HEIGHT, WIDTH, 3), 10 * k, dtype=np.uint8) for k in range(SECONDS * 8))
    write_video(paths.raw / "moving.mp4", moving, frame_rate_hz=8)
    write_annotations(
        paths.annotations / "test.json", AnnotationSet({1: "violin", 2: "<b>bold</b>"}, videos, tracks)
    )
    write_results(
        paths.predictions("small") / "results.json",
        [Result(1, 1, 0.9, [mask(10), None, mask(20)]), Result(2, 1, 0.4, [mask(90), mask(90), None])],
    )
    paths.model("small").mkdir(parents=True)
    (paths.model("small") / "run.json").write_text('{"run_id": "0123456789abcdef0123456789abcdef"}')
    return paths


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Paths:
    paths = make(tmp_path_factory.mktemp("evaluate"))
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    return paths


def test_metrics_and_tables(done):
    folder = done.evaluation("small")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"corrected", "official"}
    assert metrics["corrected"]["mAP"] == 50.0
    assert metrics["corrected"]["FSLA"] == 50.0  # all of one clip, none of the other
    assert metrics["official"]["FSLAn"] == 0.0
    intervals = json.loads((folder / "intervals.json").read_text())
    for protocol in ("corrected", "official"):
        assert set(intervals[protocol]) == {"mAP", "HOTA", "FSLA", "FSLAn", "FSLAs"}  # no frame with more
    with (folder / "per_clip.csv").open() as file:
        clips = {(row["protocol"], row["video"]): row for row in csv.DictReader(file)}
    assert float(clips["corrected", "moving"]["FSLA"]) == 100
    assert float(clips["corrected", "still"]["FSLA"]) == 0
    with (folder / "per_category.csv").open() as file:
        categories = {(row["protocol"], row["category"]): row for row in csv.DictReader(file)}
    assert float(categories["corrected", "violin"]["AP"]) == 100
    with (folder / "plots" / "fsla_corrected.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19
    assert {float(row["FSLA"]) for row in rows} == {50.0}


def test_overlay_videos_carry_sound(done):
    films = sorted((done.evaluation("small") / "overlays").iterdir())
    assert [film.name for film in films] == ["moving.mp4", "still.mp4"]
    for film in films:
        with av.open(str(film)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) == SECONDS * 4
        assert pictures[0].shape[1] == 2 * WIDTH
        assert pictures[0].shape[0] > HEIGHT  # title and time bar
        with av.open(str(film)) as container:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert len(sound) / 16_000 == pytest.approx(SECONDS, abs=0.1)
        assert np.abs(sound).mean() > 0.01


def test_report_names_the_protocol_and_escapes(done):
    page = (done.evaluation("small") / "report.html").read_text()
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold" in page
    assert 'src="overlays/moving.mp4"' in page
    assert "http://" not in page and "https://" not in page
    assert page.count("corrected") > 10 and "official" in page


def test_again_gives_the_same_numbers(done):
    folder = done.evaluation("small")
    before = {
        name: (folder / name).read_bytes() for name in ("metrics.json", "intervals.json", "report.html")
    }
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=done)
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_a_missing_picture_costs_one_overlay_not_the_numbers(tmp_path):
    paths = make(tmp_path)
    (paths.media / "frames" / "still" / "00001.jpg").unlink()
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    folder = paths.evaluation("small")
    assert [film.name for film in (folder / "overlays").iterdir()] == ["moving.mp4"]
    assert "00001.jpg" in (folder / "report.html").read_text()


def test_unknown_variant(tmp_path):
    with pytest.raises(AvisError, match=r"'large' does not exist.*small"):
        evaluate("large", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=Paths(tmp_path))


def test_any_number_of_workers_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(evaluation, "_MASKS_WORTH_PROCESSES", 0)
    random = np.random.default_rng(1)
    files = [f"v/{frame}.jpg" for frame in range(SECONDS)]
    videos = [Video(number, f"v{number}", files, SECONDS, HEIGHT, WIDTH) for number in range(6)]
    tracks = [
        Track(number, number % 6, 1, [mask(int(random.integers(0, 100))) for _ in range(SECONDS)])
        for number in range(12)
    ]
    results = [
        Result(
            track.video_id,
            1,
            float(random.random()),
            [mask(int(random.integers(0, 100))), *track.segmentations[1:]],
        )
        for track in tracks
    ]
    annotations = AnnotationSet({1: "violin"}, videos, tracks)
    one = score(annotations, results, engine=EngineParams(workers=1))
    two = score(annotations, results, engine=EngineParams(workers=2))
    for protocol, part in one.protocols.items():
        assert part.values == two.protocols[protocol].values
        assert part.clips == two.protocols[protocol].clips

    counts = one.protocols["corrected"].counts
    intervals = confidence_intervals(counts, resamples=100, seed=3)
    assert intervals == confidence_intervals(counts, resamples=100, seed=3)
    for name, (low, high) in intervals.items():
        assert 0 <= low < high <= 100
        assert low <= one.protocols["corrected"].values[name] <= high
    single = AnnotationSet({1: "violin"}, videos[:1], tracks[:1])
    assert (
        confidence_intervals(score(single, results[:1]).protocols["corrected"].counts, resamples=9, seed=0)
        == {}
    )


def test_command_line():
    start = time.monotonic()
    command = [sys.executable, "-m", "components.evaluate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--variant" in done.stdout
    assert time.monotonic() - start < 10  # seconds even on a busy machine; alone it takes 0.3
    code = "import sys, components.evaluate.stage; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
