"""AVISeg-format files as Detectron2 datasets, and clips out of them for training and evaluation.

Letters: T frames, N tracks, H and W the size of a frame.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetCatalog,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
    detection_utils,
    get_detection_dataset_dicts,
)
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances, polygons_to_bitmask
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.io import wavfile
from torch import Tensor
from torchaudio.functional import resample

from models.detectron2.config import audio_kind

SAMPLE_RATE_HZ = 16_000
FEATURE_CHANNELS = 128
PUBLISHED_SPLITS = {"avis_train": "train", "avis_val": "val", "avis_test": "test"}
# Where a dataset's root keeps things: as AVISeg is published, or as this project's extract stage writes it.
_FRAMES = ("JPEGImages", "frames")
_FEATURES = ("FEATAudios", "features")
_SOUND = ("WAVAudios", "audio")

_COLOUR: dict[str, Any] = {
    "brightness": T.RandomBrightness(0.9, 1.1),
    "contrast": T.RandomContrast(0.9, 1.1),
    "saturation": T.RandomSaturation(0.9, 1.1),
    "rotation": T.RandomRotation([-15.0, 15.0], expand=False),
}
_SHORT_SIDES_BEFORE_CROP_PX = (400, 500, 600)


def register_aviseg(name: str, json_file: str | Path, root: str | Path) -> None:
    """Give an AVISeg-format file a name for ``DATASETS.TRAIN`` or ``DATASETS.TEST``.

    Args:
        name: of the dataset; one that is registered already gets this file instead.
        json_file: AVISeg JSON. It is read when the dataset is first used.
        root: folder with ``JPEGImages/<video>/*.jpg`` and ``FEATAudios/<video>.npy`` or
            ``WAVAudios/<video>.wav``; or with ``frames``, ``features``, ``audio`` (this project's media).
    """
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: load_aviseg(name, json_file, root))
    MetadataCatalog.get(name).set(json_file=str(json_file), image_root=str(root), evaluator_type="avis")


def register_published_splits() -> None:
    """``avis_train``, ``avis_val``, ``avis_test`` under $DETECTRON2_DATASETS or ./datasets, as published."""
    home = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    for name, split in PUBLISHED_SPLITS.items():
        if name not in DatasetCatalog:
            register_aviseg(name, home / f"{split}.json", home / split)


def load_aviseg(name: str, json_file: str | Path, root: str | Path) -> list[dict[str, Any]]:
    """One record per video, by id. Annotations are tracks, with a segmentation (or None) per frame.

    Classes are numbered in the order of the categories' ids; the metadata of ``name`` says which is which.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not in AVISeg's format.
    """
    path, root = Path(json_file), Path(root)
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {name!r}: there is no {path}; put it there, set DETECTRON2_DATASETS before the import, "
            "or call register_aviseg with the right path"
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {int(category["id"]): str(category["name"]) for category in document["categories"]}
        class_of = {key: index for index, key in enumerate(sorted(names))}
        records = {video["id"]: _record(video, root) for video in document["videos"]}
        for track in document.get("annotations", []):
            records[track["video_id"]]["annotations"].append(
                {
                    "id": track["id"],
                    "category_id": class_of[track["category_id"]],
                    "iscrowd": track.get("iscrowd", 0),
                    "segmentations": track["segmentations"],
                }
            )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not in AVISeg's format: {type(error).__name__} {error}") from error
    metadata = MetadataCatalog.get(name)
    metadata.thing_classes = [names[key] for key in sorted(names)]
    metadata.thing_dataset_id_to_contiguous_id = class_of
    return [records[key] for key in sorted(records)]


def _record(video: dict[str, Any], root: Path) -> dict[str, Any]:
    files = video["file_names"][: video["length"]]
    clip = files[0].split("/")[0]
    return {
        "file_names": [str(root / _folder(root, _FRAMES) / file) for file in files],
        "features_file": str(root / _folder(root, _FEATURES) / f"{clip}.npy"),
        "sound_file": str(root / _folder(root, _SOUND) / f"{clip}.wav"),
        "height": video["height"],
        "width": video["width"],
        "length": len(files),
        "video_id": video["id"],
        "annotations": [],
    }


def _folder(root: Path, names: tuple[str, str]) -> str:
    return next((name for name in names if (root / name).is_dir()), names[0])


class ClipMapper:
    """A record of ``load_aviseg`` -> what AVISM's ``forward`` takes.

    In training some frames around a reference frame, in evaluation all. Size, crop, flip and colour are
    drawn once per clip. The item has ``image``: T tensors [3, H, W] uint8; ``audio``: [T, 128] features or
    [T, 16000] samples, as the model hears; in training ``instances``: T times the same N tracks with
    ``gt_classes``, ``gt_masks``, ``gt_boxes`` and ``gt_ids`` (-1 in frames where a track is silent).
    """

    def __init__(
        self, cfg: CfgNode, is_train: bool, *, augmentations: Sequence[T.Augmentation] | None = None
    ) -> None:
        self.is_train = is_train
        self.image_format = cfg.INPUT.FORMAT
        self.audio = audio_kind(cfg)
        self.frames = cfg.INPUT.SAMPLING_FRAME_NUM
        self.range = cfg.INPUT.SAMPLING_FRAME_RANGE
        self.shuffle = cfg.INPUT.SAMPLING_FRAME_SHUFFLE
        chosen = clip_augmentations(cfg, is_train) if augmentations is None else augmentations
        self.augmentations = T.AugmentationList(chosen)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        chosen = self._choose(record["length"]) if self.is_train else list(range(record["length"]))
        files = [record["file_names"][frame] for frame in chosen]
        pictures = [self._read(file, record) for file in files]
        first = T.AugInput(pictures[0])
        transforms = self.augmentations(first)
        pictures = [first.image, *(transforms.apply_image(picture) for picture in pictures[1:])]
        item = {key: record[key] for key in ("height", "width", "length", "video_id")}
        item |= {
            "file_names": files,
            "frame_idx": chosen,
            "image": [torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))) for x in pictures],
        }
        if self.audio != "none":
            item["audio"] = self._hear(record)[chosen]
        if self.is_train:
            tracks = [track for track in record["annotations"] if not track["iscrowd"]]
            item["instances"] = [
                _instances(tracks, frame, transforms, record["height"], record["width"]) for frame in chosen
            ]
        return item

    def _choose(self, length: int) -> list[int]:
        """A reference frame and others near it, in order; short videos repeat frames."""
        reference = int(np.random.randint(length))  # Detectron2 seeds numpy's own generator per worker
        near = range(max(0, reference - self.range), min(length, reference + self.range + 1))
        others = [frame for frame in near if frame != reference]
        wanted = self.frames - 1
        others += [reference] * max(0, wanted - len(others))
        chosen = sorted([reference, *np.random.permutation(others)[:wanted].tolist()])
        if self.shuffle:
            np.random.shuffle(chosen)
        return chosen

    def _read(self, file: str, record: dict[str, Any]) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = detection_utils.read_image(file, self.image_format)
        detection_utils.check_image_size(record | {"file_name": file}, picture)
        return picture

    def _hear(self, record: dict[str, Any]) -> Tensor:
        if self.audio == "features":
            return read_features(record["features_file"], record["length"])
        return read_seconds(record["sound_file"], record["length"])


def _instances(
    tracks: list[dict[str, Any]], frame: int, transforms: T.TransformList, height: int, width: int
) -> Instances:
    masks = [
        transforms.apply_segmentation(decode_mask(track["segmentations"][frame], height, width))
        for track in tracks
    ]
    empty = transforms.apply_segmentation(np.zeros((height, width), np.uint8))
    stacked = torch.from_numpy(np.stack(masks) if masks else np.zeros((0, *empty.shape), np.uint8)).bool()
    shows = stacked.flatten(1).any(1)
    result = Instances(empty.shape)
    result.gt_masks = BitMasks(stacked)
    result.gt_boxes = result.gt_masks.get_bounding_boxes()
    result.gt_classes = torch.tensor([track["category_id"] for track in tracks], dtype=torch.int64)
    ids = torch.tensor([track["id"] for track in tracks], dtype=torch.int64)
    result.gt_ids = torch.where(shows, ids, -1)
    return result


def decode_mask(segmentation: Any, height: int, width: int) -> NDArray[np.uint8]:
    """Polygons, a run-length encoding (compressed or not) or None -> 0 and 1, [height, width].

    Raises:
        ValueError: a run-length encoding of another size.
    """
    if not segmentation:
        return np.zeros((height, width), np.uint8)
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"a mask of size {segmentation['size']} in a video of {[height, width]}")
        if isinstance(segmentation["counts"], list):
            segmentation = coco_mask.frPyObjects(segmentation, height, width)
        return np.asarray(coco_mask.decode(segmentation), np.uint8)
    polygons = [np.asarray(x, np.float64) for x in segmentation if len(x) >= 6 and len(x) % 2 == 0]
    return np.asarray(polygons_to_bitmask(polygons, height, width), np.uint8)


def read_features(path: str, frames: int) -> Tensor:
    """Precomputed audio features [frames, 128]; a missing last second repeats the one before it.

    Raises:
        FileNotFoundError: there are none.
        ValueError: another shape.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"there are no audio features {path}; without features set MODEL.AVISM.AUDIO to vggish (learned "
            "from the sound) or none"
        )
    values = np.load(path, allow_pickle=False)
    if values.ndim != 2 or values.shape[1] != FEATURE_CHANNELS or not len(values):
        raise ValueError(
            f"{path}: audio features have shape {values.shape}, not [frames, {FEATURE_CHANNELS}]"
        )
    missing = max(0, frames - len(values))
    values = np.concatenate((values, np.repeat(values[-1:], missing, axis=0)))[:frames]
    return torch.from_numpy(values.astype(np.float32))


def read_seconds(path: str, frames: int) -> Tensor:
    """The sound of a WAV file, mono at 16 kHz, second by second: [frames, 16000]; padded with silence.

    AVISeg has one frame per second, so frame k owns second k.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no sound {path}; to train without set MODEL.AVISM.AUDIO to none")
    rate, samples = wavfile.read(path)
    if samples.dtype == np.uint8:  # 8-bit WAV is unsigned
        values = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        values = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    else:
        values = samples.astype(np.float32)
    sound = torch.from_numpy(values if values.ndim == 1 else values.mean(1))
    if rate != SAMPLE_RATE_HZ:
        sound = resample(sound, rate, SAMPLE_RATE_HZ)
    seconds = torch.zeros(frames * SAMPLE_RATE_HZ)
    count = min(len(sound), len(seconds))
    seconds[:count] = sound[:count]
    return seconds.view(frames, SAMPLE_RATE_HZ)


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


def build_train_loader(cfg: CfgNode) -> Any:
    """Detectron2's training loader over clips of ``DATASETS.TRAIN``.

    Raises:
        ValueError: the datasets have another number of categories than the model.
    """
    dataset = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    for name in cfg.DATASETS.TRAIN:
        count = len(MetadataCatalog.get(name).thing_classes)
        if count != cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES:
            raise ValueError(
                f"dataset {name!r} has {count} categories and MODEL.SEM_SEG_HEAD.NUM_CLASSES is "
                f"{cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES}; set it to {count}"
            )
    return build_detection_train_loader(cfg, dataset=dataset, mapper=ClipMapper(cfg, is_train=True))


def build_test_loader(cfg: CfgNode, dataset_name: str) -> Any:
    """Detectron2's test loader: whole videos, one after the other."""
    return build_detection_test_loader(cfg, dataset_name, mapper=ClipMapper(cfg, is_train=False))
