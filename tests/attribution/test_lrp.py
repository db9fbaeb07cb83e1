"""Relevance against the rules written with matrices, against zennit, and by what it promises."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet121, mobilenet_v3_small, resnet18
from zennit.attribution import Gradient
from zennit.composites import EpsilonGammaBox, EpsilonPlusFlat
from zennit.rules import ZPlus
from zennit.torchvision import ResNetCanonizer
from zennit.types import Convolution

from protolens.attribution.flow import Flow
from protolens.attribution.lrp import lrp
from protolens.attribution.rules import COMPOSITES
from protolens.errors import ProtolensError
from protolens.nn import Hidden


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in evaluation mode with statistics and shifts that are not those of the beginning."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return network.eval()


def small(bands: int = 2, bias: bool = True, middle: nn.Module | None = None) -> nn.Sequential:
    """For images of 8 x 8."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(bands, 4, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(middle or nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=bias), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(6, 5, bias=bias), nn.LeakyReLU(0.1), nn.Linear(5, 3, bias=bias)),
    ).eval()


def matrix(layer: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A linear layer as W [outputs, inputs] and b."""
    zero = layer(torch.zeros(1, *shape).double()).flatten()
    basis = torch.eye(torch.Size(shape).numel()).double().view(-1, *shape)
    return (layer(basis).flatten(1) - zero).T, zero


def slowly(rule: str, a: Tensor, w: Tensor, b: Tensor, relevance: Tensor, sees: Tensor) -> Tensor:
    """One image through one layer. a: [I]; w: [O, I]; relevance: [O]; sees: [O, I], whether they are connected."""
    result = torch.zeros_like(a)

    def st(value: Tensor) -> Tensor:
        return value + (1e-6 if value >= 0 else -1e-6)

    for j in range(len(w)):
        products, z = a * w[j], a @ w[j] + b[j]
        plus, minus = products.clamp(min=0), products.clamp(max=0)
        if rule == "epsilon":
            result += products / st(z) * relevance[j]
        elif rule == "flat":
            result += sees[j] / sees[j].sum() * relevance[j]
        elif rule == "z_plus":
            result += plus / st(plus.sum()) * relevance[j]
        elif rule == "alpha_beta":
            result += 2 * plus / st(plus.sum()) * relevance[j]
            result -= minus / st(minus.sum()) * relevance[j]
        elif rule == "gamma":
            favoured = plus if z > 0 else minus
            constant = b[j] * (1.25 if b[j] * z > 0 else 1)
            total = st(z + 0.25 * favoured.sum() + constant - b[j])
            result += (products + 0.25 * favoured) / total * relevance[j]
        elif rule == "z_box":
            away = products - w[j].clamp(max=0)  # the least value is 0, the greatest 1
            result += away / st(away.sum()) * relevance[j]
    return result


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("name", COMPOSITES)
def test_each_composite_is_the_rules_written_with_matrices(name, normalised):
    # a shift before a padded convolution is no bias: borders have less of it
    middle = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, stride=2, padding=1)) if normalised else None
    network, image = shaken(small(middle=middle)).double(), torch.rand(1, 2, 8, 8).double()
    rules = COMPOSITES[name]
    inputs = [image]
    for layer in network:
        inputs.append(layer(inputs[-1]).detach())
    relevance = torch.zeros(3).double()
    relevance[1] = inputs[-1][0, 1]
    weighted = 0
    for place in reversed(range(len(network))):
        layer, given, result = network[place], inputs[place][0], inputs[place + 1][0]
        if isinstance(layer, nn.MaxPool2d):
            best = F.max_pool2d(given[None], 2, return_indices=True)[1]
            passed = torch.zeros(given.shape).double().flatten(1)
            relevance = passed.scatter_add(1, best.view(len(passed), -1), relevance.view(len(passed), -1)).flatten()
        elif isinstance(layer, nn.AvgPool2d | nn.Linear | nn.Conv2d | nn.Sequential):
            first = place == 0
            kind = rules.first if first else rules.dense if isinstance(layer, nn.Linear) else rules.convolution
            rule = "epsilon" if isinstance(layer, nn.AvgPool2d) else kind.__name__
            w, b = matrix(layer, tuple(given.shape))
            ones = nn.Conv2d(2, 4, 3, padding=1, bias=False).double() if first else None
            if ones:
                nn.init.ones_(ones.weight)
            sees = matrix(ones, tuple(given.shape))[0] if ones else w
            relevance = slowly(rule, given.flatten(), w, b, relevance, sees)
            weighted += 1
        assert result is not None
    assert weighted == 5
    found = lrp(network, image, torch.tensor([1]), name)
    torch.testing.assert_close(found.flatten(), relevance, rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def residual() -> nn.Module:
    torch.manual_seed(0)
    return shaken(resnet18())


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "epsilon-gamma-box"])
def test_resnet18_has_the_relevance_that_zennit_finds(residual, composite):
    images = torch.rand(3, 3, 64, 64)
    logits = residual(images).detach()
    targets = logits.argmax(dim=1)
    # z-plus gives constants nothing, as in the paper; zennit can leave them out
    layers, canonizers = [((Convolution,), ZPlus(zero_params=["bias"]))], [ResNetCanonizer()]
    if composite == "epsilon-plus-flat":
        rules = EpsilonPlusFlat(layer_map=layers, canonizers=canonizers)
    else:
        rules = EpsilonGammaBox(low=torch.zeros(3, 3, 64, 64), high=torch.ones(3, 3, 64, 64), canonizers=canonizers)
    with Gradient(residual, rules) as attributor:
        _, theirs = attributor(images, F.one_hot(targets, 1000) * logits)
    ours = lrp(residual, images, targets, composite)
    assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.9999
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=float(theirs.abs().max()) * 1e-4)


def test_a_linear_network_has_the_relevance_weight_times_input():
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), torch.rand(3, 3, 2, 2) + 0.1
    found = lrp(network, images, torch.tensor([0, 3, 1]), "epsilon")
    expected = (network[1].weight[[0, 3, 1]] * images.flatten(1)).view_as(images)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["epsilon-plus-flat", "epsilon-plus", "epsilon-plus-box", "epsilon", "gamma"])
def test_without_biases_relevance_sums_to_the_logit(name):
    network, images = small(bias=False), torch.rand(6, 2, 8, 8)
    logits = network(images).detach()
    targets = logits.argmax(dim=1)
    total = lrp(network, images, targets, name).sum(dim=(1, 2, 3))
    torch.testing.assert_close(total, logits.gather(1, targets[:, None])[:, 0], rtol=1e-3, atol=1e-5)


def test_a_dense_first_layer_tells_pixels_apart_by_the_rule_for_pixels():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    images, targets = torch.rand(2, 1, 4, 4), torch.tensor([0, 2])
    flat, box = (lrp(network, images, targets, f"epsilon-plus-{rule}") for rule in ("flat", "box"))
    assert flat.flatten(1).std(dim=1).min() > 0
    assert torch.equal(flat, box)


def test_a_batch_gives_what_its_images_give_alone(residual):
    images, targets = torch.rand(4, 3, 64, 64), torch.tensor([1, 5, 5, 9])
    together = lrp(residual, images, targets)
    alone = torch.cat([lrp(residual, images[row : row + 1], targets[row : row + 1]) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=float(alone.abs().max()) * 1e-4)


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d, behind: bool) -> nn.Conv2d:
    """A convolution, without padding, whose weights hold what a batch normalisation before or behind it does."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    result = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3)
    result.weight.data = convolution.weight * scale.view((-1, 1, 1, 1) if behind else (1, -1, 1, 1))
    if behind:
        result.bias.data = convolution.bias * scale + shift
    else:
        result.bias.data = convolution.bias + convolution.weight.sum((2, 3)) @ shift
    return result


@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_batch_normalisation_is_folded_into_the_layer_before_or_behind_it(behind, pooled):
    torch.manual_seed(0)
    begin = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    pool = nn.AvgPool2d(2) if pooled and not behind else nn.Identity()
    convolution, norm = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6 if behind else 4)
    end = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    middle = [convolution, norm] if behind else [norm, pool, convolution]
    network = shaken(nn.Sequential(begin, *middle, end))
    other = nn.Sequential(begin, pool, folded(convolution, norm, behind), end)
    images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 2])
    torch.testing.assert_close(network(images), other(images))
    for name in ("epsilon-plus-flat", "epsilon-alpha2-beta1", "gamma"):
        torch.testing.assert_close(
            lrp(network, images, targets, name), lrp(other, images, targets, name), rtol=1e-3, atol=1e-5
        )


