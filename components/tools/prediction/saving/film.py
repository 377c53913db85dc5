"""film.mp4: the video with its sound, its objects in steady colours, and a strip of who sounds when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.tools.prediction.saving import Saver

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.core.video.tracks import VideoTracks

FILM = "film.mp4"
_RATE_HZ = 25.0  # at most, unless more frames a second were computed; slower videos keep their own rate
_SOUND_RATE_HZ = 44_100
_HEIGHT_PX = 360  # of the pictures; larger ones are never whole in RGB: sixteen wait to be drawn
_MOST_LANES = 12  # of the strip; the best have one each, the others one together
_GREY = (128, 128, 128)


def _write(folder: Path, found: VideoTracks) -> None:
    """Masks are those of the picture that they were computed of; on the others they are drawn as held."""
    import numpy as np
    from tqdm import tqdm

    from components.core.media.ahead import ahead
    from components.core.media.container import probe
    from components.core.media.pictures_by_timestamp import ClipReader
    from components.core.media.sound import stream_sound
    from components.core.reports.overlay import Lane, OverlayTrack, Panel, render_overlay, track_colours
    from components.core.video.clip import floats

    info = probe(found.video)
    own_hz = info.frame_rate_hz or _RATE_HZ
    picture_rate_hz = max(min(_RATE_HZ, own_hz), min(found.rate_hz, own_hz))
    colours = track_colours([thing.category_id for thing in found.objects])
    drawn = [
        OverlayTrack(f"{thing.name} ({thing.score:.2f})", colour, thing.masks)
        for thing, colour in zip(found.objects, colours, strict=True)
    ]
    lanes = [
        Lane(track.label, track.colour, thing.masks.on())
        for track, thing in zip(drawn, found.objects, strict=True)
    ]
    if len(lanes) > _MOST_LANES:
        rest = lanes[_MOST_LANES - 1 :]
        together = np.any([lane.on for lane in rest], axis=0).tolist()
        lanes = [*lanes[: _MOST_LANES - 1], Lane(f"{len(rest)} others", _GREY, together)]
    if not lanes:
        lanes = [Lane("nothing found", _GREY, [False] * found.frames)]
    sound = None
    if info.audio_codec is not None:
        pieces = stream_sound(found.video, rate_hz=_SOUND_RATE_HZ, channels=2)
        sound = ahead(floats(piece) for piece in pieces)
    title = found.name + (", predicted without hearing it" if found.is_deaf else "")
    mark_held = picture_rate_hz > found.rate_hz
    if mark_held and drawn:
        title += "; dotted: held masks"

    def pictures() -> Iterator[NDArray[np.uint8]]:
        reader = ClipReader(
            found.video,
            frame_rate_hz=picture_rate_hz,
            max_height_px=_HEIGHT_PX,
            require_audio=False,
            keep_audio=False,
        )
        total = round((info.duration_s or 0) * picture_rate_hz) or None
        bar = tqdm(
            reader, total=total, desc="film", unit="frame", mininterval=1.0, disable=not found.progress
        )
        return (picture for _, picture in bar)

    render_overlay(
        folder / FILM,
        ahead(pictures()),
        picture_rate_hz=picture_rate_hz,
        panels=[Panel(title, drawn)],
        lanes=lanes,
        frame_rate_hz=found.rate_hz,
        audio=sound,
        audio_rate_hz=_SOUND_RATE_HZ,
        panel_height_px=_HEIGHT_PX,
        mark_held=mark_held,
        quick=True,
    )


SAVERS = (
    Saver("film", "film.mp4: the video with its sound, masks, names, and a strip of who sounds when", _write),
)
