"""Finding the code of any network, and looking at its layers."""

import copy

import pytest
import torch
from torch import nn
from torchvision import models

from protolens.errors import ProtolensError
from protolens.nn.networks import Anatomy, Tapped, check_layer, dissect


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet18", Anatomy("fc", 512, "layer4")),
        ("mobilenet_v2", Anatomy("classifier.1", 1280, "features")),
        ("squeezenet1_0", Anatomy("", 0, "")),
        ("densenet121", Anatomy("classifier", 1024, "features")),
        ("vgg11", Anatomy("classifier.6", 4096, "")),
    ],
)
def test_the_code_of_known_networks_is_found(name, found):
    network = models.get_model(name, weights=None, num_classes=7).eval()
    if not found.head:
        with pytest.raises(ProtolensError, match="does not end in a linear layer; name the layer"):
            dissect(network, 3, (64, 64))
        return
    assert dissect(network, 3, (64, 64)) == found


def test_the_head_makes_the_logits_of_the_code_and_the_mean_of_the_maps_is_the_code():
    network = models.resnet18(num_classes=7).eval()
    where = dissect(network, 3, (64, 64))
    images = torch.rand(3, 3, 64, 64)
    logits, (code, maps) = Tapped(network, [where.head], [where.maps])(images)
    assert torch.equal(logits, network(images))
    assert torch.equal(network.get_submodule(where.head)(code), logits)
    assert torch.allclose(maps.mean(dim=(2, 3)), code, atol=1e-5)


def test_a_tapped_network_can_be_copied_and_leaves_no_hooks():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    tapped = Tapped(network, ["4"], ["1"])
    images = torch.rand(2, 1, 8, 8)
    for each in (tapped, copy.deepcopy(tapped)):
        _, (code, maps) = each(images)
        assert torch.allclose(code, maps.mean(dim=(2, 3)))
    assert not any(module._forward_hooks for module in network.modules())


def test_an_unknown_layer_names_the_nearest():
    with pytest.raises(ProtolensError, match="no layer layr4; did you mean layer4"):
        check_layer(models.resnet18(), "layr4")
