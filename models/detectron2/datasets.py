"""AVISeg-format files as Detectron2 datasets."""

import json
import os
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

PUBLISHED_SPLITS = {"avis_train": "train", "avis_val": "val", "avis_test": "test"}
# Where a dataset's root keeps things: as AVISeg is published, or as this project's extract stage writes it.
_FRAMES = ("JPEGImages", "frames")
_FEATURES = ("FEATAudios", "features")
_SOUND = ("WAVAudios", "audio")


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
