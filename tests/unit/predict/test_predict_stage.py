"""The predict stage: test clips in, official results out."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.core.errors import AvisError
from components.core.masks import decode
from components.core.paths import Paths
from components.core.records import AnnotationSet, read_annotations, read_results, write_annotations
from components.predict.clips import Predictor
from components.predict.params import PredictParams
from components.predict.stage import predict
from tests.tiny_model import CATEGORIES, write_finder, write_square_set


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


def test_categories_are_the_models_by_id(paths: Paths) -> None:
    """Row 0 of the class head is the smallest id, whatever the order in which the names were given."""
    predictor = Predictor.load(paths.model("tiny"), PredictParams(score_threshold=0.0, most_tracks=1))
    frames = [np.zeros((32, 48, 3), np.uint8)] * 2
    for label, category in ((0, 3), (1, 7)):
        head = predictor.model.video_module.class_head
        head.weight.data.zero_()
        head.bias.data.zero_()
        head.bias.data[label] = 5
        results = predictor.predict(
            1, frames, np.zeros((2, 16_000), np.float32), length=2, height=64, width=96
        )
        assert all(decode(mask, 64, 96).all() for mask in results[0].segmentations)
        assert [result.category_id for result in results] == [category]


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
