"""Folded norms give what unfolded ones give, forward and backward."""

import copy

import torch
from torchvision.models import resnet18

from models.networks.backbones.frozen_norm import FrozenNorm, fold_frozen_norms


def test_folded_norms_change_no_output_and_no_gradient() -> None:
    torch.manual_seed(0)
    plain = resnet18(weights=None, norm_layer=FrozenNorm).double()
    for name, buffer in plain.named_buffers():
        buffer.uniform_(0.5, 2.0) if name.endswith("var") else buffer.normal_()
    folded = copy.deepcopy(plain)
    fold_frozen_norms(folded)
    norms = [x for x in folded.modules() if isinstance(x, FrozenNorm)]
    assert len(norms) == 20 and all(norm.folded for norm in norms)
    assert folded.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    for network in (plain, folded):
        network(x).square().sum().backward()
    torch.testing.assert_close(folded(x), plain(x))
    for (name, ours), theirs in zip(folded.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=lambda text, name=name: f"{name}: {text}")


def test_a_copy_keeps_its_own_norm() -> None:
    network = resnet18(weights=None, norm_layer=FrozenNorm)
    fold_frozen_norms(network)
    other = copy.deepcopy(network)
    other.bn1.bias.fill_(3.0)
    x = torch.zeros(1, 3, 8, 8)
    assert other.bn1(other.conv1(x)).min() == 3.0
    assert network.bn1(network.conv1(x)).max() == 0.0
