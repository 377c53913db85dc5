"""Label errors of natural strength, planted at a known rate into a clean set: what does each check find?

A planter changes the annotation documents, the media index, or what clips show and play, and returns the
places at which its check must speak: (video, track), track None where the clip is meant. Nothing on disk is
changed but the annotation files in a folder of their own.
"""

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from components.core.clips.index import MediaEntry, read_media_index
from components.core.records.masks import decode, encode
from components.core.run.paths import Paths
from components.qa.checked_clip import Clip
from components.qa.checks import Check, chosen_checks
from components.qa.dataset import ClipFacts, Dataset, facts_of
from components.qa.findings import Finding
from components.qa.label_files import ClipItem, read_split
from components.qa.params import QaParams

SPLITS = ("train", "val", "test")
RATE_HZ = 16_000
Place = tuple[str, int | None]
Row = dict[str, Any]


@dataclass
class World:
    """The set, to be damaged.

    rate: share of the eligible places at which an error is planted, at least three.
    sounds, pictures: of clips that show or play something else than their files.
    changed: clips that have to be looked at again.
    """

    documents: dict[str, Any]
    index: dict[str, MediaEntry]
    media: Path
    random: np.random.Generator
    rate: float
    sounds: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: dict[str, list[np.ndarray]] = field(default_factory=dict)
    sizes: dict[str, list[Any]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    def videos(self) -> list[Row]:
        return [video for document in self.documents.values() for video in document["videos"]]

    def name(self, video: Row) -> str:
        return str(video["file_names"][0].split("/")[0])

    def clips(self) -> list[tuple[Row, list[Row]]]:
        """Videos with their tracks."""
        return [
            (video, [row for row in document["annotations"] if row["video_id"] == video["id"]])
            for document in self.documents.values()
            for video in document["videos"]
        ]

    def tracks(self) -> list[tuple[Row, Row]]:
        """(video, track)."""
        return [(video, row) for video, rows in self.clips() for row in rows]

    def some(self, eligible: list[Any], least: int = 3) -> list[Any]:
        """The places to damage, in their order."""
        count = min(len(eligible), max(least, round(self.rate * len(eligible))))
        chosen = self.random.choice(len(eligible), count, replace=False) if eligible else []
        return [eligible[number] for number in sorted(chosen)]

    def touch(self, video: Row, row: Row | None = None) -> Place:
        """Note a change; boxes and areas go, so that only what was planted is wrong."""
        if row is not None:
            row.pop("bboxes", None)
            row.pop("areas", None)
        self.changed.add(self.name(video))
        return self.name(video), None if row is None else row["id"]

    def mask(self, video: Row, row: Row, k: int) -> np.ndarray:
        return decode(row["segmentations"][k], video["height"], video["width"])

    def clip(self, video: Row) -> Clip:
        """The clip as it is now, for what a planter has to know of sound and pictures."""
        split = next(s for s, document in self.documents.items() if video in document["videos"])
        rows = [row for row in self.documents[split]["annotations"] if row["video_id"] == video["id"]]
        size = video["length"], video["height"], video["width"]
        name = self.name(video)
        clip = Clip(ClipItem(split, name, *size, rows, {}, self.media, self.index.get(name)))
        return self.dressed(clip)

    def dressed(self, clip: Clip) -> Clip:
        """A clip that shows and plays what was planted."""
        if clip.name in self.sounds:
            clip.__dict__["sound"] = self.sounds[clip.name]
        if clip.name in self.pictures:
            clip._pictures = dict(enumerate(self.pictures[clip.name]))
        if clip.name in self.sizes:
            clip.__dict__["frame_sizes"] = self.sizes[clip.name]
        return clip

    def new_id(self) -> int:
        return 1 + max(row["id"] for _, row in self.tracks())


def present(row: Row) -> list[int]:
    return [k for k, mask in enumerate(row["segmentations"]) if mask]


def runs_of(row: Row) -> list[tuple[int, int]]:
    """First and last frame of each stretch of masks."""
    found: list[tuple[int, int]] = []
    for k in present(row):
        if found and found[-1][1] == k - 1:
            found[-1] = found[-1][0], k
        else:
            found.append((k, k))
    return found


def alone(rows: list[Row], first: int, last: int) -> bool:
    """Whether at most one track has masks on any of these frames."""
    return all(sum(bool(row["segmentations"][k]) for row in rows) <= 1 for k in range(first, last + 1))


Planter = Callable[[World], Iterable[Place]]
PLANTERS: dict[str, Planter] = {}


def plants(planter: Planter) -> Planter:
    PLANTERS[planter.__name__] = planter
    return planter


# --- structure ---


def of_tracks(world: World, change: Callable[[Row, Row], None], least: int = 1) -> Iterable[Place]:
    for video, row in world.some([(v, r) for v, r in world.tracks() if len(present(r)) >= least]):
        yield world.touch(video, row)
        change(video, row)


@plants
def segmentation_length(world: World) -> Iterable[Place]:
    return of_tracks(world, lambda video, row: row["segmentations"].pop())


@plants
def box_length(world: World) -> Iterable[Place]:
    return of_tracks(world, lambda video, row: row.update(bboxes=[None] * (video["length"] - 1)))


@plants
def unknown_category(world: World) -> Iterable[Place]:
    return of_tracks(world, lambda video, row: row.update(category_id=999))


@plants
def undecodable_mask(world: World) -> Iterable[Place]:
    def cut(video: Row, row: Row) -> None:
        mask = row["segmentations"][present(row)[0]]
        row["segmentations"][present(row)[0]] = {**mask, "counts": mask["counts"][:-2]}

    return of_tracks(world, cut)


@plants
def short_polygon(world: World) -> Iterable[Place]:
    def draw(video: Row, row: Row) -> None:
        row["segmentations"][present(row)[0]] = [[3.0, 4.0, 9.0, 9.0]]

    return of_tracks(world, draw)


@plants
def empty_mask(world: World) -> Iterable[Place]:
    def wipe(video: Row, row: Row) -> None:
        row["segmentations"][present(row)[-1]] = encode(np.zeros((video["height"], video["width"]), bool))

    return of_tracks(world, wipe, 2)


@plants
def empty_track(world: World) -> Iterable[Place]:
    return of_tracks(world, lambda video, row: row.update(segmentations=[None] * video["length"]))


@plants
def invalid_sounding(world: World) -> Iterable[Place]:
    return of_tracks(world, lambda video, row: row.update(sounding=[[2.0, 1.0]]))


@plants
def missing_media(world: World) -> Iterable[Place]:
    for video in world.some(world.videos()):
        yield world.touch(video)
        world.sizes[world.name(video)] = [None] * video["length"]


@plants
def audio_length(world: World) -> Iterable[Place]:
    for video in world.some(world.videos()):
        yield world.touch(video)
        sound = world.clip(video).sound
        assert sound is not None
        world.sounds[world.name(video)] = sound[:-RATE_HZ]


@plants
def frame_size(world: World) -> Iterable[Place]:
    for video in world.some(world.videos()):
        place = world.touch(video)
        entry = world.index[place[0]]
        world.index[place[0]] = replace(entry, width=entry.height, height=entry.width)
        yield place


# --- geometry ---


@plants
def box_mismatch(world: World) -> Iterable[Place]:
    def shift(video: Row, row: Row) -> None:
        boxes: list[Any] = [None] * video["length"]
        k = present(row)[0]
        x, y, w, h = cv2.boundingRect(world.mask(video, row, k).astype(np.uint8))
        boxes[k] = [x + 6, y, w, h]
        row["bboxes"] = boxes

    return of_tracks(world, shift)


def _inner(row: Row) -> list[int]:
    """Frames with a mask and a mask on both sides."""
    masks = row["segmentations"]
    return [k for k in range(1, len(masks) - 1) if masks[k - 1] and masks[k] and masks[k + 1]]


def _at(world: World, row: Row, frames: list[int]) -> int:
    return int(world.random.choice(frames))


@plants
def area_jump(world: World) -> Iterable[Place]:
    """A leak into the background, seven times the object."""
    eligible = []
    for video, row in world.tracks():
        pixels = video["height"] * video["width"]
        frames = [k for k in _inner(row) if world.mask(video, row, k).sum() * 8 < pixels]
        if frames:
            eligible.append((video, row, frames))
    for video, row, frames in world.some(eligible):
        k = _at(world, row, frames)
        mask = world.mask(video, row, k)
        wanted = 7 * mask.sum()
        leak = mask.astype(np.uint8)
        while leak.sum() < wanted:
            leak = cv2.dilate(leak, np.ones((7, 7), np.uint8))
        row["segmentations"][k] = encode(leak.astype(bool))
        yield world.touch(video, row)


def of_frames(
    world: World,
    change: Callable[[np.ndarray], np.ndarray | None],
    frames: Callable[[Row], list[int]] = present,
) -> Iterable[Place]:
    """Change one mask of some tracks; None from `change` says that this one does not suit."""
    eligible = [(video, row) for video, row in world.tracks() if frames(row)]
    for video, row in world.some(eligible):
        k = _at(world, row, frames(row))
        changed = change(world.mask(video, row, k))
        if changed is not None:
            row["segmentations"][k] = encode(changed)
            yield world.touch(video, row)


@plants
def sliver(world: World) -> Iterable[Place]:
    def line(mask: np.ndarray) -> np.ndarray:
        y, x = np.argwhere(mask)[0]
        mask = np.zeros_like(mask)
        mask[y : y + 2, max(0, x - 15) : x + 15] = True
        return mask

    return of_frames(world, line)


@plants
def specks(world: World) -> Iterable[Place]:
    def click(mask: np.ndarray) -> np.ndarray | None:
        far = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) > np.sqrt(mask.sum())
        spots = np.argwhere(far[:-2, :-2])
        if mask.sum() < 2100 or not len(spots):
            return None
        y, x = spots[world.random.integers(len(spots))]
        mask[y : y + 2, x : x + 2] = True
        return mask

    return of_frames(world, click)


