"""COCO files of `avis convert`, read by torchvision's own dataset: masks, boxes and labels of each frame."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.annotate.formats import find_format
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import decode, encode
from components.tools.convert import write_target

HEIGHT, WIDTH = 24, 32


def test_torchvision_sees_the_same_masks_and_boxes(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[3:9, 10:20] = True
    triangle = [[2.0, 12.0, 14.0, 12.0, 8.0, 22.0]]
    video = Video(1, "v", [f"v/{k:05d}.jpg" for k in range(3)], 3, HEIGHT, WIDTH)
    tracks = [
        Track(1, 1, 1, [encode(square), None, triangle]),
        Track(2, 1, 2, [None, None, encode(square)]),
    ]
    write_target(
        tmp_path / "a.json", AnnotationSet({1: "dog", 2: "cello"}, [video], tracks), find_format("coco_video")
    )
    (tmp_path / "v").mkdir()
    for name in video.file_names:
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    plain = torchvision.datasets.CocoDetection(tmp_path, tmp_path / "a.json")
    dataset = torchvision.datasets.wrap_dataset_for_transforms_v2(plain, target_keys="all")
    seen = [target for _, target in dataset]
    assert [target.get("labels", np.array([])).tolist() for target in seen] == [[1], [], [1, 2]]
    for target, frame in ((seen[0], 0), (seen[2], 2)):
        shown = [track.segmentations[frame] for track in tracks if track.segmentations[frame]]
        masks = np.stack([decode(mask, HEIGHT, WIDTH) for mask in shown])
        assert (target["masks"].numpy().astype(bool) == masks).all()
        corners = torchvision.ops.masks_to_boxes(target["masks"])
        # masks_to_boxes names the last pixel, COCO and the dataset the edge after it
        corners[:, 2:] += 1
        assert (target["boxes"] == corners).all()
