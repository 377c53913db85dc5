import json
from pathlib import Path

import numpy as np
import pytest

from components.core.clips.index import MediaEntry, write_media_index
from components.core.raw.index import RawEntry, Status, write_raw_index
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.paths import Paths
from components.tools.cards import write_data_card, write_model_card

PARAMS = "dataset: sample\ntrain: {}\nvariants:\n  avism:\n  other:\n"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Three clips through all stages: two to train, one to test, and a fourth that did not download."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    paths = Paths()
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    code = masks.encode(mask)
    splits = {"a": "train", "b": "train", "c": "test"}
    raw, media = [], []
    for name, split in splits.items():
        licence = None if name == "c" else "CC0 | <b>"
        raw.append(
            RawEntry(name, Status.OK, "", 1, f"{name}.mp4", None, None, "", license=licence, split=split)
        )
        media.append(MediaEntry(name, "ok", "", 3, 6, 4, 48000, 1.0, licence, "", "", 3.0, split))
    raw.append(RawEntry("d", Status.PRIVATE, "private", 1, "d", None, None, ""))
    paths.raw.mkdir(parents=True)
    paths.media.mkdir()
    write_raw_index(paths.raw / "index.parquet", raw)
    write_media_index(paths.media / "index.parquet", media)
    for part in ("train", "val", "test"):
        videos = [
            Video(number, name, [f"{name}/{frame:05d}.jpg" for frame in range(3)], 3, 4, 6)
            for number, (name, split) in enumerate(splits.items(), start=1)
            if split == part
        ]
        tracks = [Track(video.id, video.id, 1, [code, None, code]) for video in videos]
        if part == "train":
            tracks.append(Track(9, 1, 2, [code, None, None]))
        write_annotations(
            paths.annotations / f"{part}.json", AnnotationSet({1: "violin", 2: "dog"}, videos, tracks, {})
        )
    write_json(paths.qa / "metrics.json", {"findings_blocking": 0, "clips": 3})
    return paths


def test_the_data_card_counts_what_is_there(house: Paths) -> None:
    write_data_card(Path("DATA.md"))
    card = Path("DATA.md").read_text()
    assert "| train | 2 | 0.1 | 6 | 3 | 5 | 2 | 3 | 1 |" in card
    assert "| val | 0 | 0.0 | 0 | 0 | 0 | 0 | 0 | 0 |" in card
    assert "| violin | 2 | 0 | 1 |" in card
    assert "Of 4 entries in the manifest: 3 ok, 1 private." in card
    assert "| CC0 \\| &lt;b> | 2 |" in card  # a licence text is no markup
    assert "1 of 3 videos state no licence" in card
    assert "Trained but not tested: dog." in card
    assert "| blocking | 0 |" in card


def test_the_model_card_names_the_protocol_of_every_score(house: Paths) -> None:
    folder = house.model("avism")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    (folder / "run.json").write_text(json.dumps({"run_id": "0" * 32}))
    write_json(folder / "config.json", {"audio": "vggish"})
    write_json(folder / "metrics.json", {"steps": 30, "training_s": 12.345})
    write_model_card("avism", Path("MODEL.md"))
    assert "Not evaluated yet (`dvc repro evaluate@avism`)" in Path("MODEL.md").read_text()
    scores = {"corrected": {"mAP": 31.25, "HOTA": 40.0}, "official": {"mAP": 12.5}}
    write_json(house.evaluation("avism") / "metrics.json", scores)
    write_model_card("avism", Path("MODEL.md"))
    card = Path("MODEL.md").read_text()
    assert "| percent | corrected protocol | official protocol |" in card
    assert "| mAP | 31.25 | 12.50 |" in card
    assert "| HOTA | 40 | - |" in card
    assert "It knows 2 categories and no other: dog, violin." in card
    assert "| training_s | 12.35 |" in card or "| training_s | 12.34 |" in card
    assert "| `audio` | `vggish` |" in card


def test_what_is_not_there_is_one_message(house: Paths) -> None:
    with pytest.raises(AvisError, match=r"'big' does not exist.*Allowed: avism, other"):
        write_model_card("big", Path("x.md"))
    with pytest.raises(AvisError, match=r"no trained model.*dvc repro train@other"):
        write_model_card("other", Path("x.md"))
    (house.raw / "index.parquet").unlink()
    with pytest.raises(AvisError, match=r"no index of raw videos"):
        write_data_card(Path("x.md"))
    assert not Path("x.md").exists()
