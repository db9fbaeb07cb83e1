"""Backbones against the libraries' own layers, and boxes of places against slow definitions of a receptive field."""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.ops import SqueezeExcitation

from protolens.errors import ProtolensError
from protolens.nn import Backbone, load_backbone, make_backbone, map_size, receptive_boxes
from protolens.nn.precision import in_full_precision


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ProtolensError) as caught:
        call()
    return str(caught.value)


# ---- networks


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize(
    ("size", "places"), [((28, 28), (7, 7)), ((32, 32), (8, 8)), ((8, 8), (2, 2)), ((17, 23), (5, 6))]
)
def test_the_small_backbone_keeps_places_for_any_size_and_bands(bands, size, places):
    backbone = make_backbone("small", bands)
    assert backbone(torch.rand(2, bands, *size)).shape == (2, backbone.channels, *places)
    assert map_size(backbone, bands, size) == places
    assert backbone.channels == 128


def whole_with_the_weights_of(backbone: Backbone, name: str) -> nn.Module:
    """The library's network, with the weights of a cut one where that has any, and none elsewhere."""
    with torch.device("meta"):
        whole = models.get_model(name, weights=None)
    assert whole.load_state_dict(backbone.network.state_dict(), strict=False, assign=True).unexpected_keys == []
    return whole.eval()


@torch.no_grad()
def layers_of_resnet(whole: nn.Module, images: Tensor, last: int) -> Tensor:
    maps = whole.maxpool(whole.relu(whole.bn1(whole.conv1(images))))
    for number in range(1, last + 1):
        maps = getattr(whole, f"layer{number}")(maps)
    return maps


CUTS = {
    "vgg11": ("", lambda whole, images: whole.features(images)),  # with the last pooling
    "resnet18": ("", lambda whole, images: layers_of_resnet(whole, images, 4)),
    "densenet121": ("", lambda whole, images: F.relu(whole.features(images))),
    "mobilenet_v2": ("", lambda whole, images: whole.features(images)),
    "resnet34": ("layer2", lambda whole, images: layers_of_resnet(whole, images, 2)),
    "squeezenet1_1": ("features.5", lambda whole, images: whole.features[:6](images)),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_torchvision_network_ends_where_it_is_cut_or_else_where_protopnet_ends(name):
    cut, expected = CUTS[name]
    backbone = make_backbone(f"torchvision:{name}", 3, cut).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = backbone(images)
        assert torch.equal(maps, expected(whole_with_the_weights_of(backbone, name), images))
    assert maps.shape[1] == backbone.channels
    assert map_size(backbone, 3, (64, 64)) == maps.shape[2:]


def test_a_cut_network_holds_nothing_that_its_maps_do_not_need():
    backbone = make_backbone("torchvision:googlenet", 3, "inception4a")  # beside it stand auxiliary classifiers
    backbone(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


def test_a_cut_network_knows_training_from_evaluation():
    backbone = make_backbone("torchvision:efficientnet_b0", 3, "features.3")
    images = torch.rand(4, 3, 32, 32)
    before = copy.deepcopy(backbone.state_dict())
    backbone.eval()(images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    backbone.train()(images)
    assert not torch.equal(
        backbone.state_dict()["network.features.0.1.running_mean"], before["network.features.0.1.running_mean"]
    )


def test_a_copy_of_a_backbone_gives_the_same_maps_in_both_modes():
    backbone = make_backbone("torchvision:resnet18", 3, "layer1")
    other, images = copy.deepcopy(backbone), torch.rand(2, 3, 32, 32)
    assert torch.equal(backbone(images), other(images))
    assert torch.equal(backbone.eval()(images), other.eval()(images))


def seeded(bands: int) -> Backbone:
    torch.manual_seed(0)
    return make_backbone("torchvision:squeezenet1_1", bands, "features.0")


@torch.no_grad()
def test_one_band_is_seen_as_three_equal_ones_and_more_are_weighed_down():
    colour, grey, five = seeded(3), seeded(1), seeded(5)
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)))
    assert five(torch.rand(2, 5, 16, 16)).shape == colour(torch.rand(2, 3, 16, 16)).shape
    kernels = next(colour.parameters())
    slowly = torch.stack([kernels[:, band] * 3 / 5 for band in (0, 1, 2, 0, 1)], dim=1)
    torch.testing.assert_close(next(five.parameters()), slowly)


