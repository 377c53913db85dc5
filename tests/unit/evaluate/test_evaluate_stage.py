"""The stage from files to files: two clips with pictures and sound, one predicted well and one badly."""

import csv
import json
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from components.core.metrics import score as scoring
from components.core.metrics.bootstrap import confidence_intervals
from components.core.metrics.failures.frame_causes import CAUSES
from components.core.metrics.score import score, score_indexed
from components.core.records import masks, work_file
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.checked_results import index_results
from components.core.records.results import Result, write_results
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.tracking.run import send_pending
from components.evaluate.films import FilmSource, find_media
from components.evaluate.params import EvaluateParams
from components.evaluate.stage import evaluate, write_evaluation
from tests.support.work_files import record_work_folders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HEIGHT, WIDTH, SECONDS = 90, 160, 3
ENGINE = EngineParams(workers=1)
PARAMS = EvaluateParams(
    failure_score_threshold=0.3,
    resamples=20,
    overlays_best=1,
    overlays_worst=1,
    overlays_random=1,
    overlay_height_px=90,
)


def mask(x):
    picture = np.zeros((HEIGHT, WIDTH), dtype=bool)
    picture[20:60, x : x + 40] = True
    return masks.encode(picture)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def make(root: Path) -> Paths:
    """Two clips of noise; the objects of `found` are found, those of `lost` are not."""
    paths = Paths(root)
    random = np.random.default_rng(0)
    videos, tracks = [], []
    for number, name in enumerate(("found", "lost<b>"), start=1):
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
    write_annotations(
        paths.annotations / "test.json", AnnotationSet({1: "violin", 2: "<b>bold</b>"}, videos, tracks)
    )
    write_results(
        paths.predictions("small") / "results.json",
        [Result(1, 1, 0.9, [mask(10), None, mask(20)]), Result(2, 1, 0.4, [mask(90), mask(90), None])],
    )
    paths.model("small").mkdir(parents=True)
    calibration = {
        "thresholds": {"score": 0.7, "presence": 0.6, "fsla": 62.1, "published_fsla": 53.1},
        "reliability": {
            "bins": [
                {"low": 0.3, "tracks": 4, "mean_score": 0.35, "right_share": 0.25},
                {"low": 0.9, "tracks": 8, "mean_score": 0.95, "right_share": 1.0},
            ],
            "expected_error": 0.0667,
        },
        "silence": {"true_frames": 20, "predicted_frames": 16, "precision": 0.75, "recall": 0.6},
        "clips": 24,
    }
    (paths.model("small") / "calibration.json").write_text(json.dumps(calibration))
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
    assert list(metrics["corrected"])[:3] == ["FSLA", "HOTA", "mAP"]  # what DVC shows first
    assert set(metrics) == {"corrected", "official"}
    assert metrics["corrected"]["mAP"] == 50.0
    assert metrics["corrected"]["FSLA"] == 50.0  # all of one clip, none of the other
    assert metrics["official"]["FSLAn"] == 0.0
    intervals = json.loads((folder / "intervals.json").read_text())
    for protocol in ("corrected", "official"):
        assert set(intervals[protocol]) == {"mAP", "HOTA", "FSLA", "FSLAn", "FSLAs"}  # no frame with more
    with (folder / "per_clip.csv").open() as file:
        clips = {(row["protocol"], row["video"]): row for row in csv.DictReader(file)}
    assert float(clips["corrected", "found"]["FSLA"]) == 100
    assert float(clips["corrected", "lost"]["FSLA"]) == 0
    with (folder / "per_category.csv").open() as file:
        categories = {(row["protocol"], row["category"]): row for row in csv.DictReader(file)}
    assert float(categories["corrected", "violin"]["AP"]) == 100
    with (folder / "plots" / "fsla_corrected.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19
    assert {float(row["FSLA"]) for row in rows} == {50.0}


def test_the_page_says_how_sure_it_must_be(done):
    page = " ".join((done.evaluation("small") / "report.html").read_text().split())
    assert "a track's score 0.7, its presence in a frame 0.6" in page.replace("&#39;", "'")
    assert "Of the 20 frames in which nothing sounds 60.0 % were known" in page
    assert "16 in which nothing was found 75.0 % were silent" in page
    assert "Expected calibration error: 6.67 points" in page


def test_weak_tracks_are_those_below_the_models_own_threshold(tmp_path):
    paths, params = (
        make(tmp_path),
        EvaluateParams(resamples=0, overlays_best=0, overlays_worst=0, overlays_random=0),
    )
    shutil.copytree(paths.predictions("small"), paths.predictions("small@2"))
    shutil.copytree(paths.model("small"), paths.model("small@2"))
    evaluate("small", known_variants=["small"], params=params, engine=ENGINE, paths=paths)
    further = paths.evaluation("small") / "seeds" / "2"  # of a further seed only the numbers
    assert sorted(file.name for file in further.iterdir()) == ["counts.safetensors", "metrics.json"]
    assert json.loads((further.parent / "further.json").read_text()) == 1  # without a file DVC warns
    for file in further.iterdir():
        assert file.read_bytes() == (paths.evaluation("small") / file.name).read_bytes()
    assert json.loads((paths.evaluation("small") / "failures.json").read_text())["score_threshold"] == 0.7
    assert params.threshold(None) == 0.3  # of a model that chose none, and of other programs' results
    assert PARAMS.threshold({"thresholds": {"score": 0.7}}) == 0.3


def test_work_files_lie_beside_the_outputs(tmp_path, monkeypatch):
    paths = make(tmp_path / "data")
    folders = record_work_folders(monkeypatch, (work_file, "_BLOCK_BYTES"))
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    assert folders == [paths.root]


def test_a_model_without_validation_clips_is_said_to_have_none(tmp_path):
    paths = make(tmp_path)
    (paths.model("small") / "calibration.json").write_text("null")
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    assert "No thresholds were chosen" in (paths.evaluation("small") / "report.html").read_text()
    (paths.model("small") / "calibration.json").write_text('{"thresholds": ')
    with pytest.raises(AvisError, match=r"calibration cannot be read.*calibration\.json.*train@small"):
        evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)


