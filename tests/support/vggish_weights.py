"""A file of VGGish weights as published, small on the disk: rows of the widest layers share their values."""

from pathlib import Path
from typing import Any

import torch

from models.audio.vggish import VGGish


def vggish_state(seed: int = 0) -> dict[str, Any]:
    """A state dict with the published names, sizes and postprocessing."""
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in VGGish().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        narrow = (1, *shape[1:]) if name in ("embeddings.0.weight", "embeddings.2.weight") else shape
        values = torch.randn(narrow, generator=random) * (2 / max(1, shape[1:].numel())) ** 0.5
        state[name] = values.expand(shape) if name.endswith("weight") else 0.1 * values
    state["pproc.pca_eigen_vectors"] = torch.randn(128, 128, generator=random)
    state["pproc.pca_means"] = torch.randn(128, 1, generator=random)
    return state


def write_vggish(path: Path, seed: int = 0) -> Path:
    """Write such weights as a .pth file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(vggish_state(seed), path)
    return path
