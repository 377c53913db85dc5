"""Pictures of the same test clips for every model, so that MLflow shows models side by side: some frames of a
clip, the true masks above, the predicted ones below."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.core.records.annotations import Video
from components.core.records.masks import decode
from components.core.reports.overlay import OverlayTrack, Picture, draw_masks
from components.core.run.errors import AvisError
from components.evaluate.films import FilmSource, overlay_tracks

_CLIPS, _FRAMES = 6, 2
_HEIGHT_PX = 240  # of a frame; MLflow makes thumbnails of the whole, 256 pixels wide
_KEY_CHARACTERS = re.compile(r"[^\w\-. ]", re.ASCII)  # MLflow allows no others


def write_stills(folder: Path, source: FilmSource, *, score_threshold: float) -> dict[str, Path]:
    """Write a picture for each of some clips, evenly spread over the test clips' names.

    Args:
        folder: there must be one.
        score_threshold: tracks with a lower score are left out.

    Returns:
        the pictures by the clip's name; clips whose frames cannot be read are left out.
    """
    videos = sorted(source.annotations.videos, key=lambda video: video.name)
    written: dict[str, Path] = {}
    for place in _spread(len(videos), _CLIPS):
        video = videos[place]
        try:
            picture = _draw(source, video, score_threshold)
        except AvisError:
            continue
        name = _KEY_CHARACTERS.sub("_", video.name)
        written[name] = folder / f"{place}.png"
        _write(written[name], picture)
    return written


def _draw(source: FilmSource, video: Video, score_threshold: float) -> Picture:
    masks, categories = source.masks_of(video), source.annotations.categories
    rows = (
        overlay_tracks(
            categories, [(track.category_id, track.segmentations, None) for track in masks.tracks]
        ),
        overlay_tracks(
            categories,
            [
                (result.category_id, result.segmentations, result.score)
                for _, result in sorted(masks.results, key=lambda entry: -entry[1].score)
                if result.score >= score_threshold
            ],
        ),
    )
    columns = [
        np.concatenate([_frame(source, video, frame, tracks) for tracks in rows])
        for frame in _spread(video.length, _FRAMES)
    ]
    return np.concatenate(columns, axis=1)


def _frame(source: FilmSource, video: Video, frame: int, tracks: list[OverlayTrack]) -> Picture:
    """Draw one frame at the size at which it is shown, so that labels can be read."""
    import cv2

    path = source.media.frames / video.file_names[frame]
    read = cv2.imread(str(path))
    if read is None:
        raise AvisError("a frame cannot be read", where=str(path))
    size = (round(video.width / video.height * _HEIGHT_PX), _HEIGHT_PX)
    small = cv2.cvtColor(cv2.resize(read, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    masks = [
        cv2.resize(
            decode(track.segmentations[frame], video.height, video.width).astype(np.uint8),
            size,
            interpolation=cv2.INTER_NEAREST,
        ).astype(bool)
        for track in tracks
    ]
    return draw_masks(
        small.astype(np.uint8), masks, [track.label for track in tracks], [track.colour for track in tracks]
    )


def _spread(total: int, wanted: int) -> Iterator[int]:
    """Yield up to `wanted` places of `total`, evenly spread."""
    count = min(total, wanted)
    return ((2 * place + 1) * total // (2 * count) for place in range(count))


def _write(path: Path, picture: Picture) -> None:
    import cv2

    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
