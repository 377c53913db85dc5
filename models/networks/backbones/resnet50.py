"""ResNet-50 of torchvision (stride in the 3x3), as Detectron2's and Mask2Former's; H2S trains its norms."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torchvision.models import resnet50

from models.networks.backbones.backbone import Backbone, BackboneChoice, load_backbone
from models.networks.backbones.frozen_norm import FrozenNorm, fold_frozen_norms


class ResNetStages(nn.Module):
    """torchvision's ResNet-50 (stride in the 3x3), cut into its four stages."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        network = resnet50(weights=None, norm_layer=norm)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.ModuleList((network.layer1, network.layer2, network.layer3, network.layer4))
        fold_frozen_norms(network)  # of others there is nothing to fold

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)  # [F, 64, H/4, W/4]
        maps = []
        for stage in self.stages:
            x = stage(x)  # [F, C, h, w]
            maps.append(x)
        return maps


def build_resnet50(pretrained: bool, norm: Callable[[int], nn.Module] = FrozenNorm) -> Backbone:
    stages = ResNetStages(norm)
    backbone = Backbone(stages, [256, 512, 1024, 2048], parts=[stages.stem, *stages.stages])
    if pretrained:
        from torchvision.models import ResNet50_Weights

        state = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        load_backbone(backbone, state)
    return backbone


_WEIGHTS = "ImageNet, downloaded by torchvision"
BACKBONES = {
    "resnet50": BackboneChoice(build_resnet50, _WEIGHTS),
    "resnet50_trained_norms": BackboneChoice(partial(build_resnet50, norm=nn.BatchNorm2d), _WEIGHTS),
}
