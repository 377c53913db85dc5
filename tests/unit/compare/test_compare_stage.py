"""The page and the table, from files as the stages before leave them."""

import base64
import csv
import io
import json
import re
import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from components.compare.params import CompareParams
from components.compare.stage import compare
from components.core.metrics.counts_file import read_counts, write_counts
from components.core.metrics.score import numbers, score
from components.core.records import masks
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.results import Result, write_results
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.run.process import said_to_user
from components.core.tracking.run import Run
from components.evaluate.tables import clip_csv
from tests.support.full_disk import files_below, full_at_each_place

HEIGHT, WIDTH, LENGTH_S, CLIPS = 36, 64, 5, 3
PARAMS = CompareParams(clips=2, frames=3, frame_width_px=64, bootstrap_samples=200)


def left_half() -> dict:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:, : WIDTH // 2] = True
    return masks.encode(mask)


def write_csv(path: Path, header: str, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module", autouse=True)
def no_tracking() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "none")
        yield


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make_results(tmp_path / "data")


@dataclass
class Shown:
    paths: Paths
    html: str
    page: "Page"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """One comparison, for the tests that only look."""
    paths = make_results(tmp_path_factory.mktemp("shown") / "data")
    html = run(paths)
    return Shown(paths, html, Page(html))


def make_results(root: Path) -> Paths:
    """Three clips: a violin on the left in seconds 1 to 3; `seeing` finds it, `deaf` says all the time."""
    paths = Paths(root)
    videos = []
    for number in range(CLIPS):
        name = f"clip{number}"
        for second in range(LENGTH_S):
            frame = paths.media / "frames" / name / f"{second:05d}.jpg"
            frame.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(frame), np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
        audio = paths.media / "audio" / f"{name}.wav"
        audio.parent.mkdir(exist_ok=True)
        with wave.open(str(audio), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(16000 * LENGTH_S) / 16000)
            file.writeframes(tone.astype("<i2").tobytes())
        files = [f"{name}/{second:05d}.jpg" for second in range(LENGTH_S)]
        videos.append(Video(number + 1, name, files, LENGTH_S, HEIGHT, WIDTH))
    tracks = [Track(v.id, v.id, 1, [None, left_half(), left_half(), left_half(), None]) for v in videos]
    annotations = AnnotationSet({1: "violin", 2: "<b>drum</b>"}, videos, tracks)
    write_annotations(paths.annotations / "test.json", annotations)
    for variant in ("seeing", "deaf"):
        found = [
            Result(t.video_id, 1, 0.9, t.segmentations if variant == "seeing" else [left_half()] * LENGTH_S)
            for t in tracks
        ]
        drum = Result(1, 2, 0.6, [left_half(), *[None] * (LENGTH_S - 1)])
        write_results(paths.predictions(variant) / "results.json", [*found, drum])
        scores = score(annotations, [*found, drum])
        write_json(paths.predictions(variant) / "timing.json", {"seconds_per_frame": 0.05})
        model, evaluation = paths.model(variant), paths.evaluation(variant)
        write_json(model / "run.json", {"run_id": f"{variant}-run"})
        write_json(model / "metrics.json", {"parameters": 5_000_000, "seconds": 300.0})
        write_csv(model / "history.csv", "step,loss", [[step, 20 - step / 10] for step in range(10, 101, 10)])
        write_json(evaluation / "metrics.json", numbers(scores))
        write_json(evaluation / "intervals.json", {"corrected": {"HOTA": [41.0, 59.0]}, "level_percent": 95})
        write_counts(
            evaluation / "counts.safetensors",
            {protocol: part.counts for protocol, part in scores.protocols.items()},
            videos=[video.name for video in videos],
            categories=list(annotations.categories.values()),
        )
        (evaluation / "per_clip.csv").write_text(clip_csv(scores))
        write_csv(
            evaluation / "per_category.csv",
            "protocol,category,AP,HOTA,FSLA",
            [["corrected", "violin", 40.0, 50.0, 60.0], ["corrected", "<b>drum</b>", "", "", ""]],
        )
    film = paths.evaluation("deaf") / "overlays" / "clip2.mp4"
    film.parent.mkdir()
    film.touch()
    answers = {
        "seeing": {"category_f1": 90.0, "clips": 3.0},
        "deaf": {"category_f1": 70.0, "clips": 3.0},
        "baseline/silent": {"category_f1": 0.0, "clips": 3.0},
        "listener/audio": {
            **{
                "category_f1": 95.0,
                "corrected_FSLA": 12.5,
                "questions": 3.0,
                "invalid": 1.0,
                "hears": 1.0,
                "sees": 0.0,
            },
            **{"tells_time": 0.0, "refused": 2, "latency_s": 2.0},
        },
    }
    write_json(paths.mllm / "metrics.json", answers)
    gap = {"difference": -50.0, "interval": [-60.0, -40.0], "clips": 3}
    unclear = {"difference": 5.0, "interval": [-1.0, 11.0], "clips": 3}
    details = {
        "intervals": {"category_f1": [90.5, 99.5]},
        "differences": {"category_f1": unclear, "frame_accuracy": gap, "count_mae": gap},
    }
    write_json(paths.mllm / "scores.json", {"reference": "seeing", "sources": {"listener/audio": details}})
    return paths


