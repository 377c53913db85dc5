"""Media: are the frames fit to be looked at."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from components.qa.checked_clip import Clip
from components.qa.checks import Check, runs
from components.qa.findings import Finding, Severity


class UnreadableFrame(Check):
    name = "unreadable_frame"
    group = "media"
    severity: Severity = "blocking"
    explanation = (
        "The frame's JPEG has a beginning and an end, and between them nothing that shows a picture."
    )
    fix = "Delete the file; the extract stage makes it again."

    def check(self, clip: Clip) -> Iterator[Finding]:
        unreadable = [
            k for k, size in enumerate(clip.frame_sizes) if size is not None and clip.picture(k) is None
        ]
        for first, last in runs(unreadable):
            yield self.found(
                f"{clip.frame_path(first).name} cannot be decoded", clip, frame=first, last_frame=last
            )


class BlackFrame(Check):
    name = "black_frame"
    group = "media"
    severity: Severity = "warning"
    threshold = 12.0
    unit = "gray levels"
    explanation = "Nearly every pixel of the frame is darker than the threshold."
    fix = "Leave the clip out, or choose another range of the video."

    def check(self, clip: Clip) -> Iterator[Finding]:
        black = [
            k
            for k, picture in enumerate(clip.pictures)
            if picture is not None and float(np.percentile(picture, 98)) < self.limit
        ]
        for first, last in runs(black):
            yield self.found("the frame is black", clip, frame=first, last_frame=last)


class BlurredFrame(Check):
    name = "blurred_frame"
    group = "media"
    severity: Severity = "info"
    threshold = 0.2
    unit = "sharpness against the clip's median"
    explanation = "The frame is far less sharp than the clip's other frames: a fast pan, or lost focus."
    fix = "Nothing is needed for a few; masks on such frames are often poor."

    def check(self, clip: Clip) -> Iterator[Finding]:
        sharpness = {k: _sharpness(picture) for k, picture in enumerate(clip.pictures) if picture is not None}
        if len(sharpness) < 3:
            return
        usual = float(np.median(list(sharpness.values())))
        for first, last in runs(k for k, value in sharpness.items() if 0 < value < self.limit * usual):
            yield self.found(
                f"{sharpness[first] / usual:.0%} of the clip's usual sharpness",
                clip,
                frame=first,
                last_frame=last,
                value=sharpness[first] / usual,
            )


def _sharpness(picture: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian; 0 for a picture of one colour."""
    return float(cv2.Laplacian(picture, cv2.CV_32F).var())


class FrozenFrames(Check):
    name = "frozen_frames"
    group = "media"
    severity: Severity = "info"
    threshold = 1.0
    unit = "gray levels"
    explanation = "Neighbouring frames are the same: a still picture with sound, or a hanging video."
    fix = "Leave out clips that are still throughout."
    block_px = 16  # of the small picture: the change of the liveliest block counts

    def check(self, clip: Clip) -> Iterator[Finding]:
        same = [
            k
            for k in range(1, clip.length)
            if self._change(clip.picture(k - 1), clip.picture(k)) < self.limit
        ]
        for first, last in runs(same):
            yield self.found(
                f"{last - first + 2} frames show the same picture", clip, frame=first - 1, last_frame=last
            )

    def _change(self, before: NDArray[np.uint8] | None, after: NDArray[np.uint8] | None) -> float:
        """The largest mean difference over blocks, in gray levels."""
        if before is None or after is None or before.shape != after.shape:
            return 255.0
        if after.max() <= 16:
            return 255.0  # black: said by black_frame
        difference = cv2.absdiff(before, after)
        blocks = max(1, difference.shape[1] // self.block_px), max(1, difference.shape[0] // self.block_px)
        return float(cv2.resize(difference.astype(np.float32), blocks, interpolation=cv2.INTER_AREA).max())
