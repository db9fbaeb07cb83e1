"""Opening any network, finding its code, and looking at its layers."""

import copy

import pytest
import torch
from torch import nn
from torchvision import models

from protolens.errors import ProtolensError
from protolens.nn import IMAGENET, Head, Tapped, find_head, find_layer, find_maps, open_network, pixels_wanted

OWN = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def broken():
    raise ValueError("no such thing")

def number():
    return 7
"""


@pytest.mark.parametrize(
    ("name", "head", "maps"),
    [
        ("resnet18", Head("fc", 512, 7), "layer4"),
        ("mobilenet_v2", Head("classifier.1", 1280, 7), "features"),
        ("densenet121", Head("classifier", 1024, 7), "features"),
        ("vgg11", Head("classifier.6", 4096, 7), ""),
    ],
)
def test_the_code_of_known_networks_is_found(name, head, maps):
    network = models.get_model(name, weights=None, num_classes=7).eval()
    assert find_head(network, 3, (64, 64)) == head
    tapped = Tapped(network, into=[head.name])
    assert find_maps(network, lambda images: tapped(images)[1][0].flatten(1), 3, (64, 64)).removeprefix(".") == maps


def test_a_network_without_a_last_linear_layer_is_refused():
    network = models.squeezenet1_0(num_classes=7).eval()
    with pytest.raises(ProtolensError, match="does not end in a linear layer"):
        find_head(network, 3, (64, 64))


def test_images_that_a_network_cannot_take_are_refused():
    with pytest.raises(ProtolensError, match=r"cannot take images of 2 x 64 x 64 values \(.*\); change data.size"):
        find_head(models.resnet18().eval(), 2, (64, 64))


def test_the_head_makes_the_logits_of_the_code_and_the_mean_of_the_maps_is_the_code():
    network = models.resnet18(num_classes=7).eval()
    head = find_head(network, 3, (64, 64))
    images = torch.rand(3, 3, 64, 64)
    logits, (code, maps) = Tapped(network, [head.name], ["layer4"])(images)
    assert torch.equal(logits, network(images))
    assert torch.equal(network.get_submodule(head.name)(code), logits)
    assert torch.allclose(maps.mean(dim=(2, 3)), code, atol=1e-5)


def test_a_tapped_network_can_be_copied_and_leaves_no_hooks():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    tapped = Tapped(network, ["4"], ["1"])
    images = torch.rand(2, 1, 8, 8)
    for each in (tapped, copy.deepcopy(tapped)):
        _, (code, maps) = each(images)
        assert torch.allclose(code, maps.mean(dim=(2, 3)))
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_are_found_by_their_names_in_the_network_or_in_what_holds_it():
    inner = nn.Module()
    inner.network = models.resnet18()
    assert find_layer(inner, "layer4") == "network.layer4"
    assert find_layer(models.resnet18(), "layer4") == "layer4"
    with pytest.raises(ProtolensError, match="no layer layr4; did you mean layer4"):
        find_layer(inner, "layr4")


def test_a_function_of_a_file_gives_the_network(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    network = open_network(f"{path}:small", 3, 5)
    assert find_head(network, 3, (16, 16)) == Head("4", 4, 2)
    assert not network.training


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("resnet18", "resnet18 is no network; write torchvision:NAME, timm:NAME or FILE.py:FUNCTION"),
        ("torchvision:resnet19", "torchvision:resnet19 is no classification network of torchvision; did you mean"),
        ("{}/own.py:smal", "own.py has no function smal; did you mean .*own.py:small"),
        ("{}/own.py:broken", r"own.py:broken\(\) fails with ValueError \(no such thing\)"),
        ("{}/own.py:number", r"own.py:number\(\) returns a int, not a torch.nn.Module"),
        ("{}/nowhere.py:small", "nowhere.py does not exist; write FILE.py:FUNCTION"),
        ("{}/bad.py:small", r"bad.py fails with SyntaxError"),
        ("no_such_package.networks:small", r"no_such_package.networks cannot be imported \("),
    ],
)
def test_a_network_that_cannot_be_opened_is_one_sentence(tmp_path, source, said):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "bad.py").write_text("def small(:")
    with pytest.raises(ProtolensError, match=said):
        open_network(source.format(tmp_path), 3, 5)


def test_networks_get_the_pixels_that_they_were_trained_with():
    network = nn.Identity()
    assert pixels_wanted("torchvision:resnet18", network, 3, pretrained=True) == IMAGENET
    assert pixels_wanted("torchvision:resnet18", network, 3, pretrained=False) is None
    assert pixels_wanted("torchvision:resnet18", network, 1, pretrained=True) is None
    assert pixels_wanted("own.py:small", network, 2, pretrained=True) == ((0.0, 0.0), (1.0, 1.0))
    network.default_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    for source in ("own.py:small", "timm:inception_v4"):
        assert pixels_wanted(source, network, 3, pretrained=True) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
