"""Results as other programs write them: taken where one reading is possible, and said; else refused."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.core.metrics.score import Scores, score_files
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.records.checked_results import index_results
from components.core.run.errors import AvisError

MASK = masks.encode(np.eye(6, 8, dtype=bool))
LENGTHS = {1: 2, 2: 3, 3: 4}  # frames by video id
NAMES = {1: "clip", 2: "dog", 3: "3"}


def annotations(lengths: dict[int, int]) -> AnnotationSet:
    videos = [
        Video(key, NAMES[key], [f"{NAMES[key]}/{frame}.jpg" for frame in range(count)], count, 6, 8)
        for key, count in lengths.items()
    ]
    tracks = [Track(key, key, 1 + key % 2, [MASK] * count) for key, count in lengths.items()]
    return AnnotationSet({1: "violin", 2: "Bär"}, videos, tracks)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    write_annotations(tmp_path / "test.json", annotations(LENGTHS))
    return tmp_path / "test.json"


def perfect(lengths: dict[int, int] = LENGTHS, **changes: Any) -> list[dict[str, Any]]:
    """Rows that are right; `changes` are values, or functions of the value."""
    rows = []
    for key, count in lengths.items():
        score = round(0.9 - key / 100, 2)
        row: dict[str, Any] = {"video_id": key, "category_id": 1 + key % 2, "score": score}
        row["segmentations"] = [MASK] * count
        for name, change in changes.items():
            row[name] = change(row[name]) if callable(change) else change
        rows.append(row)
    return rows


def scored(truth: Path, document: Any, **options: bool) -> Scores:
    path = truth.with_name("results.json")
    path.write_text(document if isinstance(document, str) else json.dumps(document, ensure_ascii=False))
    return score_files(truth, path, **options)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (perfect(video_id=lambda key: key - 1), "all ids are one lower than in the ground truth, and"),
        (perfect(video_id=lambda key: key + 1), "all ids are one higher than in the ground truth, and only"),
        (
            perfect(video_id=NAMES.get),
            "3 tracks renamed: its video is named instead of numbered ('clip', ",
        ),
        (
            perfect(video_id=lambda key: f"{NAMES[key]}.mp4"),
            "with the ending of a file ('clip.mp4'",
        ),
        (perfect(video_id=float), "3 tracks guessed: its video id is written with a decimal point"),
        (perfect(category_id=lambda key: ["violin", "Bär"][key - 1]), "3 tracks renamed: its category is"),
        (perfect(score=lambda score: 100 * score), "3 scores guessed: the scores go from 87 to 89, so"),
        (perfect(score=1.0000001), "3 scores clipped: it lies less than 0.0001 outside 0 to 1 (1.0000001)"),
        ({"info": {"a": [1]}, "results": perfect(), "more": []}, "under 'results' in an object"),
        ({"annotations": perfect()}, "1 file guessed: the tracks are the list under 'annotations'"),
    ],
)
def test_one_reading_is_taken_and_said(truth: Path, document: Any, said: str) -> None:
    scores = scored(truth, document)
    assert scores.protocols["corrected"].values["mAP"] == scores.protocols["corrected"].values["FSLA"] == 100
    assert [said in sentence for sentence in scores.changes.sentences()] == [True]


def test_what_is_as_it_should_be_changes_nothing(truth: Path) -> None:
    assert not scored(truth, perfect()).changes
    assert not scored(truth, perfect(score=1)).changes


def test_percent_and_rounding_give_the_scores_that_are_meant(truth: Path) -> None:
    path = truth.with_name("results.json")
    for given, meant in ((100.00001, 1), (89.5, 0.895), (-1e-6, 0)):
        rows = perfect(score=50)
        rows[0]["score"] = given
        path.write_text(json.dumps(rows))
        index = index_results(path, annotations(LENGTHS))
        (text,) = (json.loads(row) for _, row in index.of(annotations(LENGTHS).videos[0]))
        assert index.reading.official(text)["score"] == pytest.approx(meant, abs=1e-12)


SAME = dict.fromkeys(LENGTHS, 2)


@pytest.mark.parametrize(
    ("lengths", "document", "said"),
    [
        # the frames do not tell, so a hint is all
        (
            SAME,
            perfect(SAME, video_id=lambda key: key - 1),
            r"video 0 .*all ids are one lower .*0 to 2",
        ),
        (
            SAME,
            perfect(SAME, video_id=lambda key: key + 1),
            r"video 4 .*higher .*2 to 4, there 1 to 3",
        ),
        (LENGTHS, perfect(category_id=lambda key: key - 1), "Perhaps all category ids are one lower"),
        (
            LENGTHS,
            perfect(score=7.5),
            r"7\.5 is no number.*from 7\.5 to 7\.5: .*not logits",
        ),
        (LENGTHS, perfect(score=lambda score: 1000 * score), "no number from 0 to 1.*not logits"),
        (LENGTHS, perfect(score=-0.5), "no number from 0 to 1"),
        (
            LENGTHS,
            [*perfect(), *perfect()[:1], {**perfect()[0], "video_id": "clip"}],
            "video 'clip' is not",
        ),
        (LENGTHS, [*perfect(video_id="clip")[:1], *perfect(video_id="cow")[:1]], "'cow'.*such as 'clip'"),
        (LENGTHS, perfect(video_id=lambda key: key - 2), "video -1 is not in the ground truth"),
        (LENGTHS, {"results": [], "annotations": perfect()}, "lists under 'results' and 'annotations'"),
        (LENGTHS, [{"image_id": 1, "category_id": 1, "score": 1}], "of one image, as COCO's results are"),
        (LENGTHS, '{"video_id": 1}\n{"video_id": 2}\n', "are JSON lines.*jq -s"),
        (LENGTHS, {"clip": perfect()}, "an object with one under results, annotations"),
        (LENGTHS, {"results": 3}, "must be a JSON list"),
        (LENGTHS, '{"results": [], 3: 4}', "not valid JSON: a name and its value are missing"),
        (LENGTHS, '{"results": []', "not valid JSON: the end of the object is missing"),
        (LENGTHS, '{"results": []} []', "the file goes on"),
    ],
)
def test_more_than_one_reading_is_refused(
    tmp_path: Path, lengths: dict[int, int], document: Any, said: str
) -> None:
    write_annotations(tmp_path / "test.json", annotations(lengths))
    with pytest.raises(AvisError, match=said):
        scored(tmp_path / "test.json", document)


def test_counts_as_python_prints_bytes_and_gzip_are_refused_with_what_to_do(
    truth: Path, tmp_path: Path
) -> None:
    rows = perfect()
    mask = {"size": [6, 8], "counts": "b'0'"}
    rows[0]["segmentations"] = [mask] * len(rows[0]["segmentations"])
    with pytest.raises(AvisError, match=r"counts\.decode"):
        scored(truth, rows)
    (tmp_path / "r.json").write_bytes(gzip.compress(b"[]"))
    with pytest.raises(AvisError, match=r"packed with gzip.*gunzip"):
        score_files(truth, tmp_path / "r.json")


def test_a_text_that_is_the_id_of_one_and_the_name_of_another(tmp_path: Path) -> None:
    found = annotations(LENGTHS)
    write_annotations(tmp_path / "test.json", found)
    scores = scored(tmp_path / "test.json", perfect(video_id=str))
    assert "its video id is written as a text" in scores.changes.sentences()[0]
    found.videos[0].name = "3"
    found.videos[0].file_names = ["3/0.jpg", "3/1.jpg"]
    found.videos[2].name = "c"
    found.videos[2].file_names = [f"c/{frame}.jpg" for frame in range(4)]
    write_annotations(tmp_path / "test.json", found)
    with pytest.raises(AvisError, match="the id of a video and the name of another"):
        scored(tmp_path / "test.json", perfect(video_id=str))


def test_lenient_reading_takes_names_and_leaves_the_unknown_out(truth: Path) -> None:
    rows = perfect(video_id=NAMES.get)
    scores = scored(truth, [*rows, {**rows[0], "video_id": "other"}], lenient=True)
    assert len(scores.left_out) == 1 and "'other'" in scores.left_out[0]
    assert scores.protocols["corrected"].values["mAP"] == 100


def test_a_zip_with_one_file(truth: Path, tmp_path: Path) -> None:
    archive = tmp_path / "submission.zip"

    def pack(**files: Any) -> None:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, json.dumps(content))

    pack(**{"results.json": perfect(), "__MACOSX/._results.json": "x", "readme.txt": "mine"})
    scores = score_files(truth, archive)
    assert scores.protocols["corrected"].values["mAP"] == 100
    assert scores.changes.sentences() == [
        "1 file guessed: it is the only JSON file of the archive (results.json)"
    ]
    bad = perfect()
    bad[1]["score"] = None
    pack(**{"results.json": bad})
    with pytest.raises(AvisError, match=r"submission\.zip/results\.json, row 1, video 'dog', field score"):
        score_files(truth, archive)
    pack(**{"a.json": [], "b.json": []})
    with pytest.raises(AvisError, match=r"holds 2 JSON files \(a\.json, b\.json\)"):
        score_files(truth, archive)
    pack(**{"readme.txt": "mine"})
    with pytest.raises(AvisError, match="holds no JSON file"):
        score_files(truth, archive)
    pack(**{"../results.json": perfect()})
    with pytest.raises(AvisError, match="leads out of it"):
        score_files(truth, archive)
    archive.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(AvisError, match="archive cannot be read"):
        score_files(truth, archive)


def test_an_unpacked_archive_goes_with_its_index(truth: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("results.json", json.dumps(perfect()))
    index = index_results(tmp_path / "a.zip", annotations(LENGTHS))
    file = index.of(annotations(LENGTHS).videos[0])._path  # type: ignore[attr-defined]
    assert file.is_file()
    del index
    assert not file.exists()


def test_no_tracks_is_a_score_of_nothing_and_said(truth: Path, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    index = index_results(tmp_path / "none.json", annotations(LENGTHS))
    assert index.report() == [f"{tmp_path / 'none.json'} holds no tracks: all objects count as missed"]
    assert scored(truth, []).protocols["corrected"].values["mAP"] == 0
