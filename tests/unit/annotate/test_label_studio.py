import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.annotate.exports import read_sources
from components.annotate.formats.label_studio.brush import decode_brush, encode_brush
from components.annotate.formats.label_studio.writer import tasks, write_tasks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.tools.convert import convert

# What label-studio-sdk 2.1.2 writes as JSON-MIN of a task with a brush and its number.
JSON_MIN = [
    {
        "image": "/data/upload/3/1a2b3c4d-1.jpg", "video_id": "clip", "id": 70, "brush": [{"format": "rle"}],
        "track": [{"number": 3, "original_width": 6, "original_height": 4}], "annotator": "ann@example.org",
        "annotation_id": 9, "created_at": "2026-01-01", "updated_at": "2026-01-02", "lead_time": 3.0,
    }
]  # fmt: skip
# What label-studio-sdk 2.1.2 makes of MASK, and of a picture that is not only black and white.
OF_SDK = [0, 0, 0, 96, 57, 27, 254, 27, 0, 183, 255, 124, 2, 63, 252, 62, 1, 31, 248]
RAW_OF_SDK = [0, 0, 0, 24, 57, 27, 252, 96, 0, 5, 0, 40, 0, 240, 12, 145, 128, 68, 18, 1, 68, 96, 0, 0, 128]
RAW_OF_SDK += [4, 0, 24, 7, 128]
MASK = np.zeros((4, 6), dtype=bool)
MASK[1, 1:4] = MASK[2, 2] = MASK[3, 5] = True


def region(kind: str, value: dict[str, Any], name: str = "") -> dict[str, Any]:
    return {"id": "r1", "from_name": name or kind, "to_name": "image", "type": kind, "original_width": 6,
            "original_height": 4, "image_rotation": 0, "value": value}  # fmt: skip


def brush() -> dict[str, Any]:
    return region("brushlabels", {"format": "rle", "rle": OF_SDK, "brushlabels": ["犬"]})


def task(frame: int, *result: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotation = {"id": 9, "completed_by": {"id": 1, "email": "ann@example.org"}, "result": list(result),
                  "was_cancelled": False, "updated_at": "2026-01-02"}  # fmt: skip
    address = f"/data/local-files/?d=frames/clip/{frame:05d}.jpg"
    return {"id": 70 + frame, "data": {"image": address}, "annotations": [annotation], **more}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_brush_codes_are_those_of_label_studio() -> None:
    assert encode_brush(MASK) == OF_SDK
    assert np.array_equal(decode_brush(OF_SDK, 4, 6), MASK)
    alpha = decode_brush(RAW_OF_SDK, 2, 3)  # 100, 60 and 40, of which 100 and 60 are above the half
    assert np.argwhere(alpha).tolist() == [[0, 1], [1, 2]]
    large = np.zeros((300, 400), dtype=bool)  # runs that need several chunks
    large[200:] = True
    assert np.array_equal(decode_brush(encode_brush(large), 300, 400), large)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([1, 2], "not for 6x4"), (OF_SDK[:-3], "cut off"), ("x", "no list of bytes"), ([300], "no list"),
        ([0, 0, 1, *OF_SDK[3:]], "not for 6x4"), ([*OF_SDK[:6], *[255] * 12], "cut off or too long"),
    ],
)  # fmt: skip
def test_a_bad_brush_code_is_one_message(code: object, message: str) -> None:
    with pytest.raises(AvisError, match=message):
        decode_brush(code, 4, 6)


def test_tasks_of_frames_become_a_video_and_what_is_odd_is_said(tmp_path: Path) -> None:
    number = region("number", {"number": 3}, "track")
    points = [[50.0, 0.0], [100.0, 0.0], [100.0, 100.0], [50.0, 100.0]]
    polygon = region("polygonlabels", {"points": points, "closed": True, "polygonlabels": ["犬"]})
    other = {"id": 1, "result": [], "updated_at": "2026-01-01", "completed_by": 4}
    document = [
        task(0, brush(), number),
        task(2, polygon, region("textarea", {"text": ["track 3"]}, "track")),
        task(3, region("rectanglelabels", {"x": 1, "y": 1, "width": 3, "height": 2})),
    ]
    document[0]["annotations"].insert(0, other)
    document[0]["annotations"].insert(0, {**document[0]["annotations"][1], "updated_at": "2026-01-01"})
    document.append({"id": 9, "data": {"image": "x/clip/00004.jpg"}, "annotations": [], "predictions": [{}]})
    source = read_sources(write(tmp_path / "export.json", document))[0]
    annotations = source.reading.annotations
    assert source.format.name == "label_studio"
    assert [(v.name, v.length, v.height, v.width) for v in annotations.videos] == [("clip", 5, 4, 6)]
    track = annotations.tracks[0]
    assert (track.id, track.annotator, annotations.categories) == (3, "ann@example.org", {1: "犬"})
    assert np.array_equal(decode(track.segmentations[0], 4, 6), MASK)
    assert track.segmentations[1:] == [None, [[3.0, 0, 6, 0, 6, 4, 3, 4]], None, None]
    assert [str(change).partition(" (")[0] for change in source.reading.changes] == [
        "1 frame filled: the source does not have it, taken as without a mask",
        "1 annotation dropped: its task was annotated again later",
        "1 annotation dropped: another person annotated its task later",
        "1 rectanglelabels region dropped: it is no mask",
        "1 task dropped: it has predictions that nobody has annotated, taken as without masks",
    ]


