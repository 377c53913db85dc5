"""The loss on clips that training has not seen."""

import torch

from components.core.records.annotations import read_annotations
from components.core.records.masks import is_empty
from components.core.run.paths import Paths
from components.train.examples.batch import collate
from components.train.loop import seed_everything
from components.train.params import TrainParams
from components.train.plan import clips_of
from components.train.processes.distributed import choose_device
from models.networks.losses.criterion import LossWeights
from models.networks.registry import Network

_ROUNDS = 2  # each clip is seen so often, at other frames


def validation_loss(model: Network, params: TrainParams, paths: Paths) -> float | None:
    """Mean loss over the validation clips, without flips or crops, at frames that the seed 0 fixes.

    Returns:
        None if there are no validation clips, or none of them has a mask.
    """
    file = paths.annotations / "val.json"
    annotations = read_annotations(file) if file.is_file() else None
    if annotations is None or all(is_empty(mask) for x in annotations.tracks for mask in x.segmentations):
        return None
    still = params.model_copy(
        update={
            "flip": False,
            "crop_px": None,
            "max_long_side_px": None,
            "short_sides_px": (params.test_short_side_px,),
            "seed": 0,
        }
    )
    clips = clips_of(annotations, still, file, paths)
    device = choose_device(params.device)
    weights = LossWeights(**params.loss.model_dump())
    model.to(device).eval()
    seed_everything(0)
    total = 0.0
    count = _ROUNDS * len(annotations.videos)
    with torch.no_grad():
        for index in range(count):
            batch = collate([clips[index]]).to(device)
            output = model(batch.frames, batch.sound)
            counts = model.counts(batch.targets, weights)  # this process measures alone
            losses = model.losses(output, batch.targets, weights, counts=counts)
            total += float(torch.stack(list(losses.values())).sum())
    return total / count
