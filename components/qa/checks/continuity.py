"""Time: what a track does from frame to frame."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, pairwise, permutations

import cv2
import numpy as np

from components.qa.appearance import Colours
from components.qa.checked_clip import Clip, Crop, Track, iou
from components.qa.checks import Check, runs
from components.qa.findings import Finding, Severity


def _gaps(track: Track) -> list[int]:
    """Frames without a mask between two frames with one."""
    return [
        k
        for k in range(1, len(track.crops) - 1)
        if track.crops[k] is None
        and track.crops[k - 1] is not None
        and track.crops[k + 1] is not None
        and k not in track.undecodable
    ]


class ForgottenFrame(Check):
    name = "forgotten_frame"
    group = "time"
    severity: Severity = "warning"
    threshold = 6.0
    unit = "dB"
    explanation = (
        "The only labelled object misses one frame, is much the same before and after, and the sound "
        "goes on as loud as around it (to within the threshold). With several sources loudness cannot tell."
    )
    fix = "Draw the mask of this frame, unless the object really paused."

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.level_dbfs is None:
            return
        for track in clip.tracks:
            for k in _gaps(track):
                if clip.labelled[k - 1 : k + 2].tolist() != [1, 0, 1]:
                    continue
                drop = min(clip.level_dbfs[k - 1], clip.level_dbfs[k + 1]) - clip.level_dbfs[k]
                if drop < self.limit and _likeness(track.crops[k - 1], track.crops[k + 1]) > 0.6:
                    message = "no mask for one frame, though the sound goes on"
                    yield self.found(message, clip, track=track.id, frame=k, value=float(drop))


class Flicker(Check):
    name = "flicker"
    group = "time"
    severity: Severity = "warning"
    threshold = 3.0
    unit = "gaps of one frame"
    explanation = "The track goes on and off from frame to frame more often than sounds do."
    fix = "Look through the track: fill the gaps, or remove the stray masks."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            gaps = _gaps(track)
            if len(gaps) >= self.limit:
                message = f"{len(gaps)} gaps of one frame each"
                yield self.found(
                    message,
                    clip,
                    track=track.id,
                    frame=gaps[0],
                    last_frame=gaps[-1],
                    value=float(len(gaps)),
                )


class OneFrameTrack(Check):
    name = "one_frame_track"
    group = "time"
    severity: Severity = "info"
    explanation = "The track has a mask on a single frame: a slip, or a short bark or horn."
    fix = "Listen to that second; remove the track, or join it to the track it belongs to."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            if len(track.present) == 1:
                yield self.found("one single mask", clip, track=track.id, frame=track.present[0])


class DuplicateTracks(Check):
    name = "duplicate_tracks"
    group = "time"
    severity: Severity = "warning"
    threshold = 0.7
    unit = "intersection over union"
    explanation = "Two tracks cover the same object: it would be counted twice."
    fix = "Keep one of the two, or join them."

    def check(self, clip: Clip) -> Iterator[Finding]:
        told: set[int] = set()  # a track is told once, whatever the number of its doubles
        for one, other in combinations(clip.tracks, 2):
            if other.id in told or one.id in told:
                continue
            common = sorted(set(one.present) & set(other.present))
            doubled = [k for k in common if iou(one.crops[k], other.crops[k]) > self.limit]
            if doubled and len(doubled) >= 0.5 * len(common):
                told.add(other.id)
                overlap = float(np.mean([iou(one.crops[k], other.crops[k]) for k in doubled]))
                yield self.found(
                    f"covers the same object as track {one.id} ({overlap:.0%} overlap)",
                    clip,
                    track=other.id,
                    frame=doubled[0],
                    last_frame=doubled[-1],
                    value=overlap,
                )


class IdentitySwitch(Check):
    name = "identity_switch"
    group = "time"
    severity: Severity = "warning"
    threshold = 0.4
    unit = "gained in place, shape and colour by exchanging the two; 3 at most"
    explanation = (
        "Two tracks seem to change places, from one frame to the next or across a pause: exchanged, the "
        "masks would lie nearer to those before, with a shape and colours more like theirs."
    )
    fix = "Exchange the two tracks' masks from this frame on."
    farthest = 10  # frames from the last masks before to the first after; then place and shape mean little

    def check(self, clip: Clip) -> Iterator[Finding]:
        colours = Colours(clip)
        for one, other in combinations(clip.tracks, 2):
            gains = self._gains(colours, one, other)
            for first, last in runs(sorted(gains)):
                k = max(range(first, last + 1), key=lambda frame: gains[frame])
                message = f"seems to change places with track {one.id}"
                yield self.found(message, clip, track=other.id, frame=k, value=gains[k])

    def _gains(self, colours: Colours, one: Track, other: Track) -> dict[int, float]:
        """By frame: what is gained if both tracks' masks from there on were exchanged, where it is enough."""
        gains = {}
        for k in sorted({*one.present, *other.present}):
            mine, theirs = _step(one, k), _step(other, k)
            if mine is None or theirs is None:
                continue
            (a, b), (c, d) = mine, theirs
            if max(b, d) - min(a, c) > self.farthest or k != min(b, d):
                continue
            gain = _exchange_gain(colours, (one, a, b), (other, c, d), self.limit)
            if gain > self.limit:
                gains[k] = gain
        return gains