def test_what_is_wrong_with_a_name_or_a_cut_is_a_sentence():
    sentences = {
        ("resnet34", ""): "resnet34 is no backbone; write small, torchvision:NAME or timm:NAME",
        ("torchvision:resnet3", ""): "torchvision:resnet3 is no classification network of torchvision; did you mean "
        "torchvision:resnet34?",
        ("torchvision:fcn_resnet50", ""): "torchvision:fcn_resnet50 is no classification network of torchvision; did "
        "you mean torchvision:resnet50?",
        (
            "torchvision:resnet18",
            "layer5",
        ): "torchvision:resnet18 has no layer layer5 to be cut at; did you mean layer4?",
        (
            "torchvision:resnet18",
            "stem",
        ): "torchvision:resnet18 has no layer stem to be cut at; known are avgpool, bn1, "
        "conv1, fc, flatten, layer1, layer2, layer3, layer4, maxpool, relu",
        ("torchvision:resnet18", "flatten"): "torchvision:resnet18 gives 1 x 512 there, not maps [B, C, h, w]; cut it "
        "elsewhere or choose another",
        ("torchvision:swin_t", "features.1"): "torchvision:swin_t gives 1 x 56 x 56 x 96 there, not maps [B, C, h, w]; "
        "cut it elsewhere or choose another",
        ("small", "3"): "the backbone small cannot be cut at 3; leave cut out or choose torchvision:NAME",
    }
    for (name, cut), sentence in sentences.items():
        assert refusal(lambda name=name, cut=cut: make_backbone(name, 3, cut)) == sentence


def test_images_that_are_too_small_are_a_sentence(capsys):
    backbone = make_backbone("torchvision:squeezenet1_1", 3)
    for ask in (map_size, receptive_boxes):
        said = refusal(lambda ask=ask: ask(backbone, 3, (8, 40)))
        assert said.startswith("the network cannot take images of 8 x 40 pixels (")
        assert said.endswith("); set data.size to more pixels or cut the network earlier")
    assert capsys.readouterr().err == ""


# ---- timm


def test_a_timm_network_ends_before_it_pools_and_takes_options():
    timm = pytest.importorskip("timm")
    for name, options in [("mobilenetv2_050", {"pad_type": "same"}), ("resnet10t", {"output_stride": 8})]:
        words = "&".join(f"{key}={value}" for key, value in options.items())
        backbone = make_backbone(f"timm:{name}?{words}", 3).eval()
        whole = timm.create_model(name, **options).eval()
        assert whole.load_state_dict(backbone.network.state_dict(), strict=False).unexpected_keys == []
        images = torch.rand(2, 3, 65, 65)  # an odd size, where paddings differ
        with torch.no_grad():
            assert torch.equal(backbone(images), whole.forward_features(images))


def test_a_timm_network_can_be_cut_and_takes_any_bands():
    pytest.importorskip("timm")
    backbone = make_backbone("timm:mobilenetv2_050", 4, "blocks.1")
    assert backbone(torch.rand(2, 4, 32, 32)).shape == (2, backbone.channels, 8, 8)
    assert not any("blocks.2" in name for name in backbone.state_dict())


def test_what_is_wrong_with_a_timm_name_or_option_is_a_sentence():
    pytest.importorskip("timm")
    wrong = refusal(lambda: make_backbone("timm:mobilnetv2_100", 3))
    assert wrong == "timm:mobilnetv2_100 is no network of timm; did you mean timm:mobilenetv2_100?"
    wrong = refusal(lambda: make_backbone("timm:resnet10t?pad_typ=same", 3))
    assert wrong.startswith("timm:resnet10t?pad_typ=same cannot be made (")
    assert wrong.endswith("unexpected keyword argument 'pad_typ'); mend what follows its ?")


