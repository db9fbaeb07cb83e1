"""Figures of diversity beside scikit-learn, SciPy, and the values that models.md gives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import davies_bouldin_score

from protolens.errors import ProtolensError
from protolens.evaluation.diversity import (
    area,
    attribute_divergence,
    attribute_entropy,
    cosine_kernel,
    coverage,
    davies_bouldin,
    distance_kernel,
    distances,
    entropy_of_similarity,
    separation,
    vendi_score,
    volume,
)
from protolens.evaluation.trust import matched_distance
from protolens.nn import log_ratio

seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("apart", "expected"), [(0.01, 0.489), (0.1, 0.102), (1.0, 0.0236), (5.0, 0.0150), (50.0, 0.0130), (1e9, 0.0127)]
)
def test_fifty_prototypes_that_are_equally_far_from_each_other(apart, expected):
    distance = torch.full((50, 50), apart, dtype=torch.float64).fill_diagonal_(0)
    assert entropy_of_similarity(log_ratio(distance)) == pytest.approx(expected, abs=6e-4 if apart < 1 else 6e-5)


def test_five_copies_of_each_row_have_a_floor_and_large_products_are_no_worst_value():
    copies = (1e4 * torch.eye(10)).repeat_interleave(5, 0).repeat_interleave(5, 1)
    assert entropy_of_similarity(copies) == pytest.approx(math.log(5) / math.log(50), abs=1e-9)
    assert entropy_of_similarity(1e6 * torch.eye(4)) == 0
    assert entropy_of_similarity(torch.ones(4, 4)) == pytest.approx(1)
    assert entropy_of_similarity(torch.ones(1, 1)) == 0


@given(seeds, st.floats(0.1, 10))
def test_the_volume_is_the_gram_determinant_of_directions(seed, scale):
    vectors, class_of = normal(seed, 6, 8), torch.tensor([0, 0, 0, 1, 1, 2])
    expected = []
    for k in range(3):
        own = vectors[class_of == k]
        own = own / own.norm(dim=1, keepdim=True)
        expected.append(float((own @ own.T).det()) ** (0.5 / len(own)))
    assert volume(vectors, class_of, 4) == pytest.approx(sum(expected) / 3, rel=1e-6)
    assert volume(scale * vectors, class_of, 4) == pytest.approx(sum(expected) / 3, rel=1e-6)


def test_prototypes_that_coincide_or_outnumber_the_code_span_nothing():
    same = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert volume(same, torch.zeros(2, dtype=torch.int64), 1) == pytest.approx(0, abs=1e-7)
    assert volume(torch.rand(3, 2), torch.zeros(3, dtype=torch.int64), 1) == 0
    assert volume(torch.eye(3), torch.zeros(3, dtype=torch.int64), 1) == pytest.approx(1)


@given(seeds)
def test_the_vendi_score_is_the_entropy_of_eigenvalues_and_knows_no_order(seed):
    vectors = normal(seed, 5, 7)
    for kernel in (cosine_kernel(vectors), distance_kernel(vectors, 2.0)):
        values = torch.linalg.eigvals(kernel / 5).real.clamp_min(0).numpy()
        assert vendi_score(kernel) == pytest.approx(math.exp(entropy(values)) / 5)
        order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        assert vendi_score(kernel[order][:, order]) == pytest.approx(vendi_score(kernel))


def test_the_vendi_score_counts_the_different_ones():
    assert vendi_score(torch.ones(4, 4)) == pytest.approx(1 / 4)
    assert vendi_score(torch.eye(4)) == pytest.approx(1)
    assert vendi_score(torch.eye(2).repeat_interleave(2, 0).repeat_interleave(2, 1)) == pytest.approx(2 / 4)


@settings(max_examples=30)
@given(seeds)
def test_davies_bouldin_is_scikit_learn_s_where_prototypes_are_means(seed):
    codes = normal(seed, 40, 3)
    assigned = torch.randint(4, (40,), generator=torch.Generator().manual_seed(seed))
    assigned[:4] = torch.arange(4)
    means = torch.stack([codes[assigned == number].mean(dim=0) for number in range(4)])
    vectors = torch.cat([means, torch.full((1, 3), 100.0)])  # one that is never used
    assert davies_bouldin(codes, vectors, assigned) == pytest.approx(davies_bouldin_score(codes, assigned), rel=1e-6)


def test_davies_bouldin_of_one_cell_is_none_and_of_equal_prototypes_infinite():
    codes, assigned = torch.rand(4, 2), torch.tensor([0, 0, 1, 1])
    assert math.isnan(davies_bouldin(codes, torch.rand(2, 2), torch.zeros(4, dtype=torch.int64)))
    assert davies_bouldin(codes, torch.zeros(2, 2), assigned) == math.inf


def test_prototypes_far_from_zero_are_as_far_from_each_other_as_they_are():
    vectors = torch.eye(50, 64) / 2**0.5 + 100  # all at a distance of 1, with lengths of 800
    assert distances(vectors).fill_diagonal_(1).sub(1).abs().max() < 1e-4
    assert distances(vectors).diagonal().max() == 0
    assert entropy_of_similarity(log_ratio(distances(vectors))) == pytest.approx(0.0236, abs=6e-5)
    twins = torch.cat([vectors, vectors[:1]])
    assert davies_bouldin(twins + 0.1, twins, torch.arange(51)) == math.inf


def test_a_scale_of_nothing_measures_nothing():
    assert math.isnan(separation(torch.eye(3), 0.0))
    assert math.isnan(matched_distance(torch.eye(3), torch.eye(3), 0.0))


def test_separation_is_the_way_to_the_nearest_other_one():
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    assert separation(vectors, 2.0) == pytest.approx((5 + 1 + 1) / 3 / 2)
    assert math.isnan(separation(vectors[:1], 1.0))


def test_the_hull_of_a_square_of_a_line_and_of_a_point():
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [1.0, 1.0]])
    assert area(square) == pytest.approx(4)
    assert area(torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])) == 0
    assert area(square[:1]) == 0


def test_coverage_is_the_mean_over_classes_that_have_an_area():
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    points = torch.cat([square, square + 10, torch.zeros(2, 2)])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    assert coverage(points, labels, torch.tensor([0, 1, 2, 4, 5])) == pytest.approx((0.5 + 0) / 2)
    assert coverage(points, labels, torch.arange(10)) == pytest.approx(1)
    assert math.isnan(coverage(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), torch.tensor([0])))


@given(seeds)
def test_attributes_are_compared_as_frequencies(seed):
    generator = torch.Generator().manual_seed(seed)
    own, whole = torch.randint(3, (12, 2), generator=generator), torch.randint(3, (60, 2), generator=generator)
    whole[:3] = torch.arange(3)[:, None]
    entropies, apart = [], []
    for attribute in range(2):
        shares = [[float((some[:, attribute] == value).double().mean()) for value in range(3)] for some in (own, whole)]
        entropies.append(entropy(shares[0]) / math.log(3))
        apart.append(entropy(*shares))
    assert attribute_entropy(own, 3) == pytest.approx(sum(entropies) / 2)
    assert attribute_divergence(own, whole, 3) == pytest.approx(sum(apart) / 2, abs=1e-12)


def test_what_no_image_has_is_infinitely_far():
    assert attribute_divergence(torch.tensor([[1]]), torch.tensor([[0], [0]]), 2) == math.inf


def test_a_kernel_that_is_no_number_is_refused():
    with pytest.raises(ProtolensError, match="kernel of a metric is not finite"):
        vendi_score(torch.full((2, 2), math.nan))
