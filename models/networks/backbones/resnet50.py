"""ResNet-50 of torchvision (stride in the 3x3), as Detectron2's and Mask2Former's."""

from torch import Tensor, nn
from torchvision.models import resnet50

from models.networks.backbones.backbone import Backbone, BackboneChoice, load_backbone
from models.networks.backbones.frozen_norm import FrozenNorm, fold_frozen_norms


class ResNetStages(nn.Module):
    """torchvision's ResNet-50 (stride in the 3x3), cut into its four stages."""

    def __init__(self) -> None:
        super().__init__()
        network = resnet50(weights=None, norm_layer=FrozenNorm)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.ModuleList((network.layer1, network.layer2, network.layer3, network.layer4))
        fold_frozen_norms(network)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)  # [F, 64, H/4, W/4]
        maps = []
        for stage in self.stages:
            x = stage(x)  # [F, C, h, w]
            maps.append(x)
        return maps


def build_resnet50(pretrained: bool) -> Backbone:
    stages = ResNetStages()
    backbone = Backbone(stages, [256, 512, 1024, 2048], parts=[stages.stem, *stages.stages])
    if pretrained:
        from torchvision.models import ResNet50_Weights

        state = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        load_backbone(backbone, state)
    return backbone


BACKBONES = {"resnet50": BackboneChoice(build_resnet50, "ImageNet, downloaded by torchvision")}
