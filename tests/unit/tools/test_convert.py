"""What a format can hold comes back pixel by pixel; what it cannot hold is said."""

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.annotate.capabilities import PARTS, cannot_hold
from components.annotate.exports import read_sources
from components.annotate.formats import find_format, formats
from components.annotate.merge import unite_all
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import decode, encode, is_empty
from components.tools.conversion_check import compare
from components.tools.convert import write_target

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("read_here")]

BOTH = [name for name, entry in formats().items() if entry.read and entry.write]


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed RLE: column by column, background first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    return {"size": list(mask.shape), "counts": np.diff([0, *changes, flat.size]).tolist()}


@st.composite
def annotation_sets(draw: st.DrawFn) -> AnnotationSet:
    """Videos of different sizes; tracks of polygons, both kinds of RLE and nulls; two never overlap."""
    names = draw(
        st.lists(
            st.sampled_from(["dog", "größer Hund", "犬", "a/b: c,d"]), min_size=1, max_size=3, unique=True
        )
    )
    categories = dict(zip(draw(st.permutations([1, 2, 3, 7]))[: len(names)], names, strict=True))
    seed = draw(st.integers(0, 2**31))
    random = np.random.default_rng(seed)
    videos, tracks = [], []
    for number in range(draw(st.integers(1, 3))):
        height, width = draw(st.tuples(st.integers(8, 14), st.integers(9, 15)))
        length = draw(st.integers(1, 4))
        name = f"v-{number}_x.{number}"
        video_id = 3 * number + 1
        files = [f"{name}/{k:05d}.jpg" for k in range(length)]
        videos.append(Video(video_id, name, files, length=length, height=height, width=width))
        bands = np.linspace(0, width, draw(st.integers(1, 3)) + 1).astype(int)
        for left, right in pairwise(bands):
            segmentations: list[Any] = []
            for _ in range(length):
                kind = draw(st.sampled_from(["null", "polygon", "rle", "runs"]))
                if kind == "polygon":
                    box = [left, 1, right, 1, right, 6, left, 6]
                    segmentations.append([[float(value) for value in box]])
                elif kind == "null":
                    segmentations.append(None)
                else:
                    mask = np.zeros((height, width), bool)
                    mask[:, left:right] = random.random((height, right - left)) < 0.4
                    mask[0, left] = True
                    segmentations.append(encode(mask) if kind == "rle" else runs(mask))
            category = draw(st.sampled_from(sorted(categories)))
            annotator = draw(st.sampled_from(["", "Zoë"]))
            tracks.append(Track(2 * len(tracks) + 5, video_id, category, segmentations, annotator=annotator))
    return AnnotationSet(categories, videos, tracks, {"note": "é"})


def pixels(annotations: AnnotationSet) -> dict[str, list[tuple[str, list[bytes]]]]:
    """Of each video, the category and the masks of each track that has a mask, in an order of their own."""
    names = {video.id: video for video in annotations.videos}
    shown: dict[str, list[tuple[str, list[bytes]]]] = {video.name: [] for video in annotations.videos}
    for track in annotations.tracks:
        video = names[track.video_id]
        masks = [decode(s, video.height, video.width).tobytes() for s in track.segmentations]
        if any(map(any, masks)):
            shown[video.name].append((annotations.categories[track.category_id], masks))
    return {name: sorted(rows) for name, rows in shown.items()}


def round_trip(name: str, annotations: AnnotationSet, folder: Path, suffix: str) -> AnnotationSet:
    entry = find_format(name)
    target = folder / f"out{suffix}"
    write_target(target, annotations, entry)
    sources = read_sources(target)
    assert {source.format.name for source in sources} == {name}, "not recognised as what it is"
    return unite_all([source.reading.annotations for source in sources], [source.name for source in sources])