def test_boxes_of_a_video_move_between_keyframes_and_end_where_they_are_disabled(tmp_path: Path) -> None:
    def key(frame: int, x: float, enabled: bool) -> dict[str, Any]:
        return {"frame": frame, "enabled": enabled, "x": x, "y": 0, "width": 50, "height": 50, "rotation": 0}

    value = {
        "framesCount": 7,
        "labels": ["dog"],
        "sequence": [key(1, 0, True), key(3, 50, False), key(6, 50, True)],
    }
    document = [
        {"id": 1, "data": {"video": "/data/upload/1/clip.mp4", "width": 10, "height": 4},
         "annotations": [{"completed_by": 4, "result": [region("videorectangle", value)]}]}
    ]  # fmt: skip
    source = read_sources(write(tmp_path / "a.json", document))[0]
    track = source.reading.annotations.tracks[0]
    assert [s and s[0] for s in track.segmentations] == [  # type: ignore[index]
        [0, 0, 5, 0, 5, 2, 0, 2], [2.5, 0, 7.5, 0, 7.5, 2, 2.5, 2], [5, 0, 10, 0, 10, 2, 5, 2], None, None,
        [5, 0, 10, 0, 10, 2, 5, 2], [5, 0, 10, 0, 10, 2, 5, 2],
    ]  # fmt: skip
    assert track.annotator == "4"
    assert source.reading.changes.line() == "1 track filled"
    value["sequence"] = [key(3, 20, True), *value["sequence"], key(6, 50, True)]  # type: ignore[misc]
    again = read_sources(write(tmp_path / "a.json", document))[0].reading
    assert again.changes.line() == "1 keyframe dropped, 1 track filled"
    assert again.annotations.tracks[0].segmentations == track.segmentations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[0]["data"].update(image="a/b/c.jpg"), "tells no frame"),
        (lambda t: t[0]["data"].update(image=3), "neither an image nor a video"),
        (lambda t: t[0]["data"].update(video_id="../x"), "leads to another folder"),
        (lambda t: t.append(t[0]), "Frame 0 of 'clip' has two tasks"),
        (
            lambda t: t[0]["annotations"][0].update(result=[brush(), {**brush(), "id": "r2"}]),
            "Two regions of '犬'",
        ),
        (lambda t: t[0]["annotations"][0]["result"][0].update(image_rotation=90), "was rotated"),
        (
            lambda t: t[0]["annotations"][0]["result"][0].update(original_width=8),
            "frame 0 has 8x4|not for 8x4",
        ),
        (
            lambda t: t[0]["annotations"][0]["result"][0]["value"].pop("brushlabels"),
            "has no label.*region r1",
        ),
        (lambda t: t.insert(0, 3), r"3 is no object .*row 0"),
        (lambda t: t[0]["annotations"][0].update(result=[]), "No task tells the size"),
    ],
)
def test_a_bad_export_is_one_message(tmp_path: Path, change: Any, message: str) -> None:
    document = [task(0, brush())]
    change(document)
    source = write(tmp_path / "a.json", document)
    with pytest.raises(AvisError, match=message) as caught:
        convert(source, tmp_path / "b.json", target_format="aviseg", source_format="label_studio")
    assert "a.json" in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_a_models_tracks_become_predictions_to_correct(tmp_path: Path) -> None:
    video = Video(1, "clip", ["clip/00000.jpg"], length=1, height=4, width=6)
    annotations = AnnotationSet({1: "dog"}, [video], [Track(5, 1, 1, [encode(MASK)])], {})
    write_tasks(tmp_path / "a.json", tasks(annotations, model="avism", image_root="s3://bucket/frames/"))
    row = json.loads((tmp_path / "a.json").read_text())[0]
    assert row["data"]["image"] == "s3://bucket/frames/clip/00000.jpg"
    assert row["data"]["labels"] == [{"value": "dog"}]
    assert row["predictions"][0]["model_version"] == "avism"
    assert row["predictions"][0]["result"][0]["value"]["rle"] == OF_SDK
    reading = read_sources(tmp_path / "a.json")[0].reading
    assert reading.annotations.videos == []
    assert reading.changes.sentences() == [
        "1 video dropped: it has predictions that nobody has annotated (clip)"
    ]


