"""A record of a dataset -> the clip that the network takes: frames, sound and instances.

Letters: T frames, N tracks, H W size of a frame.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances, polygons_to_bitmask
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.io import wavfile
from torch import Tensor

from models.audio.log_mel import SAMPLE_RATE_HZ
from models.audio.resampling import resample
from models.audio.vggish import EMBEDDING_CHANNELS
from models.detectron2.augmentations import clip_augmentations
from models.detectron2.config import audio_kind


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
            item["audio"] = self._read_sound(record)[chosen]
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

    def _read_sound(self, record: dict[str, Any]) -> Tensor:
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
    if values.ndim != 2 or values.shape[1] != EMBEDDING_CHANNELS or not len(values):
        raise ValueError(
            f"{path}: audio features have shape {values.shape}, not [frames, {EMBEDDING_CHANNELS}]"
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
        sound = torch.from_numpy(resample(sound.double().numpy(), rate, SAMPLE_RATE_HZ)).float()
    seconds = torch.zeros(frames * SAMPLE_RATE_HZ)
    count = min(len(sound), len(seconds))
    seconds[:count] = sound[:count]
    return seconds.view(frames, SAMPLE_RATE_HZ)