def run(paths: Paths, variants: list[str] | None = None, dataset: str = "sample") -> str:
    compare(PARAMS, dataset=dataset, variants=variants or ["seeing", "deaf"], paths=paths)
    return (paths.comparison / "report.html").read_text()


class Page(HTMLParser):
    """Collects what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name == "src":
                self.sources.append(value or "")
            if name in ("href", "xlink:href"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_network_and_no_other_file(shown):
    page = shown.page
    assert page.sources and all(source.startswith("data:") for source in page.sources)
    for link in page.links:
        assert link.startswith(
            ("#", "../evaluation/", "../mllm/report.html", "table.csv", "http://127.0.0.1:5000/#/")
        ), link
    assert "link" not in page.tags  # no style sheet from elsewhere
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_pictures_show_the_masks_and_the_sound_plays(shown):
    page = shown.page
    pictures = [s for s in page.sources if s.startswith("data:image/jpeg")]
    assert len(pictures) == 2 * 3 * 3  # clips, rows (truth and two variants), frames
    truth = [decoded(picture) for picture in pictures[:3]]  # seconds 0, 2, 4 of the first clip
    assert colourless(truth[0]) and not colourless(truth[1][:, :28]) and colourless(truth[2])
    assert colourless(truth[1][:, 40:])  # the right half holds no mask
    sounds = [s for s in page.sources if s.startswith("data:audio/mp4")]
    assert len(sounds) == 2
    with av.open(io.BytesIO(base64.b64decode(sounds[0].split(",")[1]))) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(samples) / 16000 == pytest.approx(LENGTH_S, abs=0.2)
    middle = samples[16000:48000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(8000 / 32768 / np.sqrt(2), rel=0.05)


def decoded(source: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(int)


def colourless(picture: np.ndarray) -> bool:
    return bool((picture.max(axis=2) - picture.min(axis=2)).max() < 25)


def test_time_bars_show_when_what_sounds(shown):
    html = shown.html
    assert html.count("violin, ground truth: 1\N{EN DASH}4 s, 1 object") == 2
    assert html.count("violin, seeing: 1\N{EN DASH}4 s") == 2
    assert html.count("violin, deaf: 0\N{EN DASH}5 s") == 2


def test_scores_best_marks_and_differences(shown):
    text = re.sub(r"[ \n]+", " ", shown.page.text)
    # of 5 seconds in 3 clips: `seeing` says a drum once, `deaf` is right where the violin sounds
    assert "93.3" in text and "60.0" in text
    assert "95\N{NO-BREAK SPACE}% interval 41.0 … 59.0" in text  # of HOTA
    assert "+33.3" in text  # headline: seeing over deaf
    assert "\N{MINUS SIGN}33.3" in text  # below the score of deaf
    # per clip: -20, -40, -40; with three clips, the randomisation test can see nothing
    assert re.search("p = 0\\.2\\d+", text)
    assert "[\N{MINUS SIGN}40.0 … \N{MINUS SIGN}20.0]" in text
    assert (
        len(re.findall("\\[[+\N{MINUS SIGN}]\\d+\\.\\d … [+\N{MINUS SIGN}]\\d+\\.\\d\\]", text)) == 8 + 2
    )  # of answers
    assert "1 of 3" in text and "blind, timeless, 2 refused, 2.0 s a clip" in text


def test_answers_have_intervals_differences_and_a_plot(shown):
    _, _, section = shown.html.partition('<section id="who">')
    section = section.partition("</section>")[0]
    assert "[90.5 … 99.5]" in section and 'aria-label="who, when and where, by source"' in section
    minus = "\N{MINUS SIGN}"
    assert f'<small class="down">{minus}50.0<br>' in section  # clearly worse
    assert f'<small class="up">{minus}50.00<br>' in section  # fewer errors are better
    assert '<small class="">+5.0<br>' in section  # not outside the noise
    assert "listener/audio + SAM" in section
    row = list(csv.DictReader((shown.paths.comparison / "table.csv").open()))[3]
    assert row["corrected_FSLA"] == "12.5" and "mllm_protocol_corrected_FSLA" not in row


def test_a_phone_shows_a_row_as_a_block_whose_cells_name_their_column(shown):
    titles = re.findall('<td data-title="([^"]+)"', shown.html)
    scores = ["mAP", "HOTA", "FSLA", "FSLAn", "FSLAs", "FSLAm"]
    assert titles[:18] == 2 * [*scores, "mAP, official", "HOTA, official", "FSLA, official"]
    assert titles[18] == "category F1" and titles[29] == "invalid answers"


def test_overlay_videos_are_linked_where_there_are_some(shown):
    films = [link for link in shown.page.links if link.endswith(".mp4")]
    assert films == ["../evaluation/deaf/overlays/clip2.mp4"]
    assert (shown.paths.comparison / films[0]).resolve().is_file()


def test_what_comes_from_outside_is_escaped(shown):
    html = shown.html
    assert "<b>drum</b>" not in html
    assert "&lt;b&gt;drum&lt;/b&gt;" in html


def test_the_table_names_the_protocol_in_each_column(shown):
    rows = list(csv.DictReader((shown.paths.comparison / "table.csv").open()))
    assert [row["model"] for row in rows] == ["seeing", "deaf", "baseline/silent", "listener/audio"]
    assert [row["kind"] for row in rows] == ["masks", "masks", "baseline", "language model"]
    assert rows[0]["corrected_FSLA"] == "93.33" and rows[1]["corrected_FSLA"] == "60.0"
    assert rows[1]["mllm_protocol_category_f1"] == "70.0" and rows[3]["mllm_protocol_invalid"] == "1.0"
    assert (rows[0]["parameters"], rows[0]["training_s"], rows[0]["seconds_per_frame"]) == (
        "5000000",
        "300.0",
        "0.05",
    )
    assert (rows[1]["corrected_HOTA_low"], rows[1]["corrected_HOTA_high"]) == ("41.0", "59.0")
    assert rows[0]["mlflow_run_id"] == "seeing-run" and rows[3]["mlflow_run_id"] == ""
    assert float(rows[1]["corrected_FSLA_difference"]) == pytest.approx(-100 / 3)
    for metric in ("mAP", "HOTA", "FSLA", "FSLAn"):
        for protocol in ("corrected", "official"):
            name = f"{protocol}_{metric}"
            difference = float(rows[1][name]) - float(rows[0][name])
            assert float(rows[1][f"{name}_difference"]) == pytest.approx(difference, abs=0.011)
            assert float(rows[1][f"{name}_difference_p"]) > 0.1
            assert rows[0][f"{name}_difference"] == ""
    assert not any("FSLAm_diff" in name for name in rows[0])  # no frame has two sources


def test_published_results_stand_apart_and_only_with_aviseg(shown, paths):
    assert "40.57 / 61.73 / 42.78" not in shown.html
    page = Page(run(paths, dataset="aviseg"))
    assert "40.57 / 61.73 / 42.78" in page.text and "published" in page.ids


def test_several_seeds_are_shown_by_mean_and_spread(paths):
    """The second training of `seeing` is as deaf as `deaf`: 93.3 and 60.0."""
    one = Page(run(paths)).text
    for kind in (paths.model, paths.evaluation, paths.predictions):
        shutil.copytree(kind("deaf"), kind("seeing@2"))
    text = Page(run(paths)).text
    assert "76.7± 23.6" in text and "2 seeds" in text and "bootstrap over seeds and clips" in text
    assert "\N{MINUS SIGN}16.7" in text  # of deaf, to the mean
    rows = list(csv.DictReader((paths.comparison / "table.csv").open()))
    assert (rows[0]["seeds"], rows[0]["corrected_FSLA_deviation"]) == ("2", "23.57")
    assert float(rows[0]["corrected_FSLA"]) == pytest.approx(76.67, abs=0.02) and rows[1]["seeds"] == ""
    low, high = (float(rows[1][f"corrected_FSLA_difference_{part}"]) for part in ("low", "high"))
    assert low < -33 and high > -2  # the one seed, or the other
    assert "seeds" not in one


@pytest.fixture
def started(paths):
    """`deaf` is a checkpoint that is not trained, and what `seeing` began with."""
    weights = {"file": "weights.safetensors", "sha256": "a1"}
    config = {"name": "avism", "config": {"channels": 8, "categories": 2, "backbone_pretrained": True}}
    write_json(paths.model("deaf") / "run.json", {"run_id": "deaf-run", "checkpoint": weights})
    write_json(paths.model("seeing") / "run.json", {"run_id": "seeing-run", "start_from": weights})
    write_json(paths.model("seeing") / "config.json", config)
    fewer = {"channels": 8, "categories": 1, "backbone_pretrained": False}  # it need not know all categories
    write_json(paths.model("deaf") / "config.json", {**config, "config": fewer})
    write_json(paths.model("deaf") / "metrics.json", {"parameters": 5_000_000})
    scores = {"start_FSLA": 50.0, "kept_FSLA": 62.5, "start_HOTA": 40.0, "kept_HOTA": 30.0, "kept_step": 20}
    write_json(paths.model("seeing") / "metrics.json", {"steps": 100.0, "seconds": 300.0, **scores})
    rows = [
        [0, "", 50.0, 40.0],
        *([step, 20 - step / 10, 50 + step / 8, 30.0] for step in range(10, 101, 10)),
    ]
    write_csv(paths.model("seeing") / "history.csv", "step,loss,val_FSLA,val_HOTA", rows)
    return paths


def test_a_training_is_compared_with_its_start_first_of_all(started, monkeypatch):
    told = {}

    class Told(Run):
        experiment_id = None

        def metrics(self, values, step=None):
            told.setdefault(self.run_id, {}).update(values)

        def artifact(self, path, folder=""):
            if folder == "training":
                told[self.run_id, path.name] = path.read_text()

    @contextmanager
    def told_run(file, *, paths):
        yield Told(json.loads(file.read_text())["run_id"])

    monkeypatch.setattr("components.compare.stage.continue_run", told_run)
    page = Page(run(started))
    text = " ".join(page.text.split())
    assert page.ids.index("start") < page.ids.index("scores")
    row = r"deaf → seeing 50\.062\.5step 20\+12\.5\+33\.3\[\+20\.0 … \+40\.0\]p = 0\.2"
    assert re.search(row, text)
    assert "FSLA not outside the noise" in text  # of three clips
    assert len([title for title in page.ids if title.startswith("seeing-FSLA-and-HOTA")]) > 0
    rows = list(csv.DictReader((started.comparison / "table.csv").open()))
    assert (rows[0]["start"], rows[0]["validation_FSLA_start"]) == ("deaf", "50.0")
    assert (rows[0]["validation_FSLA_kept"], rows[1]["start"]) == ("62.5", "")
    assert float(rows[0]["start_FSLA_gain"]) == pytest.approx(100 / 3)
    assert told["seeing-run"]["start/FSLA_gain"] == pytest.approx(100 / 3)
    assert set(told["seeing-run"]) > {"start/FSLA_gain_low", "start/FSLA_gain_p", "start/HOTA_gain"}
    assert told["deaf-run"] == {}
    assert "seeing, FSLA and HOTA on validation clips" in told["seeing-run", "curves.html"]


def knows(paths, *names):
    """The start's card, which names the categories that it knows."""
    file = paths.model("deaf") / "config.json"
    write_json(file, json.loads(file.read_text()) | {"categories": dict(enumerate(names))})


