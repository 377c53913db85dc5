"""When tracks are heard, labelled in sound editors, and laid on the masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.annotate.sound_labels import apply_sound_labels, read_sound_labels
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.changes import Changes
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.tools.convert import convert

MASK = encode(np.ones((4, 4), bool))


def labels() -> AnnotationSet:
    """Two dogs and a cello of four seconds, always seen; the second dog is hidden in second 1."""
    video = Video(1, "clip", [f"clip/{k:05d}.jpg" for k in range(4)], 4, 4, 4)
    tracks = [
        Track(3, 1, 1, [MASK] * 4), Track(5, 1, 1, [MASK, None, MASK, MASK]), Track(6, 1, 2, [MASK] * 4),
    ]  # fmt: skip
    return AnnotationSet({1: "dog", 2: "cello"}, [video], tracks)


def seen(annotations: AnnotationSet) -> dict[int, str]:
    """Frames with a mask, by track: "x..x"."""
    return {t.id: "".join("x" if mask else "." for mask in t.segmentations) for t in annotations.tracks}


def test_masks_go_where_a_track_is_not_heard(tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text("0.5\t1.0\tdog 3\n\\\t100.0\t900.0\n2.9\t9.0\ttrack 3\n0.0\t3.0\t5\n")
    annotations = labels()
    changes = Changes()
    notes = apply_sound_labels(annotations, read_sound_labels(tmp_path / "clip.txt", changes), changes)
    assert seen(annotations) == {3: "x.xx", 5: "x.x.", 6: "xxxx"}
    assert [track.sounding for track in annotations.tracks] == [[(0.5, 1.0), (2.9, 4.0)], [(0.0, 3.0)], None]
    assert changes.line() == "1 sound label clipped"
    assert notes == [
        "2 tracks with sound labels; 2 masks of frames in which they are not heard taken away",
        "heard without a mask (hidden, or forgotten): track 5 of 'clip' (1 frame, first 1)",
    ]


def test_intervals_of_a_track_that_overlap_are_united_and_counted(tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text("0.0\t1.0\tdog 3\n1.0\t2.0\tdog 3\n1.5\t3.0\tdog 3\n")
    annotations, changes = labels(), Changes()
    apply_sound_labels(annotations, read_sound_labels(tmp_path / "clip.txt", changes), changes)
    assert annotations.tracks[0].sounding == [(0.0, 3.0)]
    assert changes.sentences() == [
        "1 sound label merged: it overlaps another one of its track (clip, track 3)"
    ]


def elan(*intervals: tuple[str, str, int, int]) -> str:
    slots, tiers = "", ""
    for n, (tier, text, start, end) in enumerate(intervals):
        for side, time_ms in (("s", start), ("e", end)):
            slots += f'<TIME_SLOT TIME_SLOT_ID="{side}{n}" TIME_VALUE="{time_ms}"/>'
        tiers += (
            f'<TIER TIER_ID="{tier}"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{n}" '
            f'TIME_SLOT_REF1="s{n}" TIME_SLOT_REF2="e{n}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>'
            "</ALIGNABLE_ANNOTATION></ANNOTATION></TIER>"
        )
    return f"<ANNOTATION_DOCUMENT><TIME_ORDER>{slots}</TIME_ORDER>{tiers}</ANNOTATION_DOCUMENT>"


def test_elan_names_tracks_by_tier_or_text(tmp_path: Path) -> None:
    (tmp_path / "clip.eaf").write_text(elan(("Cello", "loud", 0, 1500), ("sounds", "dog 5", 2000, 3000)))
    annotations = labels()
    apply_sound_labels(annotations, read_sound_labels(tmp_path, Changes()), Changes())
    assert seen(annotations) == {3: "xxxx", 5: "..x.", 6: "xx.."}


def test_label_studio_regions(tmp_path: Path) -> None:
    regions = [
        {"type": "labels", "value": {"start": 1.2, "end": 1.9, "labels": ["cello"]}},
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    task = {"data": {"audio": "/data/local-files/?d=sound/clip.wav"}, "annotations": [{"result": regions}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    annotations = labels()
    apply_sound_labels(annotations, read_sound_labels(tmp_path, Changes()), Changes())
    assert seen(annotations)[6] == ".x.."


def test_label_studio_sound_is_chosen_and_named_as_its_masks_are(tmp_path: Path) -> None:
    def heard(start: float, **more: Any) -> dict[str, Any]:
        value = {"start": start, "end": start + 0.7, "labels": ["cello"]}
        return {"result": [{"type": "labels", "value": value}], **more}

    versions = [
        heard(1.2, updated_at="2026-01-03"), heard(2.2, updated_at="2026-01-02"),
        heard(3.2, updated_at="2026-01-04", was_cancelled=True),
    ]  # fmt: skip
    task = {"data": {"audio": "/data/upload/3/1a2b3c4d-clip.wav"}, "annotations": versions}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    annotations, changes = labels(), Changes()
    apply_sound_labels(annotations, read_sound_labels(tmp_path, changes), changes)
    assert seen(annotations)[6] == ".x.."
    assert changes.line() == "1 video renamed, 2 annotations dropped"
    versions[1]["ground_truth"] = True
    (tmp_path / "export.json").write_text(json.dumps([task]))
    annotations = labels()
    apply_sound_labels(annotations, read_sound_labels(tmp_path, changes), changes)
    assert seen(annotations)[6] == "..x."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clip.txt", "0 1 dog\n", r"not start, end and label.*line 1"),
        ("clip.txt", "2\t1\tcello\n", r"no interval of time.*line 1"),
        ("clip.txt", "0\tinf\tcello\n", r"no interval of time"),
        ("clip.txt", "0,0\t2,5\tcello\n", r"no interval of time.*points for decimals"),
        ("clip.txt", "0\t1\tdog\n", r"names several tracks.*line 1.*dog 3, dog 5, cello 6"),
        ("clip.txt", "0\t1\tcow\n", r"names no track"),
        ("clip.eaf", "<x/>", r"no ELAN file"),
        ("clip.eaf", '<!DOCTYPE x [<!ENTITY a "b">]><ANNOTATION_DOCUMENT/>', r"document type"),
        ("clip.json", "{}", r"must be a JSON list"),
        (
            "clip.json",
            '[{"audio": "a.wav", "annotation_id": 1, "annotator": 1}]',
            r"JSON-MIN.*Export as JSON",
        ),
        ("clip.doc", "", r"no file of labels"),
    ],
)
def test_bad_labels_are_one_message_with_their_place(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AvisError, match=message):
        apply_sound_labels(labels(), read_sound_labels(tmp_path, Changes()), Changes())


def test_a_label_at_a_point_in_time_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text("1.0\t1.0\tcello\n99\t100\tcello\n")
    changes = Changes()
    apply_sound_labels(labels(), read_sound_labels(tmp_path, Changes()), changes)
    said = " ".join(map(str, changes))
    assert "a point in time, start and end are the same" in said and "after the video's end" in said


@pytest.mark.parametrize(("target", "ending"), [("audacity", "txt"), ("elan", "eaf")])
def test_intervals_go_to_a_sound_editor_and_come_back(tmp_path: Path, target: str, ending: str) -> None:
    annotations = labels()
    annotations.tracks[0].sounding = [(0.25, 1.5), (3.0, 3.5)]
    write_annotations(tmp_path / "a.json", annotations)
    done = convert(tmp_path / "a.json", tmp_path / "labels", target_format=target)
    assert done.lost[0] == "only when tracks sound is held, not their masks"
    assert (tmp_path / "labels" / f"clip.{ending}").is_file()
    back: Any = convert(
        tmp_path / "a.json", tmp_path / "b.json", target_format="aviseg", sound=tmp_path / "labels"
    )
    assert "3 tracks with sound labels" in " ".join(back.notes)
    first, second, third = read_annotations(tmp_path / "b.json").tracks
    assert first.sounding == [(0.25, 1.5), (3.0, 3.5)]
    assert second.sounding == [(0.0, 1.0), (2.0, 4.0)] and third.sounding == [(0.0, 4.0)]
    assert [bool(mask) for mask in first.segmentations] == [True, True, False, True]