def test_a_normalised_dense_layer_behind_flattened_maps_is_folded_too():
    torch.manual_seed(0)
    convolution, norm, dense = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3 * 4, 5)
    network = shaken(nn.Sequential(convolution, nn.ReLU(), norm, nn.Flatten(), dense))
    plain = nn.Linear(3 * 4, 5)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).repeat_interleave(4)
    shift = (norm.bias - norm.running_mean * scale[::4]).repeat_interleave(4)
    plain.weight.data, plain.bias.data = dense.weight.data * scale, dense.bias.data + dense.weight.data @ shift
    folded = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), plain)
    images, targets = torch.rand(4, 2, 4, 4), torch.arange(4)
    torch.testing.assert_close(lrp(network, images, targets), lrp(folded, images, targets), rtol=1e-4, atol=1e-6)


class Residual(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        a, b = 2 * F.relu(flat @ torch.eye(4) * 1.0), flat[:, [1, 0, 3, 2]]
        a = F.linear(a, torch.eye(4))
        b = F.linear(b, 3 * torch.eye(4))
        a += b
        return a


def test_a_residual_sum_divides_by_what_is_added_even_in_place():
    images = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    found = lrp(Residual(), images, torch.tensor([0]), "epsilon")  # logit 0 is 2 x0 + 3 x1
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 6.0, 0.0, 0.0]))


