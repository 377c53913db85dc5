"""Detectron2's augmentations for the keys of ``INPUT``, one draw for all frames of a clip."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.data import transforms as T

_COLOUR: dict[str, Any] = {
    "brightness": T.RandomBrightness(0.9, 1.1),
    "contrast": T.RandomContrast(0.9, 1.1),
    "saturation": T.RandomSaturation(0.9, 1.1),
    "rotation": T.RandomRotation([-15.0, 15.0], expand=False),
}
_SHORT_SIDES_BEFORE_CROP_PX = (400, 500, 600)  # as published


def clip_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """Detectron2's augmentations for the keys of ``INPUT``; each is drawn once and used for a whole clip.

    Raises:
        ValueError: a value that is none of the allowed ones.
    """
    given = cfg.INPUT
    if not is_train:
        return [T.ResizeShortestEdge(given.MIN_SIZE_TEST, given.MAX_SIZE_TEST, "choice")]
    flips: dict[str, list[T.Augmentation]] = {
        "none": [],
        "flip_by_clip": [T.RandomFlip(horizontal=True)],
        "horizontal": [T.RandomFlip(horizontal=True)],
        "vertical": [T.RandomFlip(horizontal=False, vertical=True)],
    }
    styles = {"choice": "choice", "choice_by_clip": "choice", "range": "range", "range_by_clip": "range"}
    _require("INPUT.RANDOM_FLIP", given.RANDOM_FLIP, flips)
    _require("INPUT.MIN_SIZE_TRAIN_SAMPLING", given.MIN_SIZE_TRAIN_SAMPLING, styles)
    for name in given.AUGMENTATIONS:
        _require("INPUT.AUGMENTATIONS", name, _COLOUR)
    flip = flips[given.RANDOM_FLIP]
    colour = [_COLOUR[name] for name in given.AUGMENTATIONS]
    if given.LSJ_AUG.ENABLED:
        side = given.LSJ_AUG.IMAGE_SIZE
        scale = T.ResizeScale(given.LSJ_AUG.MIN_SCALE, given.LSJ_AUG.MAX_SCALE, side, side)
        return [*flip, scale, T.FixedSizeCrop((side, side), seg_pad_value=0)]
    crop: list[T.Augmentation] = []
    if given.CROP.ENABLED:  # in half of the clips, as published
        resized = T.ResizeShortestEdge(_SHORT_SIDES_BEFORE_CROP_PX, sample_style="choice")
        cut = T.RandomCrop(given.CROP.TYPE, given.CROP.SIZE)
        crop = [T.RandomApply(T.AugmentationList([resized, cut]), prob=0.5)]
    style = styles[given.MIN_SIZE_TRAIN_SAMPLING]
    return [*crop, T.ResizeShortestEdge(given.MIN_SIZE_TRAIN, given.MAX_SIZE_TRAIN, style), *flip, *colour]


def _require(key: str, value: str, allowed: dict[str, Any]) -> None:
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}, allowed: {', '.join(allowed)}")
