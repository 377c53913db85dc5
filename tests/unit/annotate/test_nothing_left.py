"""Masks, tracks and files of which nothing would be left are counted or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.annotate.exports import changes_of, read_sources
from components.annotate.frame_rate import one_frame_a_second
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.tools.convert import convert

HEIGHT, WIDTH = 6, 8
INSIDE = [[1, 1, 4, 1, 4, 4, 1, 4]]
OUTSIDE = [[91, 1, 94, 1, 94, 4, 91, 4]]
SHARES = [[0.1, 0.1, 0.4, 0.1, 0.4, 0.4, 0.1, 0.4]]


def youtube_vis(masks: list[Any], name: str = "clip") -> dict[str, Any]:
    size = {"height": HEIGHT, "width": WIDTH, "length": len(masks)}
    return {
        "videos": [{"id": 1, "file_names": [f"{name}/{k:05d}.jpg" for k in range(len(masks))], **size}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "segmentations": masks}],
    }


def coco(masks: list[Any]) -> dict[str, Any]:
    return {
        "images": [
            {"id": k, "file_name": f"clip/{k:05d}.jpg", "height": HEIGHT, "width": WIDTH}
            for k in range(len(masks))
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "track_id": 1, "segmentation": mask}
            for k, mask in enumerate(masks)
        ],
    }


def put(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("write", [youtube_vis, coco])
@pytest.mark.parametrize("empty", [OUTSIDE, SHARES])
def test_polygons_without_a_pixel_are_counted_and_refused_in_number(
    tmp_path: Path, write: Any, empty: Any
) -> None:
    file = put(tmp_path / "a.json", write([INSIDE, empty]))
    sources = read_sources(file)
    assert changes_of(sources).sentences() == [
        "1 mask dropped: its polygons cover no pixel of the frame (clip, track 1, frame 1)"
    ]
    assert sources[0].reading.annotations.tracks[0].segmentations[1] is None
    with pytest.raises(AvisError, match=r"1 of 2 masks \(50.0%\) were dropped"):
        convert(file, tmp_path / "b.json", target_format="aviseg")


def test_polygons_of_another_size_are_said_and_a_hand_beside_the_edge_is_not(tmp_path: Path) -> None:
    far, near = [[1, 1, 14, 1, 14, 4, 1, 4]], [[1, 1, WIDTH + 1, 1, WIDTH + 1, 4, 1, 4]]
    for write in (youtube_vis, coco):
        assert changes_of(read_sources(put(tmp_path / "a.json", write([near, far])))).sentences() == [
            "1 mask clipped: its polygons reach more than 2 pixels over the frame's edge "
            "(clip, track 1, frame 1)"
        ]


def sparse(shown: dict[int, set[int]], length: int) -> AnnotationSet:
    """Tracks with masks in some frames, by track id."""
    names = [f"clip/{k:05d}.jpg" for k in range(length)]
    tracks = [
        Track(number, 1, 1, [INSIDE if k in frames else None for k in range(length)])
        for number, frames in shown.items()
    ]
    return AnnotationSet({1: "dog"}, [Video(1, "clip", names, length, HEIGHT, WIDTH)], tracks)


def test_thinning_says_which_tracks_it_leaves_nothing_of(tmp_path: Path) -> None:
    _, notes = one_frame_a_second(sparse({1: {5, 15}, 2: {6}}, 20), 10)
    assert notes[1:] == ["1 track had masks only in frames that are not kept"]
    _, notes = one_frame_a_second(sparse({1: {5, 15}, 2: set()}, 20), 10)
    assert notes[1:] == []
    with pytest.raises(
        AvisError, match="None of the frames that are kept at 10 a second has a mask"
    ) as caught:
        one_frame_a_second(sparse({1: {0, 10}}, 20), 10)
    assert "without gaps" in str(caught.value.fix)


def test_files_in_folders_below_are_said(tmp_path: Path) -> None:
    put(tmp_path / "one.json", youtube_vis([INSIDE]))
    put(tmp_path / "val" / "two.json", youtube_vis([INSIDE], "other"))
    sources = read_sources(tmp_path)
    assert changes_of(sources).sentences() == [
        "1 file dropped: it lies in a folder below those that are read (val/two.json)"
    ]
    (tmp_path / "one.json").unlink()
    assert changes_of(read_sources(tmp_path)).sentences() == []


def test_mots_text_without_a_frame_0_is_said_or_told_by_the_media(tmp_path: Path) -> None:
    import numpy as np

    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:3, 1:3] = True
    (tmp_path / "labels.txt").write_text("dog\n")
    lines = [f"{k} 1001 1 {HEIGHT} {WIDTH} {encode(mask)['counts']}\n" for k in (1, 2, 3)]
    (tmp_path / "clip.txt").write_text("".join(lines))
    for lengths, length, said in (({}, 4, 1), ({"clip": 4}, 4, 1), ({"clip": 3}, 3, 0)):
        (source,) = read_sources(tmp_path, lengths=lengths)
        assert source.reading.annotations.videos[0].length == length
        assert len(source.reading.changes.sentences()) == said


def test_a_video_of_whose_shapes_none_is_taken_is_not_silent(tmp_path: Path) -> None:
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    box = {"x": 10, "y": 10, "width": 30, "height": 30, "rotation": 0, "rectanglelabels": ["dog"]}
    region = {"id": "r", "type": "rectanglelabels", "value": box, **size}
    task = {"data": {"image": "clip/0.jpg"}, "annotations": [{"result": [region]}]}
    labels = {"labels": [{"name": "dog"}]}
    boxes = coco([[]])
    boxes["annotations"][0]["bbox"] = [1, 1, 3, 3]
    item = {
        "id": "clip/00000",
        "image": {"path": "", "size": [HEIGHT, WIDTH]},
        "annotations": [{"type": "bbox", "label_id": 0, "bbox": [1, 1, 3, 3], "attributes": {"track_id": 1}}],
    }
    labelme = {
        "shapes": [{"label": "dog", "group_id": 1, "shape_type": "rectangle", "points": [[1, 1], [3, 3]]}],
        "imagePath": "0.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH,
    }  # fmt: skip
    put(tmp_path / "labelme" / "clip" / "0.json", labelme)
    for source in (
        put(tmp_path / "tasks.json", [task]),
        put(tmp_path / "coco.json", boxes),
        put(tmp_path / "datumaro.json", {"items": [item], "categories": {"label": labels}}),
        tmp_path / "labelme",
    ):
        with pytest.raises(AvisError, match="The video 'clip' has 1 shapes and none is a polygon or a mask"):
            read_sources(source)


def test_categories_that_look_the_same_are_said_with_their_signs(tmp_path: Path) -> None:
    for name, label in (("one", "Fl\u00f6te"), ("two", "Flo\u0308te")):
        document = youtube_vis([INSIDE], name)
        document["categories"][0]["name"] = label
        put(tmp_path / "source" / f"{name}.json", document)
    [said] = convert(tmp_path / "source", tmp_path / "b.json", target_format="aviseg").changes.sentences()
    assert said.endswith(r"('Fl\xf6te' and 'Flo\u0308te')")


def test_categories_that_differ_in_case_alone_are_said_unless_a_map_unites_them(tmp_path: Path) -> None:
    for name, label in (("one", "snare drum"), ("two", "Snare_Drum"), ("three", "dog")):
        document = youtube_vis([INSIDE], name)
        document["categories"][0]["name"] = label
        put(tmp_path / "source" / f"{name}.json", document)
    said = convert(tmp_path / "source", tmp_path / "b.json", target_format="aviseg").changes.sentences()
    assert len(said) == 1
    assert said[0].startswith("1 category guessed: its name differs from another one's in case, spaces, ")
    assert said[0].endswith("('snare drum' and 'Snare_Drum')")
    (tmp_path / "map.yaml").write_text("Snare_Drum: snare drum\n")
    mapped = convert(
        tmp_path / "source", tmp_path / "c.json", target_format="aviseg", category_map=tmp_path / "map.yaml"
    )
    assert not mapped.changes
