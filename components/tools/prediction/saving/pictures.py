"""PNG pictures of each object: its masks, and what of the picture lies in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.files import replace_folder
from components.tools.prediction.names import plain_name
from components.tools.prediction.saving import Saver

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.core.video.tracks import VideoTracks


def _write_masks(folder: Path, found: VideoTracks) -> None:
    """masks/<object>/00007.png: 255 in the mask of frame 7 and 0 elsewhere; no file where it is silent."""
    import cv2
    import numpy as np

    from components.core.records.masks import decode

    with replace_folder(folder / "masks") as temporary:
        for thing in found.objects:
            own = temporary / plain_name(thing.name)
            own.mkdir()
            for frame, mask in enumerate(thing.masks):
                if mask is not None:
                    pixels = decode(mask, found.height, found.width).astype(np.uint8) * 255
                    _write(own / f"{frame:05d}.png", cv2.imencode(".png", pixels)[1])


def _write_cutouts(folder: Path, found: VideoTracks) -> None:
    """cutouts/<object>/00007.png: the mask's box of frame 7, transparent outside of the mask."""
    import cv2
    import numpy as np

    from components.core.records.masks import bounding_box, decode

    with replace_folder(folder / "cutouts") as temporary:
        for thing in found.objects:
            (temporary / plain_name(thing.name)).mkdir()
        for frame, picture in enumerate(_pictures(found)):
            for thing in found.objects:
                mask = thing.masks[frame] if frame < found.frames else None
                box = bounding_box(mask)
                if box is None:
                    continue
                left, top, width, height = (round(value) for value in box)
                part = (slice(top, top + height), slice(left, left + width))
                pixels = decode(mask, found.height, found.width)[part].astype(np.uint8) * 255
                bgra = np.dstack([cv2.cvtColor(picture[part], cv2.COLOR_RGB2BGR), pixels])
                place = temporary / plain_name(thing.name) / f"{frame:05d}.png"
                _write(place, cv2.imencode(".png", bgra)[1])


def _pictures(found: VideoTracks) -> Iterator[NDArray[np.uint8]]:
    """The computed frames, at the video's own size."""
    from components.core.media.pictures_by_timestamp import ClipReader

    reader = ClipReader(found.video, frame_rate_hz=found.rate_hz, require_audio=False, keep_audio=False)
    return (picture for _, picture in reader)


def _write(path: Path, data: NDArray[np.uint8]) -> None:
    path.write_bytes(data.tobytes())  # not cv2.imwrite, which does not raise when the disk is full


SAVERS = (
    Saver("masks", "masks/<object>/00000.png: 255 where the object is", _write_masks),
    Saver("cutouts", "cutouts/<object>/00000.png: the object, transparent around it", _write_cutouts),
)