def test_overlay_videos_carry_sound(done):
    films = sorted((done.evaluation("small") / "overlays").iterdir())
    assert [film.name for film in films] == ["found.mp4", "lost.mp4"]
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


def test_a_film_shows_the_frame_that_its_masks_belong_to(done):
    with av.open(str(done.evaluation("small") / "overlays" / "found.mp4")) as film:
        pictures = [frame.to_ndarray(format="gray").astype(float) for frame in film.decode(video=0)]
    frames = [
        cv2.imread(str(done.media / "frames" / "found" / f"{second:05d}.jpg"), cv2.IMREAD_GRAYSCALE)
        for second in range(SECONDS)
    ]

    def likeness(picture, frame):
        """The greatest correlation of the left panel with a frame, wherever the title ends."""
        parts = (picture[top : top + HEIGHT, :WIDTH] for top in range(len(picture) - HEIGHT))
        return max(np.corrcoef(part.ravel(), frame.ravel())[0, 1] for part in parts)

    for place in (4, 7):  # the first and the last picture of second 1, which has no masks
        found = [likeness(pictures[place], frame) for frame in frames]
        assert np.argmax(found) == 1 and found[1] > 2 * max(found[0], found[2])


def test_report_names_the_protocol_and_escapes(done):
    page = (done.evaluation("small") / "report.html").read_text()
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold" in page
    assert 'src="overlays/found.mp4"' in page
    assert "http://" not in page and "https://" not in page
    assert page.count("corrected") > 10 and "official" in page


