"""Distances, losses and decoders against their definitions written slowly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch.nn import functional as F

from protolens.nn import (
    RECONSTRUCTIONS,
    ConvEncoder,
    DeconvDecoder,
    UpConvDecoder,
    classification,
    code_coverage,
    euclidean,
    prototype_coverage,
    squared_euclidean,
)
from protolens.nn.decoders import LastUpConv, UpConv


@st.composite
def codes_and_prototypes(draw):
    rows, prototypes, features, seed = (draw(st.integers(1, 9)) for _ in range(4))
    generator = torch.Generator().manual_seed(seed)
    scale = draw(st.sampled_from([1e-3, 1.0, 1e3]))
    pair = (torch.randn(n, features, generator=generator) * scale for n in (rows, prototypes))
    return tuple(pair)


@given(codes_and_prototypes())
def test_distances_equal_scipy_s(pair):
    code, prototypes = pair
    exact = torch.from_numpy(cdist(code.double(), prototypes.double()))
    torch.testing.assert_close(euclidean(code, prototypes).double(), exact, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(squared_euclidean(code, prototypes).double(), exact**2, rtol=1e-5, atol=1e-9)


def test_the_distance_of_a_code_to_itself_is_zero_and_has_a_finite_gradient():
    code = torch.randn(3, 7, requires_grad=True)
    for distance in (euclidean, squared_euclidean):
        (gradient,) = torch.autograd.grad(distance(code, code.detach()).diagonal().sum(), code)
        assert torch.equal(gradient, torch.zeros_like(gradient))


@given(codes_and_prototypes())
def test_coverages_are_means_of_nearest_distances(pair):
    distance = euclidean(*pair)
    rows = distance.tolist()
    of_prototypes = [min(row[j] for row in rows) for j in range(len(rows[0]))]
    of_codes = [min(row) for row in rows]
    assert float(prototype_coverage(distance)) == pytest.approx(sum(of_prototypes) / len(of_prototypes), rel=1e-5)
    assert float(code_coverage(distance)) == pytest.approx(sum(of_codes) / len(of_codes), rel=1e-5)


def test_classification_with_weights_is_the_weighted_mean_of_cross_entropies():
    logits, labels, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.rand(6)
    each = [-logits[i].double().log_softmax(0)[labels[i]] for i in range(6)]
    expected = sum(w * e for w, e in zip(weights.tolist(), each, strict=True)) / weights.sum()
    torch.testing.assert_close(classification(logits, labels, weights).double(), expected.double())
    assert classification(logits, labels) == F.cross_entropy(logits, labels)


def test_each_form_of_reconstruction_error_is_what_its_source_writes():
    pictures, images = torch.rand(4, 3, 5, 6), torch.rand(4, 3, 5, 6)
    errors = [(p - i).flatten().double() for p, i in zip(pictures, images, strict=True)]
    slowly = {
        "squared": sum(sum(x * x for x in e.tolist()) for e in errors) / 4,
        "mean-squared": sum(sum(x * x for x in e.tolist()) for e in errors) / (4 * 90),
        "norm": sum(sum(x * x for x in e.tolist()) ** 0.5 for e in errors) / 4,
        "absolute": sum(sum(abs(x) for x in e.tolist()) for e in errors) / 4,
    }
    assert set(slowly) == set(RECONSTRUCTIONS)
    for name, expected in slowly.items():
        assert float(RECONSTRUCTIONS[name](pictures, images)) == pytest.approx(expected, rel=1e-5), name


def test_the_published_encoder_ends_in_40_features_for_28_and_32_pixels():
    for side in (28, 32):
        encoder = ConvEncoder(1, (side, side), (32, 32, 32, 10))
        assert encoder.features == encoder(torch.rand(2, 1, side, side)).flatten(1).shape[1] == 40


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.sampled_from([DeconvDecoder, UpConvDecoder]))
@settings(max_examples=25, deadline=None)
def test_a_decoder_gives_back_the_encoder_s_input_size(height, width, bands, kind):
    encoder = ConvEncoder(bands, (height, width), (8, 6, 4))
    decoder = kind(encoder)
    code = encoder(torch.rand(2, bands, height, width)).flatten(1)
    assert [tuple(shape) for shape in encoder.shapes[-1:]] == [
        tuple(encoder(torch.rand(1, bands, height, width)).shape[1:])
    ]
    assert decoder(code).shape == (2, bands, height, width)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1), st.integers(0, 1), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_the_last_layer_equals_resizing_and_then_convolving(height, width, more, wider, bands):
    size = (2 * height - more, 2 * width - wider)
    if min(size) < 1:
        size = (max(size[0], 1), max(size[1], 1))
    fast = LastUpConv(5, bands, (height, width), size).double()
    slow = UpConv(5, bands, size).double()
    slow.load_state_dict(fast.state_dict())
    images = torch.rand(3, 5, height, width, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(fast(images), slow(images), atol=1e-6, rtol=1e-6)
    gradients = [torch.autograd.grad(layer(images).square().sum(), images)[0] for layer in (fast, slow)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)