@pytest.mark.parametrize("name", BOTH)
@given(annotations=annotation_sets(), zipped=st.booleans())
def test_what_a_format_holds_comes_back(name: str, annotations: AnnotationSet, zipped: bool) -> None:
    entry = find_format(name)
    lost = " ".join(cannot_hold(entry.holds, annotations))
    assume(name != "mots_txt" or any(pixels(annotations).values()))  # it holds nothing else
    with tempfile.TemporaryDirectory() as folder:
        ending = ".json" if entry.in_zip.endswith(".json") else ""  # else a folder
        back = round_trip(name, annotations, Path(folder), ".zip" if zipped else ending)
    assert compare(annotations, back, entry).differences.sentences() == []
    expected = pixels(annotations)
    if "categories" not in entry.holds:
        expected = {v: sorted(("object", masks) for _, masks in rows) for v, rows in expected.items()}
        assert "the categories are not held" in lost or not annotations.tracks
    if "videos without masks" not in entry.holds:
        expected = {video: rows for video, rows in expected.items() if rows}
    if "lengths" in entry.holds:
        assert pixels(back) == expected
        lengths = {video.name: (video.length, video.height, video.width) for video in annotations.videos}
        for video in back.videos:
            assert (video.length, video.height, video.width) == lengths[video.name]
    else:
        shorter = {
            v: sorted((c, masks[: back_length(back, v)]) for c, masks in rows) for v, rows in expected.items()
        }
        assert pixels(back) == shorter
    kept = [t for t in annotations.tracks if "tracks without masks" in entry.holds or shows(t)]
    if "annotator" in entry.holds:
        held = {track.annotator for track in back.tracks}
        assert held == {t.annotator for t in kept}
    if "track ids" in entry.holds:
        assert {track.id for track in back.tracks} == {t.id for t in kept}
    if "category ids" in entry.holds:
        assert back.categories == annotations.categories
    if "video ids" in entry.holds:
        assert {v.id: v.name for v in back.videos} == {v.id: v.name for v in annotations.videos}
    if "info" in entry.holds:
        assert back.info == annotations.info
    if "polygons" in entry.holds and "frame names" in entry.holds:
        assert kinds(back.tracks) == kinds(kept)


def back_length(annotations: AnnotationSet, name: str) -> int:
    return next(video.length for video in annotations.videos if video.name == name)


def shows(track: Track) -> bool:
    return any(not is_empty(segmentation) for segmentation in track.segmentations)


def kinds(tracks: list[Track]) -> dict[int, list[str]]:
    return {
        track.id: [type(segmentation).__name__ for segmentation in track.segmentations] for track in tracks
    }


def full() -> AnnotationSet:
    """Has every part that PARTS knows."""
    video = Video(4, "clip", ["clip/1.jpg", "clip/2.jpg"], length=2, height=8, width=9)
    square = [[1.0, 1, 5, 1, 5, 5, 1, 5]]
    tracks = [
        Track(7, 4, 3, [square, None], 1, sounding=[(0.0, 0.5)], annotator="Ann"),
        Track(9, 4, 3, [None, None]),
    ]
    empty = replace(video, id=6, name="empty", file_names=["empty/00000.jpg", "empty/00001.jpg"])
    return AnnotationSet({3: "dog", 5: "cow"}, [video, empty], tracks, {"by": "us"})


def test_each_part_that_a_format_lacks_is_said_in_a_sentence() -> None:
    annotations = full()
    bare = replace(find_format("aviseg"), holds=frozenset())
    sentences = cannot_hold(bare.holds, annotations)
    assert len(sentences) == len(PARTS)
    words = ["dog", "polygons", "last mask", "1 video without", "1 track without", "cow", "sounding"]
    words += [
        "annotator",
        "iscrowd",
        "ids of tracks",
        "ids of categories",
        "ids of videos",
        "pictures",
        "info",
    ]
    for word in words:
        assert any(word in sentence for sentence in sentences), word
    assert cannot_hold(find_format("aviseg").holds, annotations) == []
    plain = AnnotationSet({1: "dog"}, [Video(1, "v", ["v/00000.jpg"], 1, 4, 4)], [], {})
    assert cannot_hold(bare.holds, plain) == [
        "the frames after the last mask are not held, in 1 video",
        "1 video without any mask is left out",
        "categories that no mask has are left out: dog",
    ]