def test_again_gives_the_same_numbers(done):
    folder = done.evaluation("small")
    before = {
        name: (folder / name).read_bytes() for name in ("metrics.json", "intervals.json", "report.html")
    }
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=done)
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_what_goes_wrong_is_written_and_said(done):
    folder = done.evaluation("small")
    document = json.loads((folder / "failures.json").read_text())
    assert (document["protocol"], document["score_threshold"]) == ("corrected", 0.3)
    totals = document["totals"]["score >= 0.3"]
    # `lost`: a mask beside the object, one on the silent frame, none on the last
    assert totals["frames_right_percent"] == 50
    assert totals["false_sound_masks_nothing_sounds"] == totals["missed_sound_masks"] == 1
    causes = {row["cause"]: row["frames"] for row in read_csv(folder / "failures" / "causes.csv")}
    assert {cause: int(frames) for cause, frames in causes.items() if int(frames)} == {
        "false sound": 1,
        "missed sound": 1,
        "wrong category": 1,
    }
    confusion = {
        (row["true"], row["predicted"]): int(row["masks"])
        for row in read_csv(folder / "failures" / "confusion.csv")
        if row["predictions"] == "all"
    }
    assert confusion == {
        ("violin", "violin"): 2,
        ("<b>bold</b>", "nothing"): 2,
        ("nothing", "violin"): 2,
    }
    clips = {row["video"]: row for row in read_csv(folder / "failures" / "per_clip_failures.csv")}
    assert clips["found"]["wrong_frames"] == "0"
    assert clips["lost"]["wrong_frames"] == "3"
    switches = (folder / "failures" / "identity_switches.csv").read_text().splitlines()
    assert len(switches) == 1 and switches[0].startswith("protocol,predictions,video,frame")
    page = (folder / "report.html").read_text()
    for words in (
        "50.0 %",
        "false sound",
        "Something is predicted on 1 of 2 silent frames",
        "lost (worst 1)",
    ):
        assert words in page.replace("</b>", "").replace("<b>", "")


def test_dvc_draws_every_plot_that_is_written(done):
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["evaluate"]["do"]
    declared = {Path(path).name: settings for entry in stage["plots"] for path, settings in entry.items()}
    written = {path.name: path for path in (done.evaluation("small") / "plots").iterdir()}
    assert set(declared) == set(written)
    for name, settings in declared.items():
        template = json.loads((ROOT / ".dvc" / "plots" / f"{settings['template']}.json").read_text())
        assert {settings["x"], settings["y"]} <= set(read_csv(written[name])[0])
        if settings["template"] == "avis_frames":
            assert template["spec"]["encoding"]["color"]["scale"]["domain"] == ["right", *CAUSES]
        if settings["template"] == "avis_curves":
            drawn = {line.replace("\\", "") for line in template["transform"][0]["fold"]}
            assert set(read_csv(written[name])[0]) - {settings["x"]} <= drawn


def film_height(paths):
    with av.open(str(paths.evaluation("small") / "overlays" / "found.mp4")) as film:
        return film.streams.video[0].height


def test_weak_tracks_are_told_apart(done, tmp_path):
    paths = make(tmp_path)
    write_results(
        paths.predictions("small") / "results.json",
        [
            Result(1, 1, 0.9, [mask(10), None, mask(20)]),
            *(Result(1, 1, 0.01 * n, [mask(90), mask(90 + n), None]) for n in range(1, 20)),
        ],
    )
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    document = json.loads((paths.evaluation("small") / "failures.json").read_text())
    assert document["totals"]["all"]["false_sound_masks"] == 19
    assert document["totals"]["score >= 0.3"]["false_sound_masks"] == 0
    page = (paths.evaluation("small") / "report.html").read_text()
    assert "The same with every prediction" in page
    assert film_height(paths) == film_height(done)  # a lane for each track that is shown


def aviseg_layout(paths: Path, folder: Path) -> Path:
    """The clips' media as AVISeg publishes its own."""
    shutil.copytree(paths.media / "frames", folder / "JPEGImages")
    shutil.copytree(paths.media / "audio", folder / "WAVAudios")
    return folder


