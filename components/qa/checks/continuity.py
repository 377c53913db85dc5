"""Time: what a track does from frame to frame."""

from dataclasses import replace
from itertools import combinations, pairwise

import cv2
import numpy as np

from components.qa.checks import Check
from components.qa.clip import Clip, Crop, Track, iou
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

    def check(self, clip: Clip) -> list[Finding]:
        if clip.level_dbfs is None:
            return []
        findings = []
        for track in clip.tracks:
            for k in _gaps(track):
                if clip.labelled[k - 1 : k + 2].tolist() != [1, 0, 1]:
                    continue
                drop = min(clip.level_dbfs[k - 1], clip.level_dbfs[k + 1]) - clip.level_dbfs[k]
                if drop < self.limit and _likeness(track.crops[k - 1], track.crops[k + 1]) > 0.6:
                    message = "no mask for one frame, though the sound goes on"
                    findings.append(self.found(message, clip, track=track.id, frame=k, value=float(drop)))
        return findings


class Flicker(Check):
    name = "flicker"
    group = "time"
    severity: Severity = "warning"
    threshold = 3.0
    unit = "gaps of one frame"
    explanation = "The track goes on and off from frame to frame more often than sounds do."
    fix = "Look through the track: fill the gaps, or remove the stray masks."

    def check(self, clip: Clip) -> list[Finding]:
        findings = []
        for track in clip.tracks:
            gaps = _gaps(track)
            if len(gaps) >= self.limit:
                message = f"{len(gaps)} gaps of one frame each"
                findings.append(
                    self.found(
                        message,
                        clip,
                        track=track.id,
                        frame=gaps[0],
                        last_frame=gaps[-1],
                        value=float(len(gaps)),
                    )
                )
        return findings


class OneFrameTrack(Check):
    name = "one_frame_track"
    group = "time"
    severity: Severity = "info"
    explanation = "The track has a mask on a single frame: a slip, or a short bark or horn."
    fix = "Listen to that second; remove the track, or join it to the track it belongs to."

    def check(self, clip: Clip) -> list[Finding]:
        return [
            self.found("one single mask", clip, track=track.id, frame=track.present[0])
            for track in clip.tracks
            if len(track.present) == 1
        ]


class DuplicateTracks(Check):
    name = "duplicate_tracks"
    group = "time"
    severity: Severity = "warning"
    threshold = 0.7
    unit = "intersection over union"
    explanation = "Two tracks cover the same object: it would be counted twice."
    fix = "Keep one of the two, or join them."

    def check(self, clip: Clip) -> list[Finding]:
        findings = []
        for one, other in combinations(clip.tracks, 2):
            common = sorted(set(one.present) & set(other.present))
            doubled = [k for k in common if iou(one.crops[k], other.crops[k]) > self.limit]
            if doubled and len(doubled) >= 0.5 * len(common):
                overlap = float(np.mean([iou(one.crops[k], other.crops[k]) for k in doubled]))
                findings.append(
                    self.found(
                        f"covers the same object as track {one.id} ({overlap:.0%} overlap)",
                        clip,
                        track=other.id,
                        frame=doubled[0],
                        last_frame=doubled[-1],
                        value=overlap,
                    )
                )
        return findings


class IdentitySwitch(Check):
    name = "identity_switch"
    group = "time"
    severity: Severity = "warning"
    threshold = 0.3
    unit = "likeness gained by exchanging the two"
    explanation = (
        "From one frame to the next two tracks seem to change places: exchanged, their masks would be "
        "more like those before, in place and shape. Needs both tracks on both frames."
    )
    fix = "Exchange the two tracks' masks from this frame on."

    def check(self, clip: Clip) -> list[Finding]:
        findings = []
        for one, other in combinations(clip.tracks, 2):
            both = sorted(set(one.present) & set(other.present))
            for k, after in pairwise(both):
                if after != k + 1:
                    continue
                kept = _likeness(one.crops[k], one.crops[after])
                kept += _likeness(other.crops[k], other.crops[after])
                exchanged = _likeness(one.crops[k], other.crops[after])
                exchanged += _likeness(other.crops[k], one.crops[after])
                gain = (exchanged - kept) / 2
                if gain > self.limit:
                    message = f"seems to change places with track {one.id}"
                    findings.append(self.found(message, clip, track=other.id, frame=after, value=gain))
        return findings


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

    def check(self, clip: Clip) -> list[Finding]:
        findings = []
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
                        findings.append(
                            self.found(
                                message, clip, track=track.id, frame=start, last_frame=k - 1, value=change
                            )
                        )
                start = k
        return findings


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
