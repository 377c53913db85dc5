"""Masks that any program wrote as PNGs, where the published test scripts write theirs.

`<folder>/<video>/<video>_<k>.png`, for S4 `<folder>/<category>/<video>/<video>_<k>.png`; k counts from 0.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.run.errors import AvisError
from components.tools.avsbench.layouts import AvsVideo, Layout
from components.tools.avsbench.palette import UNKNOWN, classes_of_colours
from components.tools.avsbench.pictures import read_class_ids, read_colours, read_probability
from components.tools.avsbench.semantic import BATCH_FRAMES, CLASSES


class GivenMasks:
    """The masks in a folder; those of all these videos have to be there.

    Raises:
        AvisError: some are missing: how many, and the first.
    """

    def __init__(self, folder: Path, layout: Layout, videos: list[AvsVideo]) -> None:
        self._folder, self._layout = folder, layout
        needed = [self._path(video, k) for video in videos for k in range(len(video.masks))]
        missing = [path for path in needed if not path.is_file()]
        if missing:
            raise AvisError(
                f"{len(missing)} of the {len(needed)} predicted masks are missing, the first",
                where=str(missing[0]),
                fix="Write one PNG for each frame, numbered from 0; docs/avsbench.md shows the folders.",
            )

    def probabilities(self, video: AvsVideo, size: tuple[int, int]) -> NDArray[np.float32]:
        """Of each pixel that it sounds, [T, *size], from grey values.

        Raises:
            AvisError: a file is no such picture, or of another size.
        """
        return np.stack([self._probability(self._path(video, k), size) for k in range(len(video.masks))])

    def classes(self, video: AvsVideo, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Class ids [T, *size], from their numbers or colours; T is more than the video's frames where there
        are masks for the frames with which the published evaluation lengthens it.

        Raises:
            AvisError: a file is no such picture, or holds a number or colour that is no class.
        """
        paths = [self._path(video, k) for k in range(BATCH_FRAMES)]
        return np.stack([_classes(path, size) for path in paths if path.is_file()])

    def _path(self, video: AvsVideo, k: int) -> Path:
        home = self._folder / video.group if self._layout == "s4" else self._folder
        return home / video.name / f"{video.name}_{k}.png"

    def _probability(self, path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
        probability = read_probability(path)
        if probability.shape != size:
            found = f"{probability.shape[1]}x{probability.shape[0]}"
            raise AvisError(
                f"the predicted mask is {found}, the true one {size[1]}x{size[0]}",
                where=str(path),
                fix="Write masks at the size of the ground truth.",
            )
        return probability


def _classes(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    ids = read_class_ids(path, size)
    if ids is not None:
        if ids.max() >= CLASSES:
            raise AvisError(
                f"the mask holds the value {ids.max()}, which is no class",
                where=str(path),
                fix=f"Write class ids 0 to {CLASSES - 1}, or the colours of AVSBench as RGB.",
            )
        return ids
    colours = read_colours(path, size)
    ids = classes_of_colours(colours)
    unknown = np.argwhere(ids == UNKNOWN)
    if len(unknown):
        row, column = unknown[0].tolist()
        raise AvisError(
            f"the mask holds the colour {tuple(colours[row, column].tolist())}, which is no class",
            where=f"{path}, row {row}, column {column} of {size[1]}x{size[0]} pixels",
            fix="Write the colours of AVSBench without blending, or class ids with one byte a pixel.",
        )
    return ids
