"""Weights of a backbone alone: the files that people have, and the names of parameters in them."""

import re

from torch import Tensor

# Detectron2's name -> the name inside our Backbone; tried in order, the first that matches counts
RULES: tuple[tuple[str, str], ...] = (
    (r"stem\.conv1\.norm\.", "network.stem.1."),
    (r"stem\.conv1\.", "network.stem.0."),
    (r"res(\d)\.(\d+)\.shortcut\.norm\.", r"network.stages.<\1-2>.\2.downsample.1."),
    (r"res(\d)\.(\d+)\.shortcut\.", r"network.stages.<\1-2>.\2.downsample.0."),
    (r"res(\d)\.(\d+)\.conv(\d)\.norm\.", r"network.stages.<\1-2>.\2.bn\3."),
    (r"res(\d)\.(\d+)\.conv(\d)\.", r"network.stages.<\1-2>.\2.conv\3."),
    (r"patch_embed\.", "network.patch_embed."),
    # patches are merged at the end of a stage there, at the start of the next one in timm
    (r"layers\.(\d)\.downsample\.", r"network.stages.<\1+1>.downsample."),
    (r"layers\.(\d)\.blocks\.", r"network.stages.\1.blocks."),
    (r"norm(\d)\.", r"network.norms.\1."),
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
    for pattern, replacement in RULES:
        name, count = re.subn("^" + pattern, replacement, detectron2)
        if count:
            return re.sub(r"<(\d)([+-]\d)>", lambda match: str(int(match[1]) + int(match[2])), name)
    return detectron2


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