@pytest.mark.parametrize("option", ["pretrained=true", "checkpoint_path=weights.pth"])
def test_no_option_of_timm_downloads_or_unpickles(option):
    pytest.importorskip("timm")
    assert "multiple values for keyword argument" in refusal(lambda: make_backbone(f"timm:resnet10t?{option}", 3))
    assert refusal(lambda: make_backbone("timm:hf-hub:timm/resnet10t", 3)).startswith(
        "timm:hf-hub:timm/resnet10t is no"
    )


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    sentence = "timm:mobilenetv2_100 needs the extra: pip install 'protolens[timm]'"
    assert refusal(lambda: make_backbone("timm:mobilenetv2_100", 3)) == sentence


# ---- weights


@pytest.fixture
def resnet(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A file with the weights of a whole ResNet-18 in half precision, without counters of batches."""
    whole = models.resnet18(weights=None)
    for buffer in whole.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    state = {name: tensor.half() for name, tensor in whole.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "resnet18.safetensors")
    return tmp_path / "resnet18.safetensors", state


def test_weights_of_the_whole_network_fill_a_cut_one(resnet):
    path, state = resnet
    backbone = make_backbone("torchvision:resnet18", 3, "layer1")
    load_backbone(backbone, path)
    loaded = backbone.network.state_dict()
    assert {name for name in loaded if "num_batches" not in name} < set(state)
    for name, tensor in loaded.items():
        assert "num_batches" in name or torch.equal(tensor, state[name].float()), name
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(("bands", "slowly"), [(1, [(0, 1, 2)]), (4, [(0,), (1,), (2,), (0,)])])
def test_weights_for_colour_are_changed_for_other_bands(resnet, bands, slowly):
    path, state = resnet
    backbone = make_backbone("torchvision:resnet18", bands, "layer1")
    load_backbone(backbone, path)
    kernels = state["conv1.weight"].double()
    scale = 1 if bands == 1 else 3 / bands
    expected = torch.stack([sum(kernels[:, band] for band in each) * scale for each in slowly], dim=1)
    torch.testing.assert_close(backbone.network.conv1.weight.detach().double(), expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(backbone.network.state_dict()["layer1.1.conv2.weight"], state["layer1.1.conv2.weight"].float())


def test_missing_and_unfit_weights_are_named(resnet, tmp_path):
    path, state = resnet
    backbone = make_backbone("torchvision:resnet18", 3, "layer1")
    save_file({name: tensor for name, tensor in state.items() if name != "layer1.0.bn2.bias"}, path)
    lacking = f"{path} lacks layer1.0.bn2.bias; choose a file with the weights of this very network"
    assert refusal(lambda: load_backbone(backbone, path)) == lacking
    save_file(state | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    unfit = f"{path} has another shape of conv1.weight than the network: 64 x 3 x 3 x 3 for 64 x 3 x 7 x 7"
    assert refusal(lambda: load_backbone(backbone, path)) == unfit
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(lambda: load_backbone(backbone, path)).startswith(
        f"{path} is damaged, or neither safetensors nor a plain state dict ("
    )
    nowhere = tmp_path / "nowhere.safetensors"
    said = refusal(lambda: load_backbone(backbone, nowhere))
    assert said == f"{nowhere} does not exist; weights are never downloaded"


# ---- receptive boxes


@dataclass(frozen=True)
class Layer:
    kernel: int
    stride: int
    padding: int
    dilation: int = 1
    pools: bool = False

    def module(self) -> nn.Module:
        if self.pools:
            return nn.MaxPool2d(self.kernel, self.stride, self.padding, self.dilation)
        return nn.Conv2d(2, 2, self.kernel, self.stride, self.padding, self.dilation)

    def places(self, length: int) -> int:
        return (length + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def seen(self, place: int) -> set[int]:
        """Positions of the layer below, those in the padding included."""
        start = place * self.stride - self.padding
        return {start + self.dilation * step for step in range(self.kernel)}


def network_of(layers: list[Layer]) -> nn.Module:
    return nn.Sequential(*(layer.module() for layer in layers))


@st.composite
def any_layer(draw) -> Layer:
    kernel, stride, dilation, pools = (draw(each) for each in (*[st.integers(1, 3)] * 3, st.booleans()))
    return Layer(kernel, stride, draw(st.integers(0, kernel // 2 if pools else 2)), dilation, pools)


@st.composite
def usual_layer(draw) -> Layer:
    """Without dilation and gaps, and nothing sees padding alone: what the arithmetic of ProtoPNet is about."""
    kernel, pools = draw(st.integers(1, 4)), draw(st.booleans())
    padding = draw(st.integers(0, kernel // 2 if pools else kernel - 1))
    return Layer(kernel, draw(st.integers(1, kernel)), padding, 1, pools)


def lengths_of(layers: list[Layer], length: int) -> list[int]:
    lengths = [length]
    for layer in layers:
        lengths.append(layer.places(lengths[-1]))
        assume(lengths[-1] > 0)
    return lengths


def first_and_last(layers: list[Layer], lengths: list[int], place: int) -> tuple[int, int]:
    """Walk back from a place to the pixels it sees, layer by layer: the first, and the one after the last."""
    seen = {place}
    for layer, length in zip(reversed(layers), reversed(lengths[:-1]), strict=True):
        seen = {below for each in seen for below in layer.seen(each) if 0 <= below < length}
    return (min(seen), max(seen) + 1) if seen else (0, 0)


@given(st.lists(any_layer(), min_size=1, max_size=3), st.integers(1, 16), st.integers(1, 16))
@settings(max_examples=40)
def test_boxes_are_those_found_by_walking_back_through_the_layers(layers, height, width):
    rows, columns = lengths_of(layers, height), lengths_of(layers, width)
    network = network_of(layers)
    for weights in network.parameters():  # a maximum of padding alone is -inf, and inf - inf would be no number
        weights.data.abs_()
    boxes = receptive_boxes(network, 2, (height, width))
    assert boxes.shape == (rows[-1], columns[-1], 4)
    for row in range(rows[-1]):
        for column in range(columns[-1]):
            top, bottom = first_and_last(layers, rows, row)
            left, right = first_and_last(layers, columns, column)
            box = (left, top, right, bottom) if top < bottom and left < right else (0, 0, 0, 0)
            assert tuple(boxes[row, column].tolist()) == box


@given(st.lists(usual_layer(), min_size=1, max_size=4), st.integers(1, 30))
@settings(max_examples=40)
def test_boxes_equal_the_arithmetic_of_protopnet_but_for_pixels_that_no_stride_reaches(layers, side):
    jump, size, start, length, whole = 1, 1, 0.5, side, True
    for layer in layers:
        steps = (length - layer.kernel + 2 * layer.padding) / layer.stride
        whole &= steps == int(steps)
        length = int(steps // 1) + 1
        assume(length > 0)
        start += ((layer.kernel - 1) / 2 - layer.padding) * jump
        size += (layer.kernel - 1) * jump
        jump *= layer.stride
    boxes = receptive_boxes(network_of(layers), 2, (side, side))
    for place in range(length):
        centre = start + place * jump
        first, last = max(centre - size / 2, 0), min(centre + size / 2, side)
        left, top, right, bottom = boxes[place, place].tolist()
        assert (left, right) == (top, bottom)
        assert left == first
        assert right == last if whole else right <= last


def test_a_pixel_changes_just_the_places_whose_box_it_spans():
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.GELU()),
        *(nn.AvgPool2d(2, stride=1), nn.Conv2d(4, 3, (3, 2), dilation=(1, 2)), nn.SiLU()),
    )
    network = network.double().eval()
    height, width = 13, 10
    images = torch.rand(1 + height * width, 2, height, width, dtype=torch.float64)
    images[:] = images[0]
    for pixel in range(height * width):
        images[1 + pixel, :, pixel // width, pixel % width] += 1
    with torch.no_grad():
        maps = network(images)
    changed = (maps[1:] != maps[0]).any(dim=1)
    boxes = receptive_boxes(network, 2, (height, width))
    assert boxes.shape[:2] == maps.shape[2:]
    for row in range(maps.shape[2]):
        for column in range(maps.shape[3]):
            pixels = changed[:, row, column].nonzero()[:, 0].tolist()
            rows, columns = [pixel // width for pixel in pixels], [pixel % width for pixel in pixels]
            box = [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
            assert boxes[row, column].tolist() == box
    assert network[0].weight.dtype == torch.float64


ACTIVATIONS = [
    *(nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Mish()),
    *(nn.Hardtanh(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Threshold(0.1, 0.0)),
    *(nn.BatchNorm2d(2), nn.LocalResponseNorm(2), nn.Dropout(), nn.MaxPool2d(1), nn.AvgPool2d(1), nn.LPPool2d(2, 1)),
    *(nn.AdaptiveAvgPool2d((4, 5)), nn.AdaptiveMaxPool2d((4, 5)), nn.Upsample((4, 5), mode="bilinear")),
]


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=lambda layer: type(layer).__name__)
def test_layers_pass_on_what_is_not_a_number(layer):
    boxes = receptive_boxes(nn.Sequential(nn.Conv2d(1, 2, 3), layer), 1, (6, 7))
    expected = [[[left, top, left + 3, top + 3] for left in range(5)] for top in range(4)]
    assert boxes.tolist() == expected


@pytest.mark.parametrize("layer", [SqueezeExcitation(2, 1), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2)])
def test_layers_that_look_at_the_whole_map_see_every_pixel(layer):
    boxes = receptive_boxes(nn.Sequential(nn.Conv2d(1, 2, 3), layer), 1, (6, 7))
    assert boxes.flatten(0, 1).unique(dim=0).tolist() == [[0, 0, 7, 6]]


@pytest.mark.filterwarnings("ignore:TF32")
def test_boxes_are_exact_without_onednn_too():
    with torch.backends.mkldnn.flags(enabled=False):  # torch may then take Winograd convolutions
        boxes = receptive_boxes(nn.Conv2d(3, 8, 3, padding=1), 3, (80, 80))
    for row in range(80):
        assert boxes[row, row].tolist() == [max(row - 1, 0)] * 2 + [min(row + 2, 80)] * 2


def test_boxes_of_real_networks_follow_from_their_layers():
    boxes = receptive_boxes(make_backbone("torchvision:resnet18", 3, "layer1"), 3, (96, 96))
    assert boxes.shape == (24, 24, 4)
    # 7x7 with stride 2, pooling of 3 with stride 2, four times 3x3: 7 + 2 x 2 + 4 x 2 x 4 = 43 pixels, 4 a step
    assert boxes[12, 12].tolist() == [48 - 21, 48 - 21, 48 + 22, 48 + 22]
    assert receptive_boxes(make_backbone("small", 1), 1, (28, 28))[3, 3].tolist() == [3, 3, 25, 25]


def test_measuring_boxes_leaves_the_network_as_it_was():
    network = nn.Sequential(make_backbone("torchvision:resnet18", 1, "layer1"), nn.BatchNorm2d(64), nn.Dropout())
    network[1].eval()
    flags = [module.training for module in network.modules()]
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert not receptive_boxes(network, 1, (20, 20)).requires_grad
    assert [module.training for module in network.modules()] == flags
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def test_a_network_that_compares_codes_in_full_precision_has_receptive_fields():
    class Compared(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 4, 3, stride=2)

        def forward(self, images):
            return in_full_precision(torch.square)(self.convolution(images))

    plain = receptive_boxes(nn.Conv2d(1, 4, 3, stride=2), 1, (9, 9))
    assert torch.equal(receptive_boxes(Compared(), 1, (9, 9)), plain)