@pytest.mark.parametrize("architecture", [densenet121, mobilenet_v3_small])
def test_networks_with_concatenation_and_gates_have_relevance(architecture):
    torch.manual_seed(0)
    network = shaken(architecture())
    found = lrp(network, torch.rand(2, 3, 64, 64), torch.tensor([0, 7]))
    assert found.isfinite().all()
    assert (found.abs().flatten(1).amax(dim=1) > 0).all()


@pytest.mark.parametrize("network", [Residual(), nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU())])
def test_nothing_stays_in_memory(network):
    gc.collect()
    before = sum(type(thing) is Flow for thing in gc.get_objects())
    lrp(network, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    gc.collect()
    assert sum(type(thing) is Flow for thing in gc.get_objects()) == before


class Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda logits: logits.cumsum(1), "cannot go back through cumsum, which has no rule"),
        (lambda logits: logits * logits, "cannot go back through mul of two tensors that both depend on the image"),
        (lambda logits: logits.softmax(1), "has to end in logits, without softmax"),
        (lambda logits: torch.zeros(len(logits), 3), "does not come from its input"),
    ],
)
def test_a_function_without_a_rule_is_named_and_the_network_stays_as_it_was(function, sentence):
    network = nn.Sequential(small(), Call(function))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ProtolensError, match=sentence):
        lrp(network, torch.rand(2, 2, 8, 8), torch.tensor([0, 1]))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    torch.testing.assert_close(torch.rand(2).relu(), torch.rand(2).relu(), rtol=9, atol=9)  # no mode is left on


def test_an_unknown_composite_is_refused():
    with pytest.raises(ProtolensError, match="epsilon-plus-flt is no composite of rules; did you mean epsilon-plus-fl"):
        lrp(small(), torch.rand(1, 2, 8, 8), torch.tensor([0]), "epsilon-plus-flt")


def test_a_network_may_ask_how_large_its_images_are():
    """As "same" padding does, which depends on the size."""

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3, stride=2, bias=False)

        def forward(self, images):
            height, width = images.size()[-2:]
            missing = (-width % 2 + 1, -height % 2 + 1)
            return self.convolution(F.pad(images, (0, missing[0], 0, missing[1]))).flatten(1)[:, :4]

    class Plain(Padded):
        def forward(self, images):
            return self.convolution(F.pad(images, (0, 1, 0, 1))).flatten(1)[:, :4]

    padded, plain = Padded().eval(), Plain().eval()
    plain.load_state_dict(padded.state_dict())
    images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 2])
    assert torch.equal(lrp(padded, images, targets), lrp(plain, images, targets))
    assert lrp(padded, images, targets).abs().sum() > 0


def test_images_may_be_turned_and_resized_before_the_first_layer():
    dense = nn.Linear(4, 3)
    images, targets = torch.rand(2, 1, 4, 4) + 0.1, torch.tensor([0, 2])
    turned = nn.Sequential(Call(lambda pixels: (pixels.flip(3) - 0.5) / 0.2), nn.AvgPool2d(2), nn.Flatten(), dense)
    shares = (images.flip(3) - 0.5) / F.interpolate(F.avg_pool2d(images.flip(3) - 0.5, 2), scale_factor=2) / 4
    of_places = dense.weight[targets].view(2, 1, 2, 2) * F.avg_pool2d((images.flip(3) - 0.5) / 0.2, 2)
    expected = (F.interpolate(of_places, scale_factor=2) * shares).flip(3)
    torch.testing.assert_close(lrp(turned, images, targets, "epsilon"), expected.detach(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_hidden_pixels_have_no_relevance_and_the_others_what_they_have_beside_a_constant(composite):
    images = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    hidden = Hidden([(1, 2, 6, 5)], 2, (8, 8))
    hidden.fill.copy_(torch.tensor([0.3, 0.7]))
    network, targets = small(), torch.tensor([0, 2])
    found = lrp(nn.Sequential(hidden, network), images, targets, composite)
    assert found[:, :, 2:5, 1:6].abs().max() == 0
    if "box" in composite:  # which knows that hidden pixels have one value alone
        assert found.isfinite().all()
        return
    expected = lrp(network, hidden(images), targets, composite) * hidden.visible
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("written", [lambda x: torch.where(x > 0, x, 0.0), lambda x: x.masked_fill(x < 0, 0.0)])
def test_an_activation_that_chooses_by_a_mask_is_one_that_is_called(written):
    class Chosen(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return written(maps)

    def network(activation: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 3), activation, nn.Flatten(), nn.Linear(144, 3)).eval()

    images = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    found, expected = (lrp(network(one), images, torch.tensor([0, 1, 2])) for one in (Chosen(), nn.ReLU()))
    torch.testing.assert_close(found, expected)
