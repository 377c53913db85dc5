"""Fixtures of the mllm tests."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.records.results import Result, write_results
from tests.support.chat_server import CATEGORIES, LENGTH_S, endpoint, exam, make_media, server

__all__ = ["endpoint", "exam", "server"]
HEIGHT, WIDTH = 48, 80


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")


def half(index: int) -> dict:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:, : WIDTH // 2] = True
    return masks.encode(mask if index % 2 == 0 else ~mask)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with test clips as `chat_server.true_sounding` has them, and predictions of two variants."""
    clips = make_media(tmp_path / "data" / "media", 4)
    videos = [
        Video(
            k + 1, clip.name, [f"{clip.name}/{s:05d}.jpg" for s in range(LENGTH_S)], LENGTH_S, HEIGHT, WIDTH
        )
        for k, clip in enumerate(clips)
    ]
    tracks = [Track(k + 1, k + 1, k % 2 + 1, [half(k), half(k), None]) for k in range(4)]
    write_annotations(
        tmp_path / "data" / "annotations" / "test.json",
        AnnotationSet({k + 1: name for k, name in enumerate(CATEGORIES)}, videos, tracks),
    )
    exact = [Result(t.video_id, t.category_id, 0.9, t.segmentations) for t in tracks]
    half_right = [Result(t.video_id, t.category_id, 0.9, t.segmentations) for t in tracks[:2]]
    for variant, results in (("good", exact), ("poor", half_right)):
        write_results(tmp_path / "data" / "predictions" / variant / "results.json", results)
        run_file = tmp_path / "data" / "model" / variant / "run.json"
        run_file.parent.mkdir(parents=True)
        run_file.write_text(json.dumps({"run_id": "0" * 32}))
    return tmp_path
