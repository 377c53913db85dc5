"""Weights of a backbone alone: the files that people have, and the names of parameters in them."""

import re

from torch import Tensor

from models.weight_files.name_table import Row, translate

# Detectron2's name, and that inside our Backbone; what is written first counts
BACKBONE_NAMES: tuple[Row, ...] = (
    ("stem.conv1.norm.", "network.stem.1."),
    ("stem.conv1.", "network.stem.0."),
    ("res{stage+2}.{block}.shortcut.norm.", "network.stages.{stage}.{block}.downsample.1."),
    ("res{stage+2}.{block}.shortcut.", "network.stages.{stage}.{block}.downsample.0."),
    ("res{stage+2}.{block}.conv{number}.norm.", "network.stages.{stage}.{block}.bn{number}."),
    ("res{stage+2}.{block}.conv{number}.", "network.stages.{stage}.{block}.conv{number}."),
    ("patch_embed.", "network.patch_embed."),
    # patches are merged at the end of a stage there, at the start of the next one in timm
    ("layers.{stage-1}.downsample.", "network.stages.{stage}.downsample."),
    ("layers.{stage}.blocks.", "network.stages.{stage}.blocks."),
    ("norm{stage}.", "network.norms.{stage}."),
)
# computed from the configuration, or counted in training: no weights
COMPUTED = re.compile(r"(?:^|\.)(?:relative_position_index|attn_mask|num_batches_tracked)$")
# of the classifier that the backbone was trained in
CLASSIFIER = re.compile(r"(?:(?:stem\.)?fc|head(?:\.fc)?|norm)\.(?:weight|bias)$")
SWIN_WIDTHS = {128: "swin_base", 192: "swin_large"}


def backbone_name(detectron2: str) -> str | None:
    """Name inside our Backbone; None for what is no weight, the same name where none is known."""
    if COMPUTED.search(detectron2):
        return None
    return translate(detectron2, BACKBONE_NAMES) or detectron2


def which_backbone(state: dict[str, Tensor]) -> str | None:
    """The backbone that these weights are of, from the names of a backbone file; None if of none known."""
    if {"conv1.weight", "layer1.0.conv1.weight"} <= set(state):
        return "resnet50"
    if {"stem.conv1.weight", "res2.0.conv1.weight"} <= set(state):
        return "resnet50"
    if "patch_embed.proj.weight" in state:
        width = state["patch_embed.proj.weight"].shape[0]
        if width not in SWIN_WIDTHS:
            allowed = ", ".join(f"{name} ({number})" for number, name in SWIN_WIDTHS.items())
            raise ValueError(f"a Swin with {width} channels in its first stage; allowed: {allowed}")
        return SWIN_WIDTHS[width]
    return None


def backbone_weights(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights under the names of our Backbone, and the names of what has no place in one.

    Read are torchvision's ResNet-50, Detectron2's conversion of it, and Swin by its authors, by timm and
    by Mask2Former's converter.
    """
    timm_swin = "patch_embed.proj.weight" in state and not any("layers.0.downsample." in x for x in state)
    renamed, left = {}, []
    for name, value in state.items():
        detectron2 = _from_torchvision(name)
        if timm_swin:  # merges where we do
            detectron2 = re.sub(
                r"^layers\.(\d)\.downsample\.", lambda match: f"layers.{int(match[1]) - 1}.downsample.", name
            )
        ours = None if CLASSIFIER.match(name) else backbone_name(detectron2)
        if ours is None:
            left.append(name)
        else:
            renamed[ours] = value
    return renamed, left


def _from_torchvision(name: str) -> str:
    """torchvision's ResNet name -> Detectron2's: layer1.0.bn2.weight -> res2.0.conv2.norm.weight."""
    name = re.sub(r"^conv1\.", "stem.conv1.", name)
    name = re.sub(r"^bn1\.", "stem.conv1.norm.", name)
    name = re.sub(r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}.", name)
    if name.startswith("res"):
        name = re.sub(r"\.bn(\d)\.", r".conv\1.norm.", name)
        name = name.replace(".downsample.0.", ".shortcut.").replace(".downsample.1.", ".shortcut.norm.")
    return name