def test_the_first_screen_names_the_new_categories_with_scores_before_and_after(started):
    knows(started, "<b>drum</b>")
    for variant, scores in (("deaf", [0.0, 0.0, 1.0]), ("seeing", [31.5, 42.5, 60.0])):
        rows = [["corrected", "violin", *scores], ["corrected", "<b>drum</b>", "", "", ""]]
        write_csv(started.evaluation(variant) / "per_category.csv", "protocol,category,AP,HOTA,FSLA", rows)
    page = Page(run(started))
    text = " ".join(page.text.split())
    assert "1 new category deaf has no name for it" in text
    assert re.search(r"categoryobjectsbeforeafterbeforeafter ?violin30\.031\.50\.042\.5", text)
    assert "known before" not in text  # the drum never sounds
    assert re.search(r"FSLA60\.093\.3\+33\.3 \[\+20\.0 … \+40\.0\]", text)
    assert page.text.index("before and after") < page.text.index("Every training against its own start")


def test_of_several_seeds_the_new_categories_have_the_mean(started):
    """The second one finds what `deaf` finds: all five seconds where three are true, an overlap of 0.6."""
    knows(started, "<b>drum</b>")
    model = shutil.copytree(started.model("seeing"), started.root / "second")  # not into itself
    started.model("seeing@2").parent.mkdir()
    model.rename(started.model("seeing@2"))
    for kind in (started.evaluation, started.predictions):
        shutil.copytree(kind("deaf"), kind("seeing@2"))
    text = " ".join(Page(run(started)).text.split())
    found = re.search(r"beforeafterbeforeafter ?violin340\.0(\d+\.\d)50\.0", text)
    assert found and float(found[1]) == pytest.approx((100 + 30) / 2, abs=0.1)