@plants
def pinholes(world: World) -> Iterable[Place]:
    def punch(mask: np.ndarray) -> np.ndarray | None:
        inside = np.argwhere(cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
        if len(inside) < 400:
            return None
        for y, x in inside[:: len(inside) // 12]:
            mask[y, x] = False
        return mask

    return of_frames(world, punch, lambda row: present(row) if len(present(row)) >= 3 else [])


@plants
def sudden_hole(world: World) -> Iterable[Place]:
    def cut(mask: np.ndarray) -> np.ndarray | None:
        depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        radius = int(np.sqrt(0.1 * mask.sum() / np.pi))
        if depth.max() < radius + 3 or radius < 3:
            return None
        hole = cv2.circle(np.zeros(mask.shape, np.uint8), (int(x), int(y)), radius, 1, -1)
        return mask & (hole == 0)

    return of_frames(world, cut, _inner)


@plants
def self_intersection(world: World) -> Iterable[Place]:
    """An outline of which two far points were swapped."""
    for video, row in world.some([(v, r) for v, r in world.tracks() if present(r)]):
        k = present(row)[0]
        outlines, _ = cv2.findContours(
            world.mask(video, row, k).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        points = cv2.approxPolyDP(max(outlines, key=cv2.contourArea), 2.0, True)[:, 0].astype(float)
        if len(points) < 6:
            continue
        i = len(points) // 4
        points[[i, i + len(points) // 3]] = points[[i + len(points) // 3, i]]
        row["segmentations"][k] = [points.ravel().tolist()]
        yield world.touch(video, row)


@plants
def mask_on_bar(world: World) -> Iterable[Place]:
    """A letterbox at the lower edge: masks that reach into it were drawn on another crop."""
    for video, rows in world.some([(v, r) for v, r in world.clips() if any(map(present, r))]):
        clip = world.clip(video)
        bar = 0.25
        shown = []
        for picture in clip.pictures:
            assert picture is not None
            dark = picture.copy()
            dark[round((1 - bar) * len(dark)) :] = 0
            shown.append(dark)
        world.pictures[clip.name] = shown
        world.touch(video)
        edge = round((1 - bar) * video["height"])
        for row in rows:
            shares = [
                m[edge:].sum() / m.sum() for k in present(row) if (m := world.mask(video, row, k)).any()
            ]
            if shares and max(shares) > 0.12:
                yield (clip.name, row["id"])


# --- time ---


def _drop(world: World, length: int, sole: bool = True) -> Iterable[Place]:
    """Forget so many masks within a stretch."""
    eligible = []
    for video, rows in world.clips():
        for row in rows:
            frames = [
                k
                for first, last in runs_of(row)
                for k in range(first + 1, last - length + 1)
                if not sole or alone(rows, k - 1, k + length)
            ]
            if frames:
                eligible.append((video, row, frames))
    for video, row, frames in world.some(eligible):
        k = _at(world, row, frames)
        row["segmentations"][k : k + length] = [None] * length
        yield world.touch(video, row)


@plants
def forgotten_frame(world: World) -> Iterable[Place]:
    return _drop(world, 1)


@plants
def gap(world: World) -> Iterable[Place]:
    return _drop(world, 2)


@plants
def flicker(world: World) -> Iterable[Place]:
    eligible = [
        (video, row, run) for video, row in world.tracks() for run in runs_of(row) if run[1] - run[0] >= 6
    ]
    for video, row, (first, _) in world.some(eligible):
        for k in (first + 1, first + 3, first + 5):
            row["segmentations"][k] = None
        yield world.touch(video, row)


@plants
def one_frame_track(world: World) -> Iterable[Place]:
    def keep_one(video: Row, row: Row) -> None:
        kept = present(row)[len(present(row)) // 2]
        row["segmentations"] = [m if k == kept else None for k, m in enumerate(row["segmentations"])]

    return of_tracks(world, keep_one, 2)


@plants
def duplicate_tracks(world: World) -> Iterable[Place]:
    """The same object drawn again, a little larger and moved by two pixels."""
    for video, row in world.some([(v, r) for v, r in world.tracks() if len(present(r)) >= 2]):
        double = {**row, "id": world.new_id(), "segmentations": list(row["segmentations"])}
        for k in present(row):
            mask = cv2.dilate(world.mask(video, row, k).astype(np.uint8), np.ones((3, 3), np.uint8))
            double["segmentations"][k] = encode(np.roll(mask, 2, axis=1).astype(bool))
        next(d for d in world.documents.values() if video in d["videos"])["annotations"].append(double)
        yield world.touch(video, double)


@plants
def identity_switch(world: World) -> Iterable[Place]:
    """Two tracks of one clip change places from some frame on."""
    eligible = []
    for video, rows in world.clips():
        for i, one in enumerate(rows):
            for other in rows[i + 1 :]:
                both = sorted(set(present(one)) & set(present(other)))
                frames = [k for k in both if k - 1 in both]
                if frames:
                    eligible.append((video, one, other, frames))
    for video, one, other, frames in world.some(eligible):
        k = _at(world, one, frames)
        mine, theirs = one["segmentations"], other["segmentations"]
        mine[k:], theirs[k:] = theirs[k:], mine[k:]
        world.touch(video, one)
        yield world.touch(video, other)


@plants
def identity_handover(world: World) -> Iterable[Place]:
    """A track gets a new number half way through a stretch."""
    eligible = [(v, r, run) for v, r in world.tracks() for run in runs_of(r) if run[1] - run[0] >= 3]
    for video, row, (first, last) in world.some(eligible):
        k = (first + last) // 2
        rest = {**row, "id": world.new_id()}
        rest["segmentations"] = [None] * k + row["segmentations"][k:]
        row["segmentations"] = row["segmentations"][:k] + [None] * (video["length"] - k)
        next(d for d in world.documents.values() if video in d["videos"])["annotations"].append(rest)
        world.touch(video, row)
        yield world.touch(video, rest)


@plants
def frozen_mask(world: World) -> Iterable[Place]:
    """A mask copied forward for three frames while its object moves on."""
    eligible = []
    for video, row in world.tracks():
        for first, last in runs_of(row):
            for k in range(first, last - 2):
                one, other = world.mask(video, row, k), world.mask(video, row, k + 3)
                if (one & other).sum() < 0.6 * (one | other).sum():
                    eligible.append((video, row, k))
                    break
    for video, row, k in world.some(eligible):
        row["segmentations"][k + 1 : k + 4] = [row["segmentations"][k]] * 3
        yield world.touch(video, row)


# --- sound ---


def _sound(world: World, video: Row) -> np.ndarray:
    sound = world.clip(video).sound
    assert sound is not None
    return sound.copy()


def _noise(world: World, samples: int) -> np.ndarray:
    """What a microphone hears of nothing: -72 dB of full scale."""
    return (world.random.standard_normal(samples) * 8).astype(np.int16)


@plants
def silent_audio(world: World) -> Iterable[Place]:
    for video in world.some(world.videos()):
        place = world.touch(video)
        world.sounds[place[0]] = _noise(world, video["length"] * RATE_HZ)
        yield place


@plants
def sounding_in_silence(world: World) -> Iterable[Place]:
    """The sound ends two seconds before the masks do."""
    eligible = []
    for video, rows in world.clips():
        for row in rows:
            long = [run for run in runs_of(row) if run[1] - run[0] >= 4]
            if long and video["length"] >= 6:
                eligible.append((video, rows, long[-1]))
                break
    for video, rows, (_, last) in world.some(eligible):
        sound = _sound(world, video)
        part = slice((last - 1) * RATE_HZ, (last + 1) * RATE_HZ)
        sound[part] = _noise(world, 2 * RATE_HZ)
        place = world.touch(video)
        world.sounds[place[0]] = sound
        yield from (
            (place[0], row["id"])
            for row in rows
            if row["segmentations"][last] or row["segmentations"][last - 1]
        )


@plants
def sound_without_label(world: World) -> Iterable[Place]:
    """All masks of two loud seconds forgotten."""
    eligible = []
    for video, rows in world.clips():
        level = world.clip(video).usual_level_dbfs
        assert level is not None
        frames = [
            k
            for row in rows
            for first, last in runs_of(row)
            for k in range(first, last)
            if min(level[k], level[k + 1]) > -30
        ]
        if frames:
            eligible.append((video, rows, frames))
    for video, rows, frames in world.some(eligible):
        k = int(world.random.choice(frames))
        for row in rows:
            row["segmentations"][k : k + 2] = [None, None]
            world.touch(video, row)
        yield (world.name(video), None)


@plants
def shifted_sound(world: World) -> Iterable[Place]:
    """The clip was cut at another second than the annotated one: sound three seconds late."""
    eligible = []
    for video, rows in world.clips():
        labelled = np.array([any(row["segmentations"][k] for row in rows) for k in range(video["length"])])
        heard = ~world.clip(video).silent(20.0)
        moved = np.roll(heard, 3)
        # with noise in place of silence, or sound throughout, no ear could tell either
        if (heard == labelled).mean() > 0.9 and (moved != labelled).mean() > 0.4 and (~heard).sum() >= 3:
            eligible.append(video)
    for video in world.some(eligible):
        place = world.touch(video)
        world.sounds[place[0]] = np.roll(_sound(world, video), 3 * RATE_HZ)
        yield place


@plants
def constant_shift(world: World) -> Iterable[Place]:
    """Frames were counted from another one than the clip's first: all masks two frames late."""
    eligible = [
        (video, rows)
        for video, rows in world.clips()
        if len({k for row in rows for k in present(row) if k + 2 < video["length"]}) >= 6
    ]
    for video, rows in world.some(eligible):
        for row in rows:
            row["segmentations"] = [None, None, *row["segmentations"][:-2]]
            world.touch(video, row)
        yield world.touch(video)


@plants
def clipped_audio(world: World) -> Iterable[Place]:
    for video in world.some([video for video, rows in world.clips() if any(map(present, rows))]):
        place = world.touch(video)
        sound = _sound(world, video).astype(np.float64)
        loud = np.percentile(np.abs(sound), 97) + 1
        world.sounds[place[0]] = np.clip(sound * 40_000 / loud, -32768, 32767).astype(np.int16)
        yield place


@plants
def sounding_mismatch(world: World) -> Iterable[Place]:
    """Intervals right to 0.3 s for every track, one stretch of a track missing."""
    for video, row in world.tracks():
        if present(row):
            row["sounding"] = [
                [
                    max(0.0, first - float(world.random.uniform(0, 0.3))),
                    last + 1 - float(world.random.uniform(0, 0.3)),
                ]
                for first, last in runs_of(row)
            ]
            world.touch(video, row)
    for video, row in world.some([(v, r) for v, r in world.tracks() if present(r)]):
        row["sounding"].pop()
        yield world.touch(video, row)


@plants
def onset_without_label(world: World) -> Iterable[Place]:
    """A sound that sets in after silence, with nothing labelled around it."""
    eligible = []
    for video, rows in world.clips():
        silent = world.clip(video).silent(20.0)
        level = world.clip(video).level_dbfs
        assert level is not None
        for row in rows:
            for first, _ in runs_of(row):
                if first >= 1 and silent[first - 1] and level[first] - level[first - 1] > 30:
                    eligible.append((video, rows, first))
    for video, rows, first in world.some(eligible):
        for row in rows:
            for k in range(max(0, first - 2), min(video["length"], first + 3)):
                row["segmentations"][k] = None
            world.touch(video, row)
        yield (world.name(video), None)


@plants
def label_beyond_sound(world: World) -> Iterable[Place]:
    """The sound has faded by 26 dB three seconds before the only mask goes."""
    eligible = []
    for video, rows in world.clips():
        level = world.clip(video).level_dbfs
        assert level is not None
        for row in rows:
            for first, last in runs_of(row):
                before = level[first : last - 2]
                if last - first >= 6 and alone(rows, first, last) and before.min() > before.max() - 10:
                    eligible.append((video, row, last))
    for video, row, last in world.some(eligible):
        sound = _sound(world, video)
        part = slice((last - 2) * RATE_HZ, (last + 1) * RATE_HZ)
        sound[part] = (sound[part] * 0.05).astype(np.int16)
        place = world.touch(video, row)
        world.sounds[place[0]] = sound
        yield place


@plants
def audio_dropout(world: World) -> Iterable[Place]:
    """A third of a second missing in a loud one."""
    for video in world.some(world.videos()):
        level = world.clip(video).usual_level_dbfs
        assert level is not None
        k = int(np.argmax(level[:-1]))
        if level[k] < -35:
            continue
        sound = _sound(world, video)
        sound[k * RATE_HZ + 4000 : k * RATE_HZ + 9000] = 0
        place = world.touch(video)
        world.sounds[place[0]] = sound
        yield place


# --- media ---


def _show(world: World, change: Callable[[list[np.ndarray], int], None]) -> Iterable[Place]:
    for video in world.some(world.videos()):
        shown = [picture.copy() for picture in world.clip(video).pictures if picture is not None]
        change(shown, int(world.random.integers(1, len(shown) - 2)))
        place = world.touch(video)
        world.pictures[place[0]] = shown
        yield place


@plants
def black_frame(world: World) -> Iterable[Place]:
    def darken(shown: list[np.ndarray], k: int) -> None:
        shown[k] = shown[k] // 32

    return _show(world, darken)


@plants
def blurred_frame(world: World) -> Iterable[Place]:
    def blur(shown: list[np.ndarray], k: int) -> None:
        shown[k] = cv2.GaussianBlur(shown[k], (0, 0), 3)

    return _show(world, blur)


@plants
def frozen_frames(world: World) -> Iterable[Place]:
    def freeze(shown: list[np.ndarray], k: int) -> None:
        shown[k + 1] = shown[k].copy()  # codecs skip what does not change: it is the same to the pixel

    return _show(world, freeze)


def _pairs(world: World) -> list[tuple[Row, Row]]:
    """Clips to copy, and clips that become the copies."""
    videos = world.videos()
    order = world.random.permutation(len(videos))
    half = len(videos) // 2
    pairs = [(videos[a], videos[b]) for a, b in zip(order[:half], order[half:], strict=False)]
    return world.some(pairs, least=6)


@plants
def near_duplicate_video(world: World) -> Iterable[Place]:
    """A re-upload: cropped by 4 %, brighter, coded again, and cut one second later."""
    for original, copied in _pairs(world):
        shown = [picture for picture in world.clip(original).pictures if picture is not None]
        made = []
        for k in range(copied["length"]):
            picture = shown[(k + 1) % len(shown)]
            height, width = picture.shape
            cut = picture[round(0.04 * height) :, : round(0.96 * width)]
            cut = np.clip(cv2.resize(cut, (width, height)).astype(int) + 12, 0, 255).astype(np.uint8)
            _, data = cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 60])
            made.append(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
        world.touch(original)
        place = world.touch(copied)
        world.pictures[place[0]] = made
        yield place


@plants
def reused_sound(world: World) -> Iterable[Place]:
    """One recording under two videos: softer, half a second later, with noise."""
    for original, copied in _pairs(world):
        level = world.clip(original).usual_level_dbfs
        if level is None or (level > -45).mean() < 0.5:
            continue
        sound = np.roll(_sound(world, original), RATE_HZ // 2)
        sound = np.resize(sound, copied["length"] * RATE_HZ)
        place = world.touch(copied)
        world.touch(original)
        world.sounds[place[0]] = (0.6 * sound + _noise(world, len(sound))).astype(np.int16)
        yield place


# --- set ---


@plants
def source_leakage(world: World) -> Iterable[Place]:
    ids = [f"avis{number:07d}" for number in range(100)]
    for number, (one, other) in enumerate(
        world.some(
            list(zip(world.documents["train"]["videos"], world.documents["test"]["videos"], strict=False))
        )
    ):
        for video, part in ((one, "00.00.00.000-00.00.10.000"), (other, "00.00.20.000-00.00.30.000")):
            name = f"{ids[number]}-{part}"
            video["file_names"] = [f"{name}/{k:05d}.jpg" for k in range(video["length"])]
        yield (world.name(other), None)


@plants
def duplicate_clip(world: World) -> Iterable[Place]:
    for original, copied in _pairs(world):
        one, other = world.name(original), world.name(copied)
        world.index[other] = replace(world.index[other], frames_sha256=world.index[one].frames_sha256)
        yield (other, None)


# --- counting ---


@dataclass(frozen=True)
class Reached:
    """What a check reached: planted and found places, findings, and those of them that were planted."""

    planted: int
    found: int
    findings: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.findings if self.findings else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else 1.0


class Calibration:
    """A clean set, and what the checks say about it as it is."""

    def __init__(self, paths: Paths, scratch: Path, rate: float, seed: int) -> None:
        self.paths, self.scratch, self.rate, self.seed = paths, scratch, rate, seed
        self.checks = {check.name: check for check in chosen_checks(QaParams())}
        world = self._world("")
        self.clean: dict[str, list[Finding]] = {}
        self.facts: dict[str, ClipFacts] = {}
        documents = self._documents(world)
        for document in documents.values():
            for item in document.clips:
                clip = Clip(item)
                self.clean[clip.name] = [f for check in self.checks.values() for f in check.check(clip)]
                self.facts[clip.name] = self._remember(clip, list(self.checks.values()))
        dataset = Dataset(documents, world.index, list(self.facts.values()))
        self.clean_set = [f for check in self.checks.values() for f in check.check_set(dataset)]

    def false_alarms(self, name: str) -> int:
        """What a check finds in the set as it is."""
        of_clips = sum(finding.check == name for found in self.clean.values() for finding in found)
        return of_clips + sum(finding.check == name for finding in self.clean_set)

    def reach(self, name: str) -> Reached:
        """Plant what the check `name` looks for, and count."""
        world = self._world(name)
        places = set(PLANTERS[name](world))
        documents = self._documents(world)
        check = self.checks[name]
        findings: list[Finding] = []
        facts = []
        for document in documents.values():
            for item in document.clips:
                if item.name in world.changed:
                    clip = world.dressed(Clip(item))
                    findings += check.check(clip)
                    facts.append(self._remember(clip, [check]))
                else:
                    findings += [f for f in self.clean.get(item.name, []) if f.check == name]
                    facts.append(self.facts.get(item.name) or self._remember(Clip(item), [check]))
        findings += check.check_set(Dataset(documents, world.index, facts))
        named = [self._places(finding, places) for finding in findings]
        return Reached(
            planted=len(places),
            found=len(set().union(*named)),
            findings=len(findings),
            right=sum(bool(of_finding) for of_finding in named),
        )

    def _places(self, finding: Finding, places: set[Place]) -> set[Place]:
        """The planted places that a finding is about; one about several clips names them in its message."""
        if (finding.video, finding.track) in places:
            return {(finding.video, finding.track)}
        if finding.check in ("near_duplicate_video", "reused_sound", "duplicate_clip", "source_leakage"):
            return {place for place in places if f"/{place[0]}" in finding.message}
        return set()

    def _remember(self, clip: Clip, checks: list[Check]) -> ClipFacts:
        facts = facts_of(clip)
        facts.remembered = {c.name: memory for c in checks if (memory := c.remember(clip)) is not None}
        return facts

    def _world(self, name: str) -> World:
        seed = [self.seed, *name.encode()]
        documents = {
            split: json.loads((self.paths.annotations / f"{split}.json").read_bytes()) for split in SPLITS
        }
        index = dict(read_media_index(self.paths.media / "index.parquet"))
        random = np.random.default_rng(seed)
        return World(copy.deepcopy(documents), index, self.paths.media, random, self.rate)

    def _documents(self, world: World) -> dict[str, Any]:
        documents = {}
        for split in SPLITS:
            path = self.scratch / f"{split}.json"
            path.write_text(json.dumps(world.documents[split]))
            documents[split] = read_split(path, split, self.paths.media, world.index)
        return documents