def _step(track: Track, k: int) -> tuple[int, int] | None:
    """The last frame with a mask before k, and the first from k on."""
    number = bisect_left(track.present, k)
    return (track.present[number - 1], track.present[number]) if 0 < number < len(track.present) else None


def _exchange_gain(
    colours: Colours, one: tuple[Track, int, int], other: tuple[Track, int, int], limit: float
) -> float:
    """How much better two tracks' steps go together when what comes after is exchanged: -3 to 3."""
    before = [(track.crops[k], k) for track, k, _ in (one, other)]
    after = [(track.crops[k], k) for track, _, k in (one, other)]
    kept, exchanged = [(0, 0), (1, 1)], [(0, 1), (1, 0)]

    def total(pairs: list[tuple[int, int]], measure: Callable[[Crop, int, Crop, int], float]) -> float:
        crops = [(*before[i], *after[j]) for i, j in pairs]
        return sum(measure(a, k, b, j) for a, k, b, j in crops if a is not None and b is not None)

    def relative(measure: Callable[[Crop, int, Crop, int], float], least: float) -> float:
        mine, theirs = total(kept, measure), total(exchanged, measure)
        return (mine - theirs) / (mine + theirs + least)

    def alike(a: Crop, k: int, b: Crop, j: int) -> float:
        return iou(replace(a, x=0, y=0), replace(b, x=0, y=0))

    place = relative(lambda a, k, b, j: float(np.linalg.norm(a.centre - b.centre)), 1e-9)
    gain = place + (total(exchanged, alike) - total(kept, alike)) / 2
    if gain + 1 <= limit:
        return gain  # colours, which cost decoding, could not change it
    return gain + relative(lambda a, k, b, j: colours.distance(a, k, b, j) or 0.0, 0.1)


class IdentityHandover(Check):
    name = "identity_handover"
    group = "time"
    severity: Severity = "warning"
    threshold = 0.3
    unit = "distance of the colours under the masks"
    explanation = (
        "A track ends and within three frames another of the same category begins where it was, with "
        "the same shape and colours: one object with two identities, one after the other."
    )
    fix = "Join the two tracks."
    farthest_frames = 3
    farthest = 1.0  # square roots of the area between the centres, for one frame
    least_alike = 0.45  # intersection over union of the shapes

    def check(self, clip: Clip) -> Iterator[Finding]:
        colours = Colours(clip)
        for one, other in permutations(clip.tracks, 2):
            if not one.present or not other.present or one.category != other.category:
                continue
            k, j = one.present[-1], other.present[0]
            a, b = one.crops[k], other.crops[j]
            if a is None or b is None or not 0 < j - k <= self.farthest_frames:
                continue
            away = float(np.linalg.norm(a.centre - b.centre)) / np.sqrt(min(a.area, b.area))
            alike = iou(replace(a, x=0, y=0), replace(b, x=0, y=0))
            if away > self.farthest * np.sqrt(j - k) or alike < self.least_alike:
                continue
            distance = colours.distance(a, k, b, j)
            if distance is not None and distance < self.limit:
                message = f"begins where track {one.id} of the same category ends"
                yield self.found(message, clip, track=other.id, frame=j, value=distance)