def test_files_from_anywhere_with_and_without_media(tmp_path):
    paths = make(tmp_path / "data")
    annotations = read_annotations(paths.annotations / "test.json")
    index = index_results(paths.predictions("small") / "results.json", annotations)
    scores = score_indexed(annotations, index, failure_score_threshold=0.3)
    intervals = {"corrected": {"mAP": (1.0, 2.0)}}

    def written(name, media):
        source = None if media is None else FilmSource(annotations, index, find_media(media))
        out = tmp_path / name
        write_evaluation(out, scores, intervals, title=name, params=PARAMS, engine=ENGINE, source=source)
        return out, (out / "report.html").read_text()

    out, page = written("bare", None)
    assert "pictures were not given" in page and "<video" not in page
    assert list((out / "overlays").iterdir()) == []
    assert "Evaluation of bare" in page and "1.00 to 2.00" in page

    media = aviseg_layout(paths, tmp_path / "aviseg")
    out, page = written("aviseg", media)
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["found.mp4", "lost.mp4"]
    assert "Turn the sound on" in page
    with av.open(str(out / "overlays" / "found.mp4")) as film:
        assert len(film.streams.audio) == 1

    shutil.rmtree(media / "WAVAudios")
    out, page = written("silent", media)
    assert "films are silent" in page
    with av.open(str(out / "overlays" / "found.mp4")) as film:
        assert len(film.streams.audio) == 0
        assert sum(1 for _ in film.decode(video=0)) == SECONDS * 4

    assert find_media(paths.media).sounds == paths.media / "audio"
    with pytest.raises(AvisError, match="JPEGImages"):
        find_media(tmp_path)


def test_a_perfect_result_has_nothing_to_say(tmp_path):
    paths = make(tmp_path)
    tracks = read_annotations(paths.annotations / "test.json").tracks
    write_results(
        paths.predictions("small") / "results.json",
        [Result(track.video_id, track.category_id, 1.0, track.segmentations) for track in tracks],
    )
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    assert "every frame is right" in (paths.evaluation("small") / "report.html").read_text()


def test_a_ground_truth_without_tracks(tmp_path):
    paths = make(tmp_path)
    annotations = read_annotations(paths.annotations / "test.json")
    write_annotations(
        paths.annotations / "test.json", AnnotationSet(annotations.categories, annotations.videos, [])
    )
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    plots = paths.evaluation("small") / "plots"
    assert (plots / "hota_corrected.csv").read_text() == "threshold,HOTA\n"
    assert (
        "Something is predicted on 4 of 6 silent frames"
        in (paths.evaluation("small") / "report.html").read_text()
    )


def test_mlflow_has_the_files(tmp_path, monkeypatch, new_store):
    import mlflow

    monkeypatch.chdir(tmp_path)
    uri = new_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    paths = make(tmp_path / "data")
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    send_pending(paths)
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len(runs) == 1

    def listed(folder):
        return {Path(entry.path).name for entry in client.list_artifacts(runs[0].info.run_id, folder)}

    folder = paths.evaluation("small")
    assert {"report.html", "failures.json", "per_clip.csv", "failures", "plots", "overlays"} <= listed(
        "evaluation"
    )
    for part in ("failures", "plots", "overlays"):
        assert listed(f"evaluation/{part}") == {path.name for path in (folder / part).iterdir()}
    assert "counts.safetensors" in listed("evaluation")
    assert runs[0].data.metrics["corrected/failures/false_sound_masks"] == 1
    assert min(runs[0].data.metrics.values()) >= 0  # no -100 of the published evaluator, which spoils plots
    assert runs[0].data.params["evaluate.failure_score_threshold"] == "0.3"
    pictures = {name.partition("+")[0] for name in listed("images") if name.endswith(".png")}
    assert pictures == {"clips~found", "clips~lost"}
    assert runs[0].data.tags["mlflow.loggedImages"] == "True"


def test_a_missing_picture_costs_one_overlay_not_the_numbers(tmp_path):
    paths = make(tmp_path)
    (paths.media / "frames" / "lost" / "00001.jpg").unlink()
    evaluate("small", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=paths)
    folder = paths.evaluation("small")
    assert [film.name for film in (folder / "overlays").iterdir()] == ["found.mp4"]
    assert "00001.jpg" in (folder / "report.html").read_text()


def test_unknown_variant(tmp_path):
    with pytest.raises(AvisError, match=r"'large' does not exist.*small"):
        evaluate("large", known_variants=["small"], params=PARAMS, engine=ENGINE, paths=Paths(tmp_path))


def test_any_number_of_workers_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(scoring, "_MASKS_WORTH_PROCESSES", 0)
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
    command = [sys.executable, "-X", "importtime", "-m", "components.evaluate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--variant" in done.stdout
    assert "numpy" not in done.stderr  # so help is there at once
    code = "import sys, components.evaluate.stage; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