def reasons(path: Path) -> list[str]:
    return read_sources(path)[0].reading.changes.sentences()


def boxes(address: str, *more: dict[str, Any], **data: Any) -> dict[str, Any]:
    sequence = [{"frame": 1, "enabled": True, "x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}]
    box = region("videorectangle", {"framesCount": 2, "labels": ["dog"], "sequence": sequence})
    return {"data": {"video": address, "width": 10, "height": 4, **data},
            "annotations": [{"result": [*more, box]}]}  # fmt: skip


def test_skipped_and_missing_annotations_are_said(tmp_path: Path) -> None:
    document = [task(0, brush(), region("number", {"number": 3}, "track")), task(1, brush()), task(2)]
    document[0]["annotations"].append({"result": [brush()], "was_cancelled": True})
    document[0]["annotations"].append({"result": None})
    document[1]["annotations"][0]["was_cancelled"] = True
    document[2]["annotations"] = []
    draft = task(0, predictions=[{}])
    draft["data"]["video_id"] = "draft"
    draft["annotations"][0]["was_cancelled"] = True
    silent = task(0, drafts=[{"result": []}])
    silent["data"]["video_id"], silent["annotations"] = "silent", []
    path = write(tmp_path / "a.json", [*document, task(3), draft, silent])
    at = f"{path}, row"
    assert reasons(path) == [
        "1 video dropped: nobody has annotated it (silent)",
        "3 annotations dropped: it was skipped (cancelled) in Label Studio "
        f"({at} 0, task 70, {at} 1, task 71, {at} 4, task 70)",
        f"1 annotation dropped: it has no list of regions ({at} 0, task 70)",
        "2 frames filled: its task has no annotation, taken as without a mask "
        f"({at} 1, task 71, {at} 2, task 72)",
        f"1 annotation dropped: it is a draft that nobody has submitted ({at} 5, task 70)",
        "1 video dropped: it has predictions that nobody has annotated (draft)",
    ]
    track = read_sources(path)[0].reading.annotations.tracks[0]
    assert [bool(s) for s in track.segmentations] == [True, False, False, False]


def test_a_polygon_that_was_not_finished_is_said(tmp_path: Path) -> None:
    points = [[0, 0], [50, 0], [50, 50]]
    shape = region("polygonlabels", {"points": points, "closed": False, "polygonlabels": ["dog"]})
    assert reasons(
        write(tmp_path / "a.json", [task(0, shape, region("number", {"number": 3}, "track"))])
    ) == [
        "1 mask guessed: its polygon was not finished in Label Studio, taken as closed "
        f"({tmp_path}/a.json, row 0, task 70, region r1)"
    ]


def test_an_uploaded_video_has_its_own_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [boxes("/data/upload/3/1a2b3c4d-clip.mp4")])
    assert [video.name for video in read_sources(path)[0].reading.annotations.videos] == ["clip"]
    assert reasons(path)[0] == (
        "1 video renamed: Label Studio had put 8 digits before the name of the uploaded file "
        "(1a2b3c4d-clip to clip)"
    )
    write(
        path, [boxes("s3://bucket/1a2b3c4d-clip.mp4"), boxes("/data/upload/3/1a2b3c4d-x.mp4", video_id="y")]
    )
    source = read_sources(path)[0].reading
    assert [video.name for video in source.annotations.videos] == ["1a2b3c4d-clip", "y"]
    assert source.changes.line() == "2 tracks filled"


@pytest.mark.parametrize("first", ["/data/upload/3/1a2b3c4d-clip.mp4", "/data/upload/3/clip.mp4"])
def test_two_uploads_of_one_name_are_refused(tmp_path: Path, first: str) -> None:
    path = write(tmp_path / "a.json", [boxes(first), boxes("/data/upload/3/99999999-clip.mp4")])
    with pytest.raises(AvisError, match="Two videos are called 'clip'") as caught:
        read_sources(path)
    assert first in caught.value.what and "99999999-clip.mp4" in caught.value.what


def test_uploaded_pictures_must_tell_their_video(tmp_path: Path) -> None:
    row = task(0, brush())
    row["data"] = {"image": "/data/upload/3/1a2b3c4d-00001.jpg", "frame": 1}
    with pytest.raises(AvisError, match="does not tell its video") as caught:
        read_sources(write(tmp_path / "a.json", [row]))
    assert "Add data.video_id and data.frame to the tasks." in str(caught.value.fix)
    row["data"] = {"image": "/data/upload/3/1a2b3c4d-00001.jpg", "video_id": "clip"}
    annotations = read_sources(write(tmp_path / "a.json", [row]))[0].reading.annotations
    assert (annotations.videos[0].name, annotations.videos[0].length) == ("clip", 1)
    row["data"]["image"] = "/data/upload/3/1a2b3c4d-picture.jpg"
    with pytest.raises(AvisError, match="tells no frame"):  # the digits are Label Studio's
        read_sources(write(tmp_path / "a.json", [row]))


@pytest.mark.parametrize("number", [3, 3.0])
def test_what_tells_of_a_box_is_not_counted_as_dropped(tmp_path: Path, number: float) -> None:
    told = region("number", {"number": number}, "track")
    path = write(tmp_path / "a.json", [boxes("clip.mp4", told, region("choices", {"choices": ["a"]}))])
    reading = read_sources(path)[0].reading
    assert [track.id for track in reading.annotations.tracks] == [3]
    assert reading.changes.line() == "1 choices region dropped, 1 track filled"


def test_frames_of_another_shape_than_the_media_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [task(0, brush())])
    with pytest.raises(AvisError, match="have 6x4 pixels, its media 4x6: that is another shape"):
        read_sources(path, sizes={"clip": (6, 4)})
    video = read_sources(path, sizes={"clip": (8, 12)})[0].reading.annotations.videos[0]
    assert (video.height, video.width) == (4, 6)  # the same shape, larger: QA allows it too
    video = read_sources(write(path, [task(0)]), sizes={"clip": (8, 12)})[0].reading.annotations.videos[0]
    assert (video.height, video.width) == (8, 12)


