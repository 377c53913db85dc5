"""Drafts: tracks of a model, or of prompts, as annotations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.clips.index import MediaEntry
from components.core.clips.reader import read_frame
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import bounding_box, encode, is_empty
from components.core.records.results import Result
from components.core.run.errors import AvisError
from components.core.video.frame_prompt import FramePrompt
from components.tools.preannotate.prompts import TrackPrompts

Follow = Callable[
    [Sequence[NDArray[np.uint8]], Sequence[dict[int, FramePrompt]]], list[list[NDArray[np.bool_] | None]]
]


@dataclass(frozen=True, slots=True)
class DraftTrack:
    """An object of a draft; per frame an RLE or None. score: None where people gave the object."""

    category: str
    segmentations: list[dict[str, object] | None]
    score: float | None = None


def video_of(number: int, entry: MediaEntry) -> Video:
    """A clip of the media index as annotations name it."""
    files = [f"{entry.video_id}/{k:05d}.jpg" for k in range(entry.frames)]
    return Video(number, entry.video_id, files, entry.frames, entry.height, entry.width)


def of_results(results: Sequence[Result], categories: dict[int, str]) -> list[DraftTrack]:
    """A model's tracks of one clip; empty masks become None."""
    return [
        DraftTrack(
            categories[result.category_id],
            [None if is_empty(mask) else mask for mask in result.segmentations],
            result.score,
        )
        for result in results
    ]


def refined(
    tracks: Sequence[DraftTrack], frames: Sequence[NDArray[np.uint8]], follow: Follow
) -> list[DraftTrack]:
    """The tracks with the masks that a SAM-family model makes of their boxes.

    The box on the middle frame of each stretch of sound is the prompt. When an object sounds, the model that
    hears has said: frames without a mask stay without.
    """
    prompts = []
    for track in tracks:
        boxes: dict[int, FramePrompt] = {}
        for first, last in _stretches(track.segmentations):
            middle = (first + last) // 2
            box = bounding_box(track.segmentations[middle])
            assert box is not None  # noqa: S101 - a stretch has masks
            left, top, width, height = box
            boxes[middle] = FramePrompt((left, top, left + width, top + height))
        prompts.append(boxes)
    found = []
    for track, masks in zip(tracks, follow(frames, prompts), strict=True):
        segmentations = [
            None if old is None else (old if mask is None else encode(mask))
            for old, mask in zip(track.segmentations, masks, strict=True)
        ]
        found.append(DraftTrack(track.category, segmentations, track.score))
    return found


def prompted(
    prompts: dict[str, TrackPrompts], frames: Sequence[NDArray[np.uint8]], follow: Follow, where: str
) -> list[DraftTrack]:
    """The tracks that a SAM-family model makes of boxes and points.

    Raises:
        AvisError: a prompt lies on a frame that the clip does not have, or outside the picture.
    """
    height, width = frames[0].shape[:2]
    for name, track in prompts.items():
        for frame, prompt in track.frames.items():
            at = f"{where}, track {name}, frame {frame}"
            if frame >= len(frames):
                raise AvisError(f"The clip has {len(frames)} frames, counted from 0", where=at)
            corners = [prompt.box[:2], prompt.box[2:]] if prompt.box else []
            for x, y in [*corners, *((x, y) for x, y, _ in prompt.points)]:
                if not (0 <= x <= width and 0 <= y <= height):
                    raise AvisError(f"{x:g}, {y:g} lies outside the picture of {width}x{height}", where=at)
    masks = follow(frames, [track.frames for track in prompts.values()])
    return [
        DraftTrack(track.category, [None if mask is None else encode(mask) for mask in of_track])
        for track, of_track in zip(prompts.values(), masks, strict=True)
    ]


def _stretches(segmentations: Sequence[object]) -> list[tuple[int, int]]:
    """First and last frame of each run of frames with a mask."""
    runs: list[tuple[int, int]] = []
    for k, segmentation in enumerate(segmentations):
        if segmentation is None:
            continue
        if runs and runs[-1][1] == k - 1:
            runs[-1] = runs[-1][0], k
        else:
            runs.append((k, k))
    return runs


def read_frames(media: Path, video: Video) -> list[NDArray[np.uint8]]:
    """All pictures of a clip, RGB [H, W, 3]."""
    return [read_frame(media, video, k) for k in range(video.length)]


def annotation_set(
    clips: Sequence[tuple[Video, Sequence[DraftTrack]]], categories: dict[int, str]
) -> AnnotationSet:
    """The drafts of several clips as annotations; categories that prompts bring are added."""
    ids = {name: number for number, name in categories.items()}
    tracks: list[Track] = []
    for video, drafts in clips:
        for draft in drafts:
            category = ids.setdefault(draft.category, max(ids.values(), default=0) + 1)
            tracks.append(Track(len(tracks) + 1, video.id, category, list(draft.segmentations)))
    return AnnotationSet(
        {number: name for name, number in ids.items()}, [video for video, _ in clips], tracks
    )
