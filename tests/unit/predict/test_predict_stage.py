"""The predict stage: test clips in, official results out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.records import work_file
from components.core.records.annotations import AnnotationSet, read_annotations, write_annotations
from components.core.records.masks import decode
from components.core.records.results import read_results
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.predict.stage import predict
from models.inference import offline, video_module_stream
from tests.support.tiny_model import CATEGORIES, write_finder, write_square_set
from tests.support.work_files import record_work_folders


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "data")
    write_square_set(paths, "test")
    write_finder(paths.model("tiny"))
    return paths


@pytest.fixture
def annotations(paths: Paths) -> AnnotationSet:
    return read_annotations(paths.annotations / "test.json")


def test_results_are_of_the_official_form(paths: Paths, annotations: AnnotationSet) -> None:
    predict("tiny", PredictParams(score_threshold=0.0, most_tracks=3), paths)
    results = read_results(paths.predictions("tiny") / "results.json")
    videos = {video.id: video for video in annotations.videos}
    assert sorted(result.video_id for result in results) == [video for video in videos for _ in range(3)]
    for result in results:
        video = videos[result.video_id]
        assert result.category_id in CATEGORIES
        assert 0 <= result.score <= 1
        assert len(result.segmentations) == video.length
        for mask in result.segmentations:
            assert decode(mask, video.height, video.width).all()  # at the source's size
    timing = json.loads((paths.predictions("tiny") / "timing.json").read_text())
    assert timing["clips"] == 3 and timing["frames"] == 11 and timing["tracks"] == len(results)
    assert timing["seconds_per_frame"] > 0 and timing["device"] in ("cpu", "cuda")

    before = (paths.predictions("tiny") / "results.json").read_bytes()
    predict("tiny", PredictParams(score_threshold=0.0, most_tracks=3), paths)
    assert (paths.predictions("tiny") / "results.json").read_bytes() == before


def test_each_seed_predicts_and_what_is_no_longer_trained_is_gone(paths: Paths) -> None:
    settings = PredictParams(score_threshold=0.0, most_tracks=1)
    write_finder(paths.model("tiny@2"))
    predict("tiny", settings, paths)
    folder = paths.predictions("tiny")
    assert sorted(file.name for file in (folder / "seeds" / "2").iterdir()) == ["results.json", "timing.json"]
    assert (folder / "seeds" / "2" / "results.json").read_bytes() == (folder / "results.json").read_bytes()
    shutil.rmtree(paths.model("tiny@2"))
    predict("tiny", settings, paths)
    assert [file.name for file in (folder / "seeds").iterdir()] == ["further.json"]  # else DVC warns


def test_categories_are_the_models_by_id(paths: Paths) -> None:
    """Row 0 of the class head is the smallest id, whatever the order in which the names were given."""
    predictor = Predictor.load(paths.model("tiny"), PredictParams(score_threshold=0.0, most_tracks=1))
    moments = [(np.zeros((32, 48, 3), np.uint8), np.zeros(16_000, np.float32))] * 2
    for label, category in ((0, 3), (1, 7)):
        head = predictor.model.video_module.class_head
        head.weight.data.zero_()
        head.bias.data.zero_()
        head.bias.data[label] = 5
        results = predictor.predict(1, lambda: moments, height=64, width=96)
        assert all(decode(mask, 64, 96).all() for mask in results[0].segmentations)
        assert [result.category_id for result in results] == [category]


def test_work_files_lie_beside_the_outputs(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = (work_file, "_BLOCK_BYTES"), (video_module_stream, "MEMORY_BYTES")
    folders = record_work_folders(monkeypatch, *in_memory)
    predict("tiny", PredictParams(), paths)
    assert len(folders) == 1 + 3 and set(folders) == {paths.root}  # the annotations, and each clip


def test_disturbed_clips_are_said_and_change_only_what_is_found(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments: list[tuple[np.ndarray, np.ndarray]] = []

    def spy(model: object, clip: object, **how: object) -> object:
        moments.extend(clip())
        return offline.find_sounding(model, clip, **how)

    monkeypatch.setattr("components.core.inference.predictor.find_sounding", spy)
    before = {file: file.read_bytes() for file in paths.media.rglob("*") if file.is_file()}
    predict("tiny", PredictParams(), paths)
    assert "disturbed" not in capsys.readouterr().out
    assert "disturbed" not in json.loads((paths.predictions("tiny") / "timing.json").read_text())
    predict("tiny", PredictParams(disturb={"shift_s": 60, "light": 0.01}), paths)
    timing = json.loads((paths.predictions("tiny") / "timing.json").read_text())
    assert timing["disturbed"] == "shift_s 60.0, light 0.01"
    said = "predict tiny: the clips are disturbed (predict.disturb): shift_s 60.0, light 0.01"
    assert said in capsys.readouterr().out
    clean, changed = moments[:11], moments[11:]
    assert len(changed) == 11
    assert not any(sound.any() for _, sound in changed) and any(sound.any() for _, sound in clean)
    assert all(dark.mean() < 0.2 * frame.mean() for (dark, _), (frame, _) in zip(changed, clean, strict=True))
    assert {file: file.read_bytes() for file in paths.media.rglob("*") if file.is_file()} == before


def test_a_high_threshold_leaves_nothing(paths: Paths) -> None:
    predict("tiny", PredictParams(score_threshold=1.0), paths)
    assert json.loads((paths.predictions("tiny") / "results.json").read_text()) == []


def test_features_come_from_media(paths: Paths, annotations: AnnotationSet) -> None:
    write_finder(paths.model("given"), audio="features")
    with pytest.raises(AvisError, match="no precomputed audio features"):
        predict("given", PredictParams(), paths)
    assert not (paths.predictions("given") / "results.json").exists()
    (paths.media / "features").mkdir()
    for video in annotations.videos:
        np.save(paths.media / "features" / f"{video.name}.npy", np.ones((video.length, 128), np.float32))
    predict("given", PredictParams(), paths)
    assert (paths.predictions("given") / "results.json").exists()


@pytest.mark.parametrize("length", [1, 9])
def test_features_of_another_length_name_their_file(
    paths: Paths, annotations: AnnotationSet, length: int
) -> None:
    write_finder(paths.model("given"), audio="features")
    (paths.media / "features").mkdir()
    for video in annotations.videos:
        # one row more or less is as published
        np.save(paths.media / "features" / f"{video.name}.npy", np.ones((video.length - 1, 128), np.float32))
    predict("given", PredictParams(), paths)
    video = annotations.videos[0]
    file = paths.media / "features" / f"{video.name}.npy"
    np.save(file, np.ones((length, 128), np.float32))
    match = rf"features of {length} seconds for {video.length} frames \({file}\)"
    with pytest.raises(AvisError, match=match):
        predict("given", PredictParams(), paths)
    values = np.ones((video.length, 128), np.float32)
    values[1, 5] = np.nan
    np.save(file, values)
    with pytest.raises(AvisError, match=rf"no finite numbers \({file}\)"):
        predict("given", PredictParams(), paths)


def test_clips_of_one_and_two_frames_and_of_none(paths: Paths, annotations: AnnotationSet) -> None:
    annotations.tracks.clear()
    for count, video in zip((1, 2, 3), annotations.videos, strict=True):
        video.length, video.file_names = count, video.file_names[:count]
    write_annotations(paths.annotations / "test.json", annotations)
    settings = PredictParams(score_threshold=0.0, most_tracks=1)
    predict("tiny", settings, paths)
    results = read_results(paths.predictions("tiny") / "results.json")
    assert [len(result.segmentations) for result in results] == [1, 2, 3]
    predictor = Predictor.load(paths.model("tiny"), settings)
    assert predictor.predict(1, lambda: [], height=64, width=96) == []


def test_a_long_clip_is_read_twice_and_gives_the_same(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PredictParams(score_threshold=0.0, most_tracks=2)
    write_finder(paths.model("hears"), presence_head=True)
    for name in ("tiny", "hears"):
        predict(name, settings, paths)
    kept = [(paths.predictions(name) / "results.json").read_bytes() for name in ("tiny", "hears")]
    monkeypatch.setattr(offline, "KEPT_FRAMES", 0)
    monkeypatch.setattr(offline, "KEPT_BYTES", 0)
    for name in ("tiny", "hears"):
        predict(name, settings, paths)
    assert kept == [(paths.predictions(name) / "results.json").read_bytes() for name in ("tiny", "hears")]


def test_precision_by_name(paths: Paths) -> None:
    scores = {}
    for precision in ("fp32", "bf16", "auto"):
        predict("tiny", PredictParams(score_threshold=0.0, precision=precision), paths)  # type: ignore[arg-type]
        scores[precision] = [x.score for x in read_results(paths.predictions("tiny") / "results.json")]
    assert scores["bf16"] != scores["fp32"]
    assert scores["bf16"] == pytest.approx(scores["fp32"], abs=0.03)
    assert scores["auto"] in (scores["fp32"], scores["bf16"])


def test_what_is_missing_is_named(paths: Paths, annotations: AnnotationSet) -> None:
    with pytest.raises(AvisError, match=r"there is no trained model \(.*model/other\)"):
        predict("other", PredictParams(), paths)
    (paths.model("tiny") / "model.safetensors").write_bytes(b"")
    with pytest.raises(AvisError, match="the model cannot be loaded"):
        predict("tiny", PredictParams(), paths)
    write_finder(paths.model("again"))
    annotations.categories[11] = "drum"
    write_annotations(paths.annotations / "test.json", annotations)
    with pytest.raises(AvisError, match="other categories than the model"):
        predict("again", PredictParams(), paths)
    (paths.annotations / "test.json").unlink()
    with pytest.raises(AvisError, match="there are no annotations"):
        predict("again", PredictParams(), paths)
