"""Score masks on AVSBench's videos, one video in memory at a time."""

from collections import defaultdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.run.errors import AvisError
from components.tools.avsbench.binary import BinaryScore, score_binary
from components.tools.avsbench.layouts import AvsVideo
from components.tools.avsbench.palette import UNKNOWN, classes_of_colours
from components.tools.avsbench.pictures import read_colours, read_object_mask
from components.tools.avsbench.semantic import ClassSums, lengthen, score_classes
from components.tools.avsbench.summary import (
    class_means_of_video,
    percent_of_video,
    summarise_binary,
    summarise_classes,
)

SEMANTIC_SIZE = (224, 224)  # at which the published evaluation compares classes
PROTOCOLS = ("official", "corrected")


class Masks(Protocol):
    """Where predictions come from; `found` and `given` say more."""

    def probabilities(self, video: AvsVideo, size: tuple[int, int]) -> NDArray[np.float32]:
        """[T, *size], T as many as the video's true masks."""

    def classes(self, video: AvsVideo, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Class ids [T, *size], T at least as many as the video's true masks."""


def evaluate_binary(videos: list[AvsVideo], masks: Masks, *, resamples: int, seed: int) -> dict[str, Any]:
    """Score S4 or MS3.

    Returns:
        by protocol: M_J, M_F, `intervals`, `videos` (in their order), for S4 also `categories`; in percent.

    Raises:
        AvisError: a file is missing or damaged; it names the file.
    """
    scores = []
    for video in tqdm(videos, desc="avsbench", unit="video", mininterval=1.0):
        truth = _read_truth(video)
        scores.append(score_binary(masks.probabilities(video, truth.shape[1:]), truth))
    summary = summarise_binary(scores, resamples=resamples, seed=seed)
    groups: dict[str, list[BinaryScore]] = defaultdict(list)
    for video, score in zip(videos, scores, strict=True):
        groups[video.group].append(score)
    by_group = {
        name: summarise_binary(group, resamples=0, seed=seed) for name, group in groups.items() if name
    }
    for protocol in PROTOCOLS:
        summary[protocol]["videos"] = [
            {
                "video": video.name,
                **({"category": video.group} if video.group else {}),
                **percent_of_video(score, protocol),
                "frames_with_object": score.frames_with_object,
            }
            for video, score in zip(videos, scores, strict=True)
        ]
        if by_group:
            summary[protocol]["categories"] = {
                name: {
                    "videos": len(groups[name]),
                    **{key: values[protocol][key] for key in ("M_J", "M_F")},
                }
                for name, values in sorted(by_group.items())
            }
    return summary


def evaluate_semantic(
    videos: list[AvsVideo], masks: Masks, class_names: list[str], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Score AVSS at 224x224.

    Returns:
        by protocol: M_J, M_F, both also without a class (`noBg`), `intervals`, `classes`, `videos`; in
        percent. And `unknown_pixels`: of the true masks, whose colour is no class; they count as background.

    Raises:
        AvisError: a file is missing or damaged; it names the file.
    """
    sums: dict[str, list[ClassSums]] = {protocol: [] for protocol in PROTOCOLS}
    unknown = 0
    for video in tqdm(videos, desc="avsbench", unit="video", mininterval=1.0):
        truth = np.stack([classes_of_colours(read_colours(path, SEMANTIC_SIZE)) for path in video.masks])
        unknown += int((truth == UNKNOWN).sum())
        truth[truth == UNKNOWN] = 0
        predicted = masks.classes(video, SEMANTIC_SIZE)
        sums["official"].append(score_classes(lengthen(predicted), lengthen(truth)))
        sums["corrected"].append(score_classes(predicted[: len(truth)], truth))
    summary: dict[str, Any] = {
        **summarise_classes(sums["official"], sums["corrected"], class_names, resamples=resamples, seed=seed),
        "unknown_pixels": unknown,
    }
    for protocol in PROTOCOLS:
        summary[protocol]["videos"] = [
            {"video": video.name, "subset": video.group, **class_means_of_video(one)}
            for video, one in zip(videos, sums[protocol], strict=True)
        ]
    return summary


def _read_truth(video: AvsVideo) -> NDArray[np.bool_]:
    """[T, H, W]."""
    masks = [read_object_mask(path) for path in video.masks]
    height, width = masks[0].shape
    for path, mask in zip(video.masks, masks, strict=True):
        if mask.shape != (height, width):
            raise AvisError(
                f"the mask is {mask.shape[1]}x{mask.shape[0]}, the video's first one {width}x{height}",
                where=str(path),
                fix="All masks of a video must have one size.",
            )
    return np.stack(masks)
