"""Figures of trust beside SciPy, brute force, and the values that models.md gives."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, spearmanr

from protolens.errors import ProtolensError
from protolens.evaluation.trust import (
    accuracy_gap,
    agreement,
    average_drop,
    average_increase,
    calibrated_divergence,
    divergence,
    divergence_of_decision,
    log_shares_of_cells,
    matched_correlation,
    matched_distance,
)
from protolens.nn import log_ratio

seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_gap_is_what_the_black_box_has_more_and_agreement_knows_no_label():
    black, own = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]
    labels = torch.tensor([0, 1, 2, 0])
    assert accuracy_gap(own, black, labels) == pytest.approx(0.75 - 0.5)
    assert agreement(own, black) == 0.5


@given(seeds)
def test_the_divergence_is_scipy_s(seed):
    own, black = 3 * normal(seed, 2, 20, 4)
    there, wanted = own.softmax(dim=1), black.softmax(dim=1)
    assert divergence(own, black) == pytest.approx(entropy(wanted.numpy(), there.numpy(), axis=1).mean())
    slow = [-float(wanted[row].max()) * float(there[row, int(wanted[row].argmax())].log()) for row in range(len(own))]
    assert divergence_of_decision(own, black) == pytest.approx(sum(slow) / len(slow))


def test_a_model_that_excludes_a_class_is_infinitely_far_from_one_that_allows_it():
    own = torch.tensor([[0.0, -torch.inf]])
    assert divergence(own, torch.zeros(1, 2)) == torch.inf
    assert divergence(own, torch.tensor([[800.0, 0.0]])) == 0


@pytest.mark.parametrize(("near", "far", "share"), [(3.0, 10.0, 0.119), (0.1, 10.0, 0.53), (0.01, 10.0, 0.91)])
def test_published_probabilities_hardly_tell_classes_apart_unless_codes_lie_on_prototypes(near, far, share):
    class_of = torch.arange(50) // 5
    distance = torch.where(class_of == 0, near, far)[None].double()
    found = log_shares_of_cells(log_ratio(distance), class_of, 10).exp()
    assert float(found[0, 0]) == pytest.approx(share, abs=5e-3)
    assert float(found.sum()) == pytest.approx(1)


def test_a_class_without_prototypes_has_no_share():
    found = log_shares_of_cells(torch.rand(3, 2), torch.tensor([0, 2]), 4)
    assert (found[:, [1, 3]] == -torch.inf).all()
    assert found[:, [0, 2]].isfinite().all()


@given(seeds, st.floats(0.1, 100))
def test_one_temperature_takes_away_how_sure_a_model_is(seed, scale):
    black, seen = normal(seed, 30, 4), normal(seed + 1, 50, 4)
    assert calibrated_divergence(black * scale, black, seen * scale, seen) == pytest.approx(0, abs=1e-6)


@given(seeds)
def test_drop_and_increase_are_shares_of_what_was_there(seed):
    generator = torch.Generator().manual_seed(seed)
    before, after = torch.rand(2, 30, generator=generator, dtype=torch.float64) + 0.1
    drops = [max(0.0, float(b - a)) / (float(b) + 1e-8) for b, a in zip(before, after, strict=True)]
    assert average_drop(before, after) == pytest.approx(sum(drops) / 30)
    risen = [float(a) > float(b) * (1 + 1e-4) for b, a in zip(before, after, strict=True)]
    assert average_increase(before, after) == pytest.approx(sum(risen) / 30)
    assert average_increase(before, before * (1 + 1e-6)) == 0  # rounding is no rise


@settings(max_examples=30)
@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_partners_are_those_of_the_best_of_all_matchings(seed, ours, theirs):
    first, second = normal(seed, ours, 3), normal(seed + 1, theirs, 3)
    small, large = (first, second) if ours <= theirs else (second, first)
    sums = [
        sum(float((small[row] - large[column]).norm()) for row, column in enumerate(columns))
        for columns in itertools.permutations(range(len(large)), len(small))
    ]
    assert matched_distance(first, second, 2.0) == pytest.approx(min(sums) / len(small) / 2)
    shuffled = first[torch.randperm(ours, generator=torch.Generator().manual_seed(seed))]
    assert matched_distance(first, shuffled, 1.0) == pytest.approx(0, abs=1e-12)


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(ProtolensError, match="black of a metric is not finite"):
        agreement(torch.zeros(1, 2), torch.tensor([[torch.nan, 0.0]]))


@settings(max_examples=30)
@given(seeds, st.integers(1, 4), st.integers(1, 4))
def test_prototypes_of_two_runs_are_matched_by_scipy_s_rank_correlation(seed, ours, theirs):
    first, second = normal(seed, 12, ours), normal(seed + 1, 12, theirs)
    small, large = (first, second) if ours <= theirs else (second, first)
    means = [
        sum(spearmanr(small[:, row], large[:, column]).statistic for row, column in enumerate(columns)) / len(columns)
        for columns in itertools.permutations(range(large.shape[1]), small.shape[1])
    ]
    assert matched_correlation(first, second) == pytest.approx(max(means))
    order = torch.randperm(ours, generator=torch.Generator().manual_seed(seed))
    assert matched_correlation(first, 3 * first[:, order] - 2) == pytest.approx(1)


def test_a_prototype_that_is_equally_similar_to_all_is_like_no_other():
    assert matched_correlation(torch.ones(4, 1), torch.rand(4, 1)) == 0
