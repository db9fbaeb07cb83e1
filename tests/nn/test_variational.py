"""The networks of ProtoVAE against the published layers, and its divergence against torch.distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal, kl_divergence

from protolens.nn import VariationalDecoder, VariationalEncoder, mixture_divergence

PUBLISHED = [
    ((1, 28, 28), (32, 64), [(64, 7, 7), (32, 14, 14)]),
    ((1, 28, 28), (32, 64, 128), [(128, 3, 3), (64, 7, 7), (32, 14, 14)]),
    ((3, 32, 32), (32, 64, 128, 256), [(256, 2, 2), (128, 4, 4), (64, 8, 8), (32, 16, 16)]),
]


@pytest.mark.parametrize(("image", "widths", "maps"), PUBLISHED, ids=["mnist", "quickdraw", "cifar10"])
def test_the_layers_are_those_of_the_published_code(image, widths, maps):
    encoder = VariationalEncoder(image[0], image[1:], widths, 16)
    assert encoder.shapes == [image, *maps[::-1]]
    kinds = [type(layer).__name__ for layer in encoder.layers]
    block = ["Conv2d", "ReLU", "BatchNorm2d", "AvgPool2d"]
    assert kinds == [*block * len(widths), "Flatten", "Linear", "ReLU", "Linear"]
    decoder = VariationalDecoder(encoder)
    kinds = [type(layer).__name__ for layer in decoder.layers]
    stage = ["Conv2d", "ReLU", "BatchNorm2d", "ConvTranspose2d", "ReLU", "BatchNorm2d"]
    assert kinds == ["Linear", "ReLU", "BatchNorm1d", "Unflatten", *stage * len(widths), "Conv2d", "Tanh"]
    wanted = [*widths[-2::-1], widths[0], image[0]]
    assert [layer.out_channels for layer in decoder.layers if isinstance(layer, nn.Conv2d)] == wanted
    enlarging = [layer for layer in decoder.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in enlarging} == {((4, 4), (2, 2), (1, 1))}


def test_the_initial_weights_are_those_of_the_published_code():
    encoder = VariationalEncoder(3, (32, 32), (32, 64), 64)
    decoder = VariationalDecoder(encoder)
    for layer in [*encoder.layers, *decoder.layers]:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            assert not layer.bias.any()
            if layer in decoder.layers and isinstance(layer, nn.Conv2d):
                expected = math.sqrt(2 / (9 * layer.out_channels))
            else:
                assert layer.weight.abs().max() <= 0.08
                expected = 0.08 / math.sqrt(3)
            assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.15)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=30)
def test_the_decoder_gives_back_the_encoder_s_input_size(height, width, bands, blocks):
    encoder = VariationalEncoder(bands, (height, width), (4, 6, 5, 3, 2)[:blocks], 7).eval()
    decoder = VariationalDecoder(encoder).eval()
    mean, log_variance = encoder(torch.rand(2, bands, height, width))
    assert mean.shape == log_variance.shape == (2, 7)
    pictures = decoder(mean)
    assert pictures.shape == (2, bands, height, width)
    assert pictures.abs().max() <= 1


def test_variances_end_at_1e_8_and_1e8():
    encoder = VariationalEncoder(1, (8, 8), (2,), 2).eval()
    for bias, expected in ((100.0, 1e8), (-100.0, 1e-8)):
        encoder.layers[-1].bias.data.fill_(bias)
        mean, log_variance = encoder(torch.rand(3, 1, 8, 8))
        assert mean.abs().min() > 50
        torch.testing.assert_close(log_variance.exp(), torch.full((3, 2), expected))


def mixture(seed: int, classes: list[int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator}
    return {
        "mean": torch.randn(6, 4, **draw),
        "log_variance": torch.randn(6, 4, **draw),
        "similarity": torch.rand(6, len(classes), **draw) + 0.01,
        "labels": torch.randint(4, (6,), **draw),
        "prototypes": torch.randn(len(classes), 4, **draw),
        "class_of": torch.tensor(classes),
    }


def divergence_of_one(i: int, mean, log_variance, similarity, labels, prototypes, class_of) -> float:
    own = [j for j in range(len(class_of)) if class_of[j] == labels[i]]
    total = sum(float(similarity[i, j]) for j in own)
    image = Normal(mean[i], (log_variance[i] / 2).exp())
    each = [float(kl_divergence(image, Normal(prototypes[j], torch.ones(4))).mean()) for j in own]
    return sum(float(similarity[i, j]) / total * value for j, value in zip(own, each, strict=True))


@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_the_divergence_is_the_mean_over_images_of_that_of_their_class_s_mixture(seed, classes):
    case = mixture(seed, classes)
    slowly = sum(divergence_of_one(i, **case) for i in range(6)) / 6
    assert float(mixture_divergence(**case)) == pytest.approx(slowly, rel=1e-5, abs=1e-6)


def test_detached_shares_change_the_gradient_and_not_the_value():
    case = mixture(0, [0, 0, 1, 1, 2, 3])
    case["similarity"].requires_grad_()
    attached = mixture_divergence(**case)
    (gradient,) = torch.autograd.grad(attached, case["similarity"])
    assert gradient.abs().max() > 0
    detached = mixture_divergence(**case, detach_shares=True)
    assert torch.equal(detached, attached)
    assert not detached.requires_grad


def test_the_divergence_is_finite_when_every_similarity_has_vanished():
    case = mixture(0, [0, 1, 2, 3]) | {"similarity": torch.zeros(6, 4, requires_grad=True)}
    value = mixture_divergence(**case)
    assert float(value) == 0
    assert torch.autograd.grad(value, case["similarity"])[0].isfinite().all()
