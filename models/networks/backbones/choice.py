"""A backbone by its name in ``params.yaml``."""

from importlib import import_module
from pathlib import Path

from models.networks.backbones import BACKBONE_FILES
from models.networks.backbones.backbone import Backbone, BackboneChoice, load_backbone
from models.weight_files.checkpoint_file import read_checkpoint


def backbone_choice(name: str) -> BackboneChoice:
    """How to make a backbone; imports its library.

    Raises:
        ValueError: unknown name; the allowed ones are listed.
    """
    for known, file in BACKBONE_FILES.items():
        if known == name:
            choice: BackboneChoice = import_module(f"models.networks.backbones.{file}").BACKBONES[name]
            return choice
    raise ValueError(f"unknown backbone {name!r}; allowed: {', '.join(BACKBONE_FILES)}")


def read_from_files() -> str:
    """Names of the backbones whose weights are read from files, for messages."""
    return ", ".join(name for name in BACKBONE_FILES if backbone_choice(name).reads_files)


def build_backbone(name: str, *, pretrained: bool, weights: Path | None = None) -> Backbone:
    """Make a backbone by name; ``weights`` is a file of ImageNet weights that replaces the download.

    Files that are read: torchvision's ResNet-50 and Detectron2's ``.pkl`` of it; Swin by its authors, by
    timm, or converted for Mask2Former (``.pkl``).

    Raises:
        ValueError: unknown name (the allowed ones are listed), weights for another backbone, or a file that
            cannot be read.
    """
    choice = backbone_choice(name)
    if weights is None:
        try:
            return choice.build(pretrained)
        except OSError as error:  # what urllib raises without a network, too
            raise ValueError(
                f"no pretrained weights for {name} ({choice.weights}): {error}. Without a network "
                f"name a file in backbone_weights ({read_from_files()}) or set backbone_pretrained to "
                "false"
            ) from error
    if not choice.reads_files:
        raise ValueError(f"backbone weights from a file are read for {read_from_files()}, not for {name}")
    backbone = choice.build(False)
    try:
        load_backbone(backbone, read_checkpoint(weights))
    except OSError as error:
        raise ValueError(f"backbone_weights, {weights}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{weights} does not hold a {name}: {error}") from error
    return backbone
