"""Distances, losses and decoders against their definitions written slowly."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch.nn import functional as F

from protolens.nn import (
    RECONSTRUCTIONS,
    ClassHead,
    ClassPrototypes,
    ConvEncoder,
    DeconvDecoder,
    UpConvDecoder,
    classification,
    cluster_cost,
    code_coverage,
    euclidean,
    log_ratio,
    off_class_weight,
    prototype_coverage,
    separation_cost,
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
    torch.testing.assert_close(classification(logits, labels), F.cross_entropy(logits, labels))

    smoothed = F.one_hot(labels, 3) * 0.8 + 0.2 / 3
    expected = -(smoothed.double() * logits.double().log_softmax(1)).sum(1) @ weights.double() / weights.double().sum()
    torch.testing.assert_close(classification(logits, labels, weights, 0.2).double(), expected)


def test_classification_of_several_classes_is_the_mean_of_binary_cross_entropies():
    logits, labels, weights = torch.randn(6, 3), torch.randint(2, (6, 3)), torch.rand(6)
    targets, p = labels.double() * 0.8 + 0.1, logits.double().sigmoid()
    each = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean(1)
    expected = each @ weights.double() / weights.double().sum()
    torch.testing.assert_close(classification(logits, labels, weights, 0.2).double(), expected)
    torch.testing.assert_close(classification(logits, labels, None, 0.2).double(), each.mean())


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


@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.integers(0, 1000))
def test_cluster_and_separation_are_means_of_the_nearest_own_and_other_prototype(images, prototypes, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    distance = torch.rand(images, prototypes, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    class_of = torch.randint(classes, (prototypes,), generator=generator)
    for cost, counted in ((cluster_cost, True), (separation_cost, False)):
        nearest = []
        for row, label in zip(distance.tolist(), labels.tolist(), strict=True):
            some = [d for d, k in zip(row, class_of.tolist(), strict=True) if (k == label) is counted]
            nearest += [min(some)] if some else []
        expected = sum(nearest) / len(nearest) if nearest else 0.0
        assert float(cost(distance, labels, class_of)) == pytest.approx(expected)


def test_images_without_a_prototype_to_count_give_no_undefined_gradient():
    distance = torch.rand(3, 2, requires_grad=True)
    cluster_cost(distance, torch.tensor([0, 1, 2]), torch.tensor([0, 0])).backward()
    assert distance.grad.isfinite().all()


def test_off_class_weight_sums_absolute_weights_to_other_classes():
    weight = torch.tensor([[1.0, -0.5, 2.0], [-0.25, 3.0, -4.0]])  # [K, P]
    assert float(off_class_weight(weight, torch.tensor([0, 1, 1]))) == 0.25 + 0.5 + 2.0


def test_a_class_head_starts_with_one_for_the_own_class_and_minus_a_half_for_others_and_can_lose_prototypes():
    class_of = torch.tensor([0, 0, 1, 2])
    head = ClassHead(class_of, 3)
    assert head.weight.tolist() == [[1, 1, -0.5, -0.5], [-0.5, -0.5, 1, -0.5], [-0.5, -0.5, -0.5, 1]]
    before = head.weight.detach().clone()
    head.keep(torch.tensor([1, 3]))
    assert torch.equal(head.weight, before[:, [1, 3]])
    assert head(torch.rand(5, 2)).shape == (5, 3)


def test_class_prototypes_keep_their_classes():
    prototypes = ClassPrototypes(2, 3, 4)
    assert prototypes.class_of.tolist() == [0, 0, 1, 1, 2, 2]
    before = prototypes.vectors.detach().clone()
    prototypes.keep(torch.tensor([0, 4, 5]))
    assert prototypes.class_of.tolist() == [0, 2, 2]
    assert torch.equal(prototypes.vectors, before[[0, 4, 5]])


def test_the_table_of_slots_follows_the_classes_and_is_in_no_file():
    prototypes = ClassPrototypes([2, 0, 3], 3, 4)
    assert prototypes.slots.tolist() == [[0, 1, -1], [-1, -1, -1], [2, 3, 4]]
    prototypes.keep(torch.tensor([1, 2, 4]))
    assert prototypes.slots.tolist() == [[0, -1], [-1, -1], [1, 2]]
    assert "slots" not in prototypes.state_dict()
    other = ClassPrototypes([1, 1, 1], 3, 4)
    other.load_state_dict(prototypes.state_dict())
    assert torch.equal(other.slots, prototypes.slots)


def test_the_log_ratio_is_largest_at_zero_and_falls():
    distance = torch.tensor([0.0, 0.5, 2.0])
    expected = [math.log((d + 1) / (d + 1e-4)) for d in distance.tolist()]
    assert log_ratio(distance).tolist() == pytest.approx(expected)
