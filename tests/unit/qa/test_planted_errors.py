"""Each kind of error is planted at a known place in the clean set: its check finds it there only."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.qa.checks import all_checks
from tests.unit.qa.conftest import disc

pytestmark = pytest.mark.slow

HEIGHT, WIDTH, FRAMES, RATE_HZ = 144, 256, 12, 16_000
Place = tuple[str, int | None, int | None]  # video, track, frame
Planter = Callable[[Any], None]
PLANTED: dict[str, tuple[Planter, tuple[Place, ...]]] = {}


def plant(check: str, *places: Place) -> Callable[[Planter], Planter]:
    """The decorated function plants what `check` must find, at these places and no others."""

    def register(planter: Planter) -> Planter:
        PLANTED[f"{check}: {planter.__name__}"] = planter, places
        return planter

    return register


# Tracks 1 and 2 belong to clip t0, 3 and 4 to t1, … 11 and 12 to v0, 13 and 14 to e0, 15 and 16 to e1.
# The first track of a clip sounds in seconds 0 to 5, the second in 3 to 9; 10 and 11 are silent.


@plant("missing_media", ("t1", None, 4))
def empty_jpeg(s: Any) -> None:
    s.frame("t1", 4).write_bytes(b"")


@plant("missing_media", ("v0", None, 10))
def missing_jpegs(s: Any) -> None:
    for k in (10, 11):
        s.frame("v0", k).unlink()


@plant("missing_media", ("t1", None, None))
def failed_extraction(s: Any) -> None:
    s.edit_media(lambda rows: rows[1].update(status="corrupt", message="no moov atom"))


@plant("missing_media", ("t1", None, None))
def one_frame_more(s: Any) -> None:
    s.frame("t1", 12).write_bytes(s.frame("t1", 11).read_bytes())


@plant("missing_media", ("t1", None, 4))
def cut_off_jpeg(s: Any) -> None:
    s.frame("t1", 4).write_bytes(s.frame("t1", 4).read_bytes()[:-200])


@plant("unreadable_frame", ("t1", None, 4))
def jpeg_without_picture(s: Any) -> None:
    content = bytearray(s.frame("t1", 4).read_bytes())
    at = content.index(b"\xff\xdb")  # the quantization tables are gone
    content[at + 1] = 0xE5
    s.frame("t1", 4).write_bytes(bytes(content))


@plant("mixed_frame_sizes", ("t1", None, 4))
def frame_of_another_size(s: Any) -> None:
    s.edit_frame("t1", 4, lambda picture: picture[:100])


@plant("audio_length", ("t1", None, None))
def short_sound(s: Any) -> None:
    s.edit_sound("t1", lambda sound: sound[: -RATE_HZ // 2])


@plant("audio_length", ("t1", None, None))
def broken_sound(s: Any) -> None:
    s.sound("t1").write_bytes(b"RIFF")


@plant("frame_size", ("t3", None, None))
def turned_video(s: Any) -> None:
    s.edit_media(lambda rows: rows[3].update(width=144, height=256))


@plant("segmentation_length", ("t1", 3, None), ("e0", 14, None))
def cut_track(s: Any) -> None:
    s.edit_track(3, lambda track: track["segmentations"].pop())
    s.edit_track(14, lambda track: track["segmentations"].append(None))


@plant("box_length", ("t1", 3, None))
def short_boxes(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(bboxes=[None] * 3))


@plant("unknown_category", ("t1", 3, None))
def strange_category(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(category_id=99))


@plant("unknown_video", ("", 3, None))
def strange_video(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(video_id=99))


@plant("duplicate_id", ("t1", 1, None))
def same_track_id(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(id=1))


@plant("duplicate_id", ("t1", None, None))
def same_video_id(s: Any) -> None:
    s.edit("train", lambda document: document["videos"][1].update(id=1))


@plant("malformed_entry", ("", None, None))
def text_for_a_length(s: Any) -> None:
    s.edit("val", lambda document: document["videos"].append({"id": 9, "length": "12"}))


@plant("undecodable_mask", ("t1", 3, 2), ("e0", 13, 1), ("v0", 11, 4))
def broken_codes(s: Any) -> None:
    s.put(3, 2, {"size": [HEIGHT, WIDTH], "counts": "no code"})
    s.put(13, 1, {"size": [HEIGHT, WIDTH], "counts": [5, 6, 7]})
    s.put(11, 4, {"size": [HEIGHT, WIDTH + 1], "counts": encode(np.ones((HEIGHT, WIDTH), bool))["counts"]})


@plant("short_polygon", ("t1", 3, 2))
def two_points(s: Any) -> None:
    s.put(3, 2, [[1.0, 2.0, 3.0, 4.0]])


@plant("undecodable_mask", ("t1", 3, 2), ("t1", 3, 3))
def polygons_of_no_numbers(s: Any) -> None:
    s.put(3, 2, [[1.0, 2.0, 1e300, 4.0, 5.0, 9.0]])
    s.put(3, 3, [[1.0, 2.0, "3", 4.0, 5.0, 9.0]])


@plant("invalid_sounding", ("t1", 3, None), ("t1", 4, None), ("t2", 5, None))
def impossible_intervals(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(sounding=[[0, 4], [3, 6]]))
    s.edit_track(4, lambda track: track.update(sounding=[[3, 13]]))
    s.edit_track(5, lambda track: track.update(sounding="0-6"))
    s.edit_track(6, lambda track: track.update(sounding=[[3, 10]]))


@plant("empty_mask", ("t1", 3, 7), ("t2", 5, 10))
def empty_codes(s: Any) -> None:
    s.put(3, 7, encode(np.zeros((HEIGHT, WIDTH), bool)))
    s.put(5, 10, [])
    s.put(5, 11, [])


@plant("empty_track", ("t1", 3, None))
def no_masks(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(segmentations=[None] * FRAMES))


@plant("box_mismatch", ("t1", 3, 2))
def moved_box(s: Any) -> None:
    with s.changed_document("train") as document:
        document["annotations"][2]["bboxes"][2][0] += 7


@plant("area_jump", ("t1", 3, 2))
def leaking_mask(s: Any) -> None:
    with s.changed_mask(3, 2) as mask:
        mask[20:120, 20:160] = True


@plant("area_jump", ("t2", 5, 1))
def cut_mask(s: Any) -> None:
    with s.changed_mask(5, 1) as mask:
        mask[:, 40:] = False
        mask[45:] = False


@plant("sliver", ("t1", 3, 5), ("v0", 11, 0))
def thin_masks(s: Any) -> None:
    def line(mask: np.ndarray, thickness: int) -> np.ndarray:
        mask[:] = False
        mask[50 : 50 + thickness, 60:100] = True
        return mask

    s.edit_mask(3, 5, lambda mask: line(mask, 2))
    s.edit_mask(11, 0, lambda mask: line(mask, 1))
    s.edit_mask(13, 0, lambda mask: line(mask, 3))


@plant("specks", ("t1", 3, 5))
def stray_click(s: Any) -> None:
    with s.changed_mask(3, 5) as mask:
        mask[120:121, 200:202] = True


@plant("pinholes", ("t1", 3, 5))
def noisy_mask(s: Any) -> None:
    with s.changed_mask(3, 5) as mask:
        for x in range(50, 80, 3):
            mask[45, x] = False


@plant("sudden_hole", ("t1", 3, 2))
def cut_out_hole(s: Any) -> None:
    with s.changed_mask(3, 2) as mask:
        mask[40:52, 42:58] = False


@plant("self_intersection", ("t1", 3, 1))
def crossed_outline(s: Any) -> None:
    s.put(3, 1, [[30.0, 30.0, 70.0, 60.0, 70.0, 30.0, 30.0, 60.0]])
    hole = [45.0, 40.0, 45.0, 50.0, 55.0, 50.0, 55.0, 40.0, 45.0, 40.0]
    s.put(3, 2, [[30.0, 30.0, 70.0, 30.0, 70.0, 60.0, 30.0, 60.0, 30.0, 30.0, *hole]])


@plant("mask_on_bar", *[("t4", 10, k) for k in range(3, 10)])
def letterbox(s: Any) -> None:
    for k in range(FRAMES):
        with s.changed_frame("t4", k) as picture:
            picture[105:] = 0


@plant("mask_on_bar", *[("t4", 10, k) for k in range(3, 10)])
def white_letterbox(s: Any) -> None:
    for k in range(FRAMES):
        with s.changed_frame("t4", k) as picture:
            picture[105:] = 250


@plant("forgotten_frame", ("t1", 3, 1))
def forgotten_mask(s: Any) -> None:
    s.put(3, 1, None)


@plant("flicker", ("t1", 4, 4))
def flickering_track(s: Any) -> None:
    for k in (4, 6, 8):
        s.put(4, k, None)


@plant("one_frame_track", ("t1", 3, 2))
def lonely_mask(s: Any) -> None:
    for k in (0, 1, 3, 4, 5):
        s.put(3, k, None)


@plant("duplicate_tracks", ("t1", 99, 0))
def drawn_twice(s: Any) -> None:
    with s.changed_document("train") as document:
        track = dict(document["annotations"][2], id=99)
        kernel = np.ones((3, 3), np.uint8)
        track["segmentations"] = [
            mask and encode(cv2.erode(decode(mask, HEIGHT, WIDTH).astype(np.uint8), kernel).astype(bool))
            for mask in track["segmentations"]
        ]
        del track["bboxes"], track["areas"]
        document["annotations"].append(track)


@plant("identity_switch", ("t1", 4, 5))
def exchanged_tracks(s: Any) -> None:
    with s.changed_document("train") as document:
        one, other = document["annotations"][2:4]
        for track in (one, other):
            del track["bboxes"], track["areas"]
        mine, theirs = one["segmentations"], other["segmentations"]
        mine[5:], theirs[5:] = theirs[5:], mine[5:]


@plant("identity_switch", ("t1", 4, 6))
def exchanged_across_a_pause(s: Any) -> None:
    with s.changed_document("train") as document:
        one, other = document["annotations"][2:4]
        for track in (one, other):
            del track["bboxes"], track["areas"]
        one["segmentations"] = [encode(disc(0, k)) if k < 4 else None for k in range(FRAMES)]
        other["segmentations"] = [encode(disc(1, k)) if k < 4 else None for k in range(FRAMES)]
        one["segmentations"][6:9] = [encode(disc(1, k)) for k in range(6, 9)]
        other["segmentations"][7:9] = [encode(disc(0, k)) for k in range(7, 9)]


@plant("identity_handover", ("t1", 99, 3))
def one_object_in_two_tracks(s: Any) -> None:
    with s.changed_document("train") as document:
        track = document["annotations"][2]
        del track["bboxes"], track["areas"]
        rest = [None] * 3 + track["segmentations"][3:]
        track["segmentations"][3:] = [None] * (FRAMES - 3)
        document["annotations"].append(dict(track, id=99, segmentations=rest))


@plant("gap", ("t1", 3, 1))
def forgotten_masks(s: Any) -> None:
    s.edit_track(4, lambda track: track.update(segmentations=[None] * FRAMES))
    s.put(3, 1, None)
    s.put(3, 2, None)


@plant("frozen_mask", ("t1", 4, 5))
def copied_mask(s: Any) -> None:
    def copy_forward(track: dict[str, Any]) -> None:
        track["segmentations"][5:9] = [track["segmentations"][5]] * 4

    s.edit_track(4, copy_forward)


@plant("silent_audio", ("t1", None, None))
def muted_video(s: Any) -> None:
    s.edit_sound("t1", lambda sound: sound * 0)


@plant("sounding_in_silence", ("t1", 4, 8))
def sound_stops(s: Any) -> None:
    with s.changed_sound("t1") as sound:
        sound[8 * RATE_HZ : 10 * RATE_HZ] = 0


@plant("sound_without_label", ("t1", None, 10))
def sound_goes_on(s: Any) -> None:
    with s.changed_sound("t1") as sound:
        sound[10 * RATE_HZ : 11 * RATE_HZ] = sound[:RATE_HZ]


@plant("shifted_sound", ("t1", None, None))
def late_sound(s: Any) -> None:
    for k in (0, 1, 2):  # so that the clip has silence at both ends
        s.put(3, k, None)
        s.put(5, k, None)
    for name, delay_s in (("t1", 3), ("t2", 0)):

        def mute_and_shift(sound: np.ndarray, delay_s: int = delay_s) -> np.ndarray:
            sound[: 3 * RATE_HZ] = 0
            return np.roll(sound, delay_s * RATE_HZ)

        s.edit_sound(name, mute_and_shift)


@plant("constant_shift", ("t1", None, None))
def masks_two_frames_late(s: Any) -> None:
    for track_id in (3, 4):
        s.edit_track(
            track_id, lambda track: track.update(segmentations=[None, None, *track["segmentations"][:-2]])
        )


@plant("sounding_mismatch", ("t1", 3, 0), ("t1", 4, 3))
def intervals_that_deny_the_masks(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(sounding=[[2.2, 6.5]]))
    s.put(4, 3, None)
    s.edit_track(4, lambda track: track.update(sounding=[[3.0, 10.0]]))


@plant("onset_without_label", ("t1", None, 11))
def overheard_blow(s: Any) -> None:
    with s.changed_sound("t1") as sound:
        at = round(11.3 * RATE_HZ)
        sound[at : at + RATE_HZ // 5] = sound[: RATE_HZ // 5]


@plant("label_beyond_sound", ("t1", 4, 8))
def soft_noise_under_a_label(s: Any) -> None:
    s.put(4, 3, None)
    s.put(4, 4, None)
    s.put(4, 5, None)

    with s.changed_sound("t1") as sound:
        sound[8 * RATE_HZ : 10 * RATE_HZ] *= 0.1


@plant("audio_dropout", ("t1", None, 4))
def hole_in_the_sound(s: Any) -> None:
    with s.changed_sound("t1") as sound:
        at = round(4.3 * RATE_HZ)
        sound[at : at + RATE_HZ // 4] = 0


@plant("clipped_audio", ("t1", None, 0))
def overdriven(s: Any) -> None:
    s.edit_sound("t1", lambda sound: np.clip(sound * 8, -1, 1))


@plant("black_frame", ("t1", None, 4))
def black_pictures(s: Any) -> None:
    for k in (4, 5):
        s.edit_frame("t1", k, lambda picture: picture // 40)


@plant("blurred_frame", ("t1", None, 4))
def blurred_picture(s: Any) -> None:
    s.edit_frame("t1", 4, lambda picture: cv2.GaussianBlur(picture, (0, 0), 5))


@plant("frozen_frames", ("t1", None, 4))
def hanging_video(s: Any) -> None:
    for k in (5, 6):
        s.frame("t1", k).write_bytes(s.frame("t1", 4).read_bytes())


def rename_clip(s: Any, split: str, number: int, name: str) -> None:
    with s.changed_document(split) as document:
        document["videos"][number]["file_names"] = [f"{name}/{k:05d}.jpg" for k in range(FRAMES)]


@plant("source_leakage", ("-abcdefghij-1694962971939-seg2", None, None))
def one_source_in_two_splits(s: Any) -> None:
    rename_clip(s, "train", 0, "-abcdefghij-1694962971939-seg1")
    rename_clip(s, "train", 1, "-abcdefghijk-1694962971939-seg1")
    rename_clip(s, "test", 1, "-abcdefghij-1694962971939-seg2")


@plant("duplicate_clip", ("e1", None, None))
def one_clip_in_two_splits(s: Any) -> None:
    s.edit_media(lambda rows: rows[7].update(frames_sha256=rows[0]["frames_sha256"]))


@plant("near_duplicate_video", ("e0", None, None))
def uploaded_again(s: Any) -> None:
    def alter(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        smaller = cv2.resize(picture[2:-2, 3:-3], (width, height))
        return np.clip(smaller * 1.1 + 8, 0, 255).astype(np.uint8)

    for k in range(FRAMES - 1):
        s.frame("e0", k).write_bytes(s.frame("t1", k + 1).read_bytes())
        s.edit_frame("e0", k, alter)


@plant("reused_sound", ("e0", None, None))
def borrowed_sound(s: Any) -> None:
    s.sound("e0").write_bytes(s.sound("t1").read_bytes())
    s.edit_sound("e0", lambda sound: 0.5 * np.roll(sound, 3000))


@plant("empty_split", ("", None, None))
def nothing_to_test(s: Any) -> None:
    s.edit("test", lambda document: document["annotations"].clear())


@plant("untrained_category", ("", None, None))
def new_category_in_test(s: Any) -> None:
    s.edit("test", lambda document: document["categories"].append({"id": 3, "name": "cow"}))
    s.edit_track(15, lambda track: track.update(category_id=3))


@plant("category_balance", ("", None, None), ("", None, None))
def other_shares_in_test(s: Any) -> None:
    def multiply(split: str, dogs: int, cellos: int) -> None:
        def edit(document: dict[str, Any]) -> None:
            one, other = document["annotations"][:2]
            for number in range(dogs + cellos):
                document["annotations"].append(dict(one if number < dogs else other, id=100 + number))

        s.edit(split, edit)

    multiply("train", 0, 40)
    multiply("test", 20, 0)


@plant("rare_category", ("", None, None))
def four_dogs(s: Any) -> None:
    s.edit_track(3, lambda track: track.update(category_id=2))


def test_the_clean_set_has_no_findings(clean_set: Any) -> None:
    assert clean_set.findings() == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_found_where_it_is_and_nowhere_else(labelled_set: Any, planted: str) -> None:
    check = planted.split(":")[0]
    planter, places = PLANTED[planted]
    planter(labelled_set)
    found = [finding for finding in labelled_set.findings() if finding.check == check]
    assert Counter((finding.video, finding.track, finding.frame) for finding in found) == Counter(places)


def test_every_check_is_planted() -> None:
    # unchecked_clip needs a worker that dies: tested with the stage; reference_counts needs a file: below;
    # test_people.py plants the last two
    elsewhere = {"unchecked_clip", "reference_counts", "annotators_disagree", "model_doubts"}
    assert {planted.split(":")[0] for planted in PLANTED} | elsewhere == set(all_checks())


def test_counts_that_differ_from_the_reference_are_found(clean_set: Any, tmp_path: Path) -> None:
    reference = tmp_path / "counts.yaml"
    reference.write_text("train: {clips: 5, masks: 65, categories: {dog: 5, cow: 1}}\ntest: {clips: 3}\n")
    found = clean_set.findings(reference=str(reference))
    assert [(finding.check, finding.message) for finding in found] == [
        ("reference_counts", "0 tracks of cow in train, the reference says 1"),
        ("reference_counts", "2 clips in test, the reference says 3"),
    ]
    reference.write_text("test: {clip: 3}\n")
    with pytest.raises(AvisError, match=r"'clip' is no count.*test.*Allowed: clips"):
        clean_set.findings(reference=str(reference))