def test_json_min_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"JSON-MIN export.*row 0.*Export as JSON\."):
        read_sources(write(tmp_path / "a.json", JSON_MIN))


def test_the_ground_truth_counts_before_later_annotations(tmp_path: Path) -> None:
    row = task(0, brush())
    row["annotations"][0].update(ground_truth=True, completed_by=7)
    row["annotations"].append({"result": [], "updated_at": "2026-05-01", "completed_by": 8})
    path = write(tmp_path / "a.json", [row])
    assert [track.annotator for track in read_sources(path)[0].reading.annotations.tracks] == ["7"]
    assert reasons(path)[0].startswith(
        "1 annotation dropped: another one of its task is marked as ground truth"
    )


def test_relations_are_dropped_by_name(tmp_path: Path) -> None:
    relation = {"from_id": "r1", "to_id": "r2", "type": "relation", "direction": "right"}
    assert reasons(write(tmp_path / "a.json", [boxes("clip.mp4", relation)]))[0].startswith(
        "1 relation region dropped: it is no mask"
    )


def test_a_video_without_a_box_lasts_as_its_media_and_one_that_was_skipped_is_left_out(
    tmp_path: Path,
) -> None:
    silent, skipped = boxes("silent.mp4"), boxes("skipped.mp4")
    silent["annotations"] = [{"result": []}]
    skipped["annotations"][0]["was_cancelled"] = True
    path = write(tmp_path / "a.json", [silent, skipped])
    reading = read_sources(path, lengths={"silent": 5})[0].reading
    assert [(video.name, video.length) for video in reading.annotations.videos] == [("silent", 5)]
    assert reading.changes.line() == "1 video dropped, 1 annotation dropped"


def test_a_video_that_ingest_lost_needs_no_size(tmp_path: Path) -> None:
    rows = [boxes("kept.mp4"), boxes("mute.mp4", width=None, height=None)]
    losses = {"mute": "no sound"}
    reading = read_sources(write(tmp_path / "a.json", rows), why_lost=losses.get)[0].reading
    assert [video.name for video in reading.annotations.videos] == ["kept"]
    assert reading.lost == losses
    assert reading.changes.line() == "1 track filled"
    alone = read_sources(write(tmp_path / "a.json", rows[1:]), why_lost=losses.get)[0].reading
    assert (alone.annotations.videos, alone.lost) == ([], losses)
