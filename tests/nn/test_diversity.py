"""Diversity terms against loops over classes with numpy, and where determinants overflow or vanish."""

import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.nn import distance_beyond, inverse_volume, negative_log_volume, orthonormality
from protolens.nn.diversity import LARGEST, by_class

VOLUMES = [inverse_volume, negative_log_volume]
classes_of = st.lists(st.integers(0, 4), min_size=1, max_size=12)


def draw(classes: list[int], features: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(classes), features, generator=generator), torch.tensor(classes)


def of_each_class(prototypes: torch.Tensor, class_of: torch.Tensor) -> list[numpy.ndarray]:
    return [prototypes[class_of == k].double().numpy() for k in sorted(set(class_of.tolist()))]


@given(classes_of)
def test_prototypes_by_class_are_those_of_the_class_in_order_and_zeros(classes):
    prototypes, class_of = draw(classes, 3)
    vectors, there = by_class(prototypes, class_of)
    for row, present, expected in zip(vectors, there, of_each_class(prototypes, class_of), strict=True):
        assert row[present].double().numpy() == pytest.approx(expected)
        assert not row[~present].any()


@given(classes_of, st.integers(1, 9), st.integers(0, 1000))
def test_orthonormality_is_the_mean_norm_of_centred_products_minus_the_identity(classes, features, seed):
    prototypes, class_of = draw(classes, features, seed)
    norms = []
    for vectors in of_each_class(prototypes, class_of):
        centred = vectors - vectors.mean(axis=0)
        norms.append(numpy.linalg.norm(centred @ centred.T - numpy.eye(len(vectors))))
    assert float(orthonormality(prototypes, class_of)) == pytest.approx(numpy.mean(norms), rel=1e-4)
    squared = numpy.mean(numpy.square(norms))
    assert float(orthonormality(prototypes, class_of, squared=True)) == pytest.approx(squared, rel=1e-4)


def test_centred_orthonormal_prototypes_cost_least_and_have_a_finite_gradient():
    # M centred vectors span M - 1 dimensions: the identity cannot be reached, its projection can
    centred = (torch.eye(3, 8) - torch.eye(3, 8).mean(dim=0)).requires_grad_()
    value = orthonormality(centred, torch.zeros(3, dtype=torch.int64))
    assert float(value.detach()) == pytest.approx(1)
    assert torch.autograd.grad(value, centred)[0].isfinite().all()


@given(classes_of, st.integers(0, 1000), st.sampled_from([0.1, 1.0, 3.0]))
def test_volumes_are_roots_of_determinants_of_scaled_products(classes, seed, scale):
    prototypes, class_of = draw(classes, 16, seed)
    determinants = [numpy.linalg.det(scale * v @ v.T) for v in of_each_class(prototypes, class_of)]
    inverse = numpy.mean([det**-0.5 for det in determinants])
    if max(det**-0.5 for det in determinants) < LARGEST:
        assert float(inverse_volume(prototypes, class_of, scale)) == pytest.approx(inverse, rel=1e-5)
    logs = numpy.mean([-0.5 * math.log(det) for det in determinants])
    assert float(negative_log_volume(prototypes, class_of, scale)) == pytest.approx(logs, rel=1e-5, abs=1e-5)


def test_the_gradient_of_a_volume_is_that_of_its_finite_differences():
    prototypes, class_of = draw([0, 0, 0, 1, 1, 3], 5)
    for volume in VOLUMES:
        assert torch.autograd.gradcheck(lambda v, term=volume: term(v, class_of), prototypes.double().requires_grad_())


DEGENERATE = {
    "twenty of 512 features, whose determinant is 1e54": draw([0] * 20 + [1] * 20, 512),
    "two equal ones": (torch.ones(1, 8).repeat(2, 1), torch.zeros(2, dtype=torch.int64)),
    "twenty equal ones": (torch.ones(1, 512).repeat(20, 1), torch.zeros(20, dtype=torch.int64)),
    "more than features": draw([0] * 7 + [2] * 2, 3),
    "zeros": (torch.zeros(3, 4), torch.tensor([0, 0, 1])),
    "one": (torch.ones(1, 4), torch.tensor([3])),
    "large and equal ones": (torch.full((5, 4), 1e6), torch.zeros(5, dtype=torch.int64)),
    "two a hair apart": (torch.eye(1, 4) + 1e-6 * torch.eye(2, 4), torch.zeros(2, dtype=torch.int64)),
}


@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("case", DEGENERATE)
def test_volumes_and_their_gradients_are_finite_for(case, volume):
    prototypes, class_of = DEGENERATE[case]
    prototypes = prototypes.clone().requires_grad_()
    for scale in (0.1, 1.0):
        value = volume(prototypes, class_of, scale)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert torch.autograd.grad(value, prototypes)[0].isfinite().all()


def test_descending_a_volume_parts_prototypes_that_were_nearly_equal():
    for volume in VOLUMES:
        prototypes = (torch.ones(2, 8) + 1e-3 * draw([0, 0], 8)[0]).requires_grad_()
        optimiser = torch.optim.Adam([prototypes], lr=0.1)
        for _ in range(100):
            optimiser.zero_grad()
            volume(prototypes, torch.zeros(2, dtype=torch.int64)).backward()
            optimiser.step()
        cosine = torch.cosine_similarity(prototypes[0], prototypes[1], dim=0)
        assert float(cosine.detach()) < 0.9


def test_the_inverse_volume_goes_on_smoothly_where_it_bends():
    lengths = [1 / (LARGEST * factor) for factor in (0.999, 1.0, 1.001)]
    values = [float(inverse_volume(torch.tensor([[length, 0.0]]), torch.tensor([0]))) for length in lengths]
    assert values == pytest.approx([0.999 * LARGEST, LARGEST, 1.001 * LARGEST], rel=1e-4)


def test_undefined_prototypes_give_an_undefined_volume_and_no_error():
    assert not negative_log_volume(torch.full((2, 3), math.nan), torch.tensor([0, 0])).isfinite()


def test_distance_beyond_counts_what_the_nearest_code_is_farther_than_the_margin():
    distance = torch.rand(5, 7) * 4
    nearest = [min(distance[i, j].item() for i in range(5)) for j in range(7)]
    slowly = sum(max(0.0, value - 0.5) for value in nearest) / 7
    assert float(distance_beyond(distance, 0.5)) == pytest.approx(slowly)