def test_the_first_clip_is_that_with_the_median_gain_among_those_with_a_new_category(started):
    """The clips gain 20, 40 and 40 points of FSLA."""
    pictures = [s for s in Page(run(started)).sources if s.startswith("data:image/jpeg")]
    assert len(pictures) == 3 * 4 + 2 * 3 * 3  # four of the five seconds, for truth, start and trained model
    text = " ".join(Page(run(started)).text.split())
    rule = "in which something sounds, the one with the median gain: FSLA 60.0 before, 100.0 after (+40.0)"
    assert f"before and after: clip1 Of the 3 test clips {rule}" in text
    assert "known before" not in text and "new categor" not in text  # the start's card does not say
    annotations = read_annotations(started.annotations / "test.json")
    tracks = [replace(track, category_id=1 + (track.video_id > 1)) for track in annotations.tracks]
    write_annotations(started.annotations / "test.json", replace(annotations, tracks=tracks))
    knows(started, "<b>drum</b>")
    page = Page(run(started))
    text = " ".join(page.text.split())
    rule = (
        "in which a new category sounds, the one with the median gain: FSLA 60.0 before, 80.0 after (+20.0)"
    )
    assert f"before and after: clip0 Of the 1 test clip {rule}" in text
    assert "the 1 known before2" in text
    pictures = [s for s in page.sources if s.startswith("data:image/jpeg")]
    assert len(pictures) == 3 * 3 + 2 * 3 * 3  # the three seconds in which the violin sounds


