"""What a conversion wrote is read back: nothing is missed that a format holds, and what was lost is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from components.annotate.formats import find_format, formats
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.tools.conversion_check import ReadBack, read_back
from components.tools.convert import convert, write_target
from tests.unit.tools.test_convert import full

pytestmark = pytest.mark.usefixtures("read_here")

WRITTEN = [name for name, entry in formats().items() if entry.write]


def disc(x: int, y: int, radius: int = 4) -> np.ndarray:
    rows, columns = np.mgrid[:24, :32]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def two_dogs() -> AnnotationSet:
    """One clip of four frames: two dogs that overlap on frame 2, and a cow; nothing is special."""
    places = {1: [(6, 6), (8, 6), (11, 6), None], 2: [None, (18, 7), (16, 7), (17, 8)]}
    tracks = [
        Track(number, 1, 1, [None if at is None else encode(disc(*at)) for at in of])
        for number, of in places.items()
    ]
    tracks.append(Track(3, 1, 2, [encode(disc(25, 18)), None, None, encode(disc(24, 18))]))
    files = [f"clip/{k:05d}.jpg" for k in range(4)]
    return AnnotationSet({1: "dog", 2: "cow"}, [Video(1, "clip", files, 4, 24, 32)], tracks, {})


def written(name: str, annotations: AnnotationSet, folder: Path) -> Path:
    entry = find_format(name)
    target = folder / ("out.json" if entry.in_zip.endswith(".json") else "out")
    write_target(target, annotations, entry)
    return target


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_format_cannot_carry_is_listed_and_no_difference(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    annotations = two_dogs() if name in ("audacity", "elan") else full()
    write_annotations(source, annotations)
    entry = find_format(name)
    done = convert(source, tmp_path / "out.zip", target_format=name, check=True)
    assert done.check is not None and not done.check.differences, done.check.report()
    said = " ".join(done.check.not_held.sentences())
    for part, words in {
        "sounding": "track's sounding dropped", "annotator": "annotator's name dropped",
        "crowd": "crowd mark dropped", "unused categories": "category dropped",
        "tracks without masks": "track dropped", "videos without masks": "video dropped",
        "info": "field info dropped", "polygons": "frame's polygons dropped",
    }.items():  # fmt: skip
        if entry.read and (part != "unused categories" or "categories" in entry.holds):
            assert (words in said) == (part not in entry.holds), (part, said)
    if not entry.read:
        assert "only when tracks sound is held" in said


def test_pixels_that_overlapping_masks_share_are_of_one(tmp_path: Path) -> None:
    annotations = two_dogs()
    for name in ("davis", "mots_png"):
        checked = read_back(annotations, written(name, annotations, tmp_path / name), find_format(name))
        assert not checked.differences
        assert any(
            "1 mask clipped: of overlapping masks one has the pixels" in sentence
            for sentence in checked.not_held.sentences()
        )
    hidden = two_dogs()
    hidden.tracks.append(Track(4, 1, 1, [None, None, encode(disc(11, 6, 6)), None]))
    hidden.tracks[0].segmentations[:2] = [None, None]
    hidden.tracks[1].segmentations = [None] * 4
    hidden.tracks[2].segmentations = [None, None, encode(disc(11, 6, 6)), None]
    checked = read_back(hidden, written("davis", hidden, tmp_path / "hidden"), find_format("davis"))
    assert not checked.differences, checked.report()
    assert any("others lie over it" in sentence for sentence in checked.not_held.sentences())


def edit(target: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(target.read_text())
    change(document)
    target.write_text(json.dumps(document))


def broken(change: Callable[[dict[str, Any]], None], folder: Path) -> ReadBack:
    """What the check says after AVISeg JSON was changed between writing and reading."""
    annotations = two_dogs()
    annotations.tracks[0].sounding, annotations.tracks[0].annotator = [(0.0, 2.5)], "Ann"
    target = written("aviseg", annotations, folder)
    edit(target, change)
    return read_back(annotations, target, find_format("aviseg"))


def set_mask(track: int, k: int, mask: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["annotations"][track]["segmentations"].__setitem__(k, mask)


PLANTED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a mask": (set_mask(0, 1, None), "1 mask dropped: it does not come back (clip, track 1, frame 1)"),
    "one pixel": (
        set_mask(1, 1, encode(disc(18, 7) & ~(np.indices((24, 32)).sum(axis=0) == 25))),
        "1 mask clipped: its pixels are not the same (clip, track 2, frame 1)",
    ),
    "a mask too many": (
        set_mask(2, 1, encode(disc(4, 18))), "1 mask filled: nobody wrote it (clip, track 3, frame 1)",
    ),
    "a track": (
        lambda document: document["annotations"].pop(2),
        "1 track dropped: it does not come back (clip, track 3)",
    ),
    "the category": (
        lambda document: document["annotations"][2].update(category_id=1),
        "1 track renamed: it has another category (clip, track 3)",
    ),
    "the sound": (
        lambda document: document["annotations"][0].update(sounding=[[0.0, 2.4]]),
        "1 track's sounding dropped: the intervals are not the same (clip, track 1)",
    ),
    "the annotator": (
        lambda document: document["annotations"][0].pop("annotator"),
        "1 annotator's name dropped: it is not the same (clip, track 1)",
    ),
    "an id": (
        lambda document: document["annotations"][0].update(id=8),
        "1 track id renamed: it is another (clip, track 1)",
    ),
    "the video": (
        lambda document: document.update(videos=[], annotations=[]),
        "1 video dropped: it does not come back (clip)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_loss_is_named(what: str, tmp_path: Path) -> None:
    change, sentence = PLANTED[what]
    checked = broken(change, tmp_path)
    assert checked.differences.sentences() == [sentence]
    with pytest.raises(AvisError, match="does not come back the same") as raised:
        checked.refuse(tmp_path / "out.json")
    assert sentence in raised.value.what


def test_a_lost_file_of_label_pictures_is_named(tmp_path: Path) -> None:
    annotations = two_dogs()
    target = written("davis", annotations, tmp_path)
    (target / "clip" / "00001.png").unlink()
    checked = read_back(annotations, target, find_format("davis"))
    assert checked.differences.sentences() == [
        "2 masks dropped: it does not come back (clip, track 1, frame 1, clip, track 2, frame 1)"
    ]
    assert checked.reading  # a frame without a picture is said, too


def test_a_moved_sound_label_is_named(tmp_path: Path) -> None:
    annotations = two_dogs()
    target = written("audacity", annotations, tmp_path)
    labels = target / "clip.txt"
    labels.write_text(labels.read_text().replace("0.000000\t3.000000", "0.100000\t3.000000"))
    checked = read_back(annotations, target, find_format("audacity"))
    assert checked.differences.sentences() == [
        "1 track's sounding dropped: the intervals are not the same (clip, track 1)"
    ]


def test_what_cannot_be_read_back_at_all_is_one_message(tmp_path: Path) -> None:
    annotations = two_dogs()
    target = written("aviseg", annotations, tmp_path)
    target.write_text(target.read_text()[:-40])
    with pytest.raises(AvisError, match="cannot be read back"):
        read_back(annotations, target, find_format("aviseg"))


def test_the_command_prints_what_it_compared_and_fails_only_for_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.cli import app

    write_annotations(tmp_path / "source.json", two_dogs())
    words = ["convert", str(tmp_path / "source.json"), "--to", "davis", "--check"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "one")])
    assert done.exit_code == 0
    compared = "1 video, 3 tracks with masks, 8 masks"
    assert f"read back and compared: {compared}; differences: nothing" in done.output
    assert "not held by the format: 3 tracks renamed: it has another category" in done.output

    entry = find_format("davis")
    assert entry.write is not None

    def lossy(path: Path, annotations: AnnotationSet) -> list[str]:
        annotations = replace(annotations, tracks=annotations.tracks[:2])
        return find_format("davis").write(path, annotations)  # type: ignore[misc]

    monkeypatch.setattr("components.tools.convert.find_format", lambda *_: replace(entry, write=lossy))
    done = CliRunner().invoke(app, [*words, str(tmp_path / "two")])
    assert done.exit_code != 0
    assert "1 track dropped: it does not come back (clip, track 3)" in f"{done.output}{done.exception}"