class Gap(Check):
    name = "gap"
    group = "time"
    severity: Severity = "info"
    threshold = 6.0
    unit = "dB"
    explanation = (
        "The only labelled object has no mask for two to five frames, and what is heard there sounds as on "
        "both sides: as loud (to within the threshold) and with the same spectrum. It finds 9 of 10 planted "
        "gaps; of what it finds every second was planted: the same sound from off screen looks alike."
    )
    fix = "Draw the masks of these frames, unless another source sounds there."
    longest = 5  # frames
    farthest_db = 3.0  # mean difference of the bands, their loudness taken out

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.level_dbfs is None or clip.spectrum_db is None:
            return
        for track in clip.tracks:
            for before, after in pairwise(track.present):
                first, last = before + 1, after - 1
                labelled = clip.labelled[before : after + 1]
                if not 1 < last - first + 1 <= self.longest or labelled.sum() != 2 or labelled[0] != 1:
                    continue
                sides = min(clip.level_dbfs[before], clip.level_dbfs[after])
                drop = float(np.max(sides - clip.level_dbfs[first : last + 1]))
                usual = (clip.spectrum_db[before] + clip.spectrum_db[after]) / 2
                spread = np.abs(clip.spectrum_db[first : last + 1] - usual).mean(axis=1).max()
                if drop < self.limit and spread < self.farthest_db:
                    message = f"no mask for {last - first + 1} frames, though the same sound goes on"
                    yield self.found(message, clip, track=track.id, frame=first, last_frame=last, value=drop)


def _likeness(one: Crop | None, other: Crop | None) -> float:
    """Overlap of two masks in place, plus that with the boxes' corners laid on each other: 0 to 2."""
    if one is None or other is None:
        return 0.0
    return iou(one, other) + iou(replace(one, x=0, y=0), replace(other, x=0, y=0))


class FrozenMask(Check):
    name = "frozen_mask"
    group = "time"
    severity: Severity = "warning"
    threshold = 10.0
    unit = "gray levels of change under the mask"
    explanation = (
        "The mask stays the same to the pixel for three frames or more while the picture under it changes: "
        "copied forward and not corrected."
    )
    fix = "Draw the masks of these frames."
    shortest = 3  # frames

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            start = 0
            for k in range(1, clip.length + 1):
                if k < clip.length and _same(track.crops[k - 1], track.crops[k]):
                    continue
                crop = track.crops[start]
                if crop is not None and k - start >= self.shortest:
                    change = _change_under(clip, crop, start, k - 1)
                    if change > self.limit:
                        message = f"the same mask for {k - start} frames over a moving picture"
                        yield self.found(
                            message, clip, track=track.id, frame=start, last_frame=k - 1, value=change
                        )
                start = k


def _same(one: Crop | None, other: Crop | None) -> bool:
    if one is None or other is None:
        return False
    return one.box == other.box and bool(np.array_equal(one.pixels, other.pixels))


def _change_under(clip: Clip, crop: Crop, first: int, last: int) -> float:
    """Median over the frames of the mean change, in gray levels, between neighbours inside the mask."""
    changes = []
    for k in range(first, last):
        before, after = clip.picture(k), clip.picture(k + 1)
        if before is None or after is None or before.shape != after.shape:
            continue
        mask = np.zeros((clip.height, clip.width), dtype=np.uint8)
        mask[crop.y : crop.box[3], crop.x : crop.box[2]] = crop.pixels
        small = cv2.resize(mask, before.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
        if small.any():
            changes.append(float(cv2.absdiff(before, after)[small].mean()))
    return float(np.median(changes)) if changes else 0.0