@pytest.mark.parametrize(
    "other",
    [
        {"checkpoint": {"file": "weights.safetensors", "sha256": "b2"}},  # the file has changed
        {"start_from": {"file": "weights.safetensors", "sha256": "a1"}},  # trained itself
        {},
    ],
)
def test_what_is_no_start_is_not_taken_for_one(started, other):
    write_json(started.model("deaf") / "run.json", {"run_id": "deaf-run", **other})
    text = " ".join(Page(run(started)).text.split())
    assert "No variant is the start of another" in text and "50.062.5step 20+12.5" in text


def test_a_start_of_another_network_is_none(started):
    card = json.loads((started.model("deaf") / "config.json").read_text())
    write_json(started.model("deaf") / "config.json", {**card, "config": {**card["config"], "channels": 16}})
    assert "No variant is the start of another" in run(started)


def test_one_variant_alone_has_no_differences(paths):
    write_json(paths.mllm / "metrics.json", {"seeing": {"category_f1": 90.0}, "baseline/silent": {}})
    html = run(paths, variants=["seeing"])
    assert "FSLA, seeing against" not in html and "reference</small>" not in html
    assert "mllm.models" in html  # how to add a language model


def test_scores_on_disturbed_clips_are_said_to_be(paths):
    write_json(paths.mllm / "metrics.json", {"seeing": {"category_f1": 90.0, "clips": 3.0}})
    assert "were disturbed" not in run(paths, variants=["seeing"])
    timing = {"seconds_per_frame": 0.05, "disturbed": "noise pink, snr_db 5.0"}
    write_json(paths.predictions("seeing") / "timing.json", timing)
    html = run(paths, variants=["seeing"])
    assert "<b>The test clips were disturbed</b>" in html and "noise pink, snr_db 5.0" in html


def test_the_same_results_give_the_same_page(shown):
    assert run(shown.paths) == shown.html


@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        ("evaluation/deaf/metrics.json", "evaluate@deaf"),
        ("evaluation/deaf/per_clip.csv", "evaluate@deaf"),
        ("evaluation/deaf/intervals.json", "evaluate@deaf"),
        ("evaluation/deaf/counts.safetensors", "evaluate@deaf"),
        ("model/deaf/history.csv", "train@deaf"),
        ("predictions/deaf/timing.json", "predict@deaf"),
        ("mllm/metrics.json", "mllm"),
        ("mllm/scores.json", "mllm"),
        ("media/audio/clip2.wav", "extract"),
        ("media/frames/clip2/00002.jpg", "extract"),
    ],
)
def test_a_missing_result_says_which_stage_makes_it(paths, missing, stage):
    (paths.root / missing).unlink()
    with pytest.raises(AvisError, match=f"{missing.split('/')[-1]}.*dvc repro {stage}"):
        run(paths)
    assert not paths.comparison.exists()


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("evaluation/deaf/metrics.json", '{"corrected": {}}', "'official' is missing"),
        ("evaluation/deaf/metrics.json", "[", "not valid JSON"),
        ("evaluation/deaf/intervals.json", '{"corrected": {"HOTA": [1]}}', "no pairs"),
        ("evaluation/deaf/per_clip.csv", "video,FSLA\nclip0,3\n", "row 2"),
        ("evaluation/deaf/per_clip.csv", b"\xff\xfe", r"not valid CSV.*per_clip.*evaluate@deaf"),
        ("evaluation/deaf/counts.safetensors", b"\x00" * 20, r"not the counts.*evaluate@deaf"),
        ("mllm/metrics.json", "{", "not valid JSON"),
        ("mllm/scores.json", "{}", "names no sources"),
    ],
)
def test_a_malformed_result_is_named(paths, file, content, says):
    (paths.root / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AvisError, match=says) as error:
        run(paths)
    assert file.split("/")[-1] in str(error.value)


def test_variants_of_different_clips_are_not_compared(paths):
    file = paths.evaluation("deaf") / "counts.safetensors"
    kept = read_counts(file, stage="evaluate@deaf")
    write_counts(file, kept.counts, videos=["other", *kept.videos[1:]], categories=kept.categories)
    with pytest.raises(AvisError, match=r"deaf and seeing were scored on different test clips"):
        run(paths)


def test_no_variant_is_an_error(paths):
    with pytest.raises(AvisError, match="no variant"):
        compare(PARAMS, dataset="sample", variants=[], paths=paths)


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there_and_is_named(
    paths: Paths, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    (paths.comparison / "report.html").parent.mkdir()
    (paths.comparison / "report.html").write_text("of an earlier run")
    whole = files_below(shown.paths.comparison)
    places = 0
    for error in full_at_each_place(lambda: run(paths), monkeypatch):
        places += 1
        assert (said_to_user(error) or "").startswith("No space left on device (/")
        for name, content in files_below(paths.comparison).items():
            assert content in (whole[name], b"of an earlier run")
    assert places >= 2
    assert files_below(paths.comparison) == whole
