"""Figures of transparency beside their definitions written slowly, and what does not change them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.errors import ProtolensError
from protolens.evaluation.metric import METRICS
from protolens.evaluation.transparency import (
    entropy_of_use,
    nearest_agreement,
    purities,
    purity,
    unused,
    unused_of_classes,
    use,
)

seeds = st.integers(0, 2**31)
CLASSES = 3


def drawn(seed: int, images: int = 40, prototypes: int = 6):
    """Similarities, some of them equal, labels, predictions and classes of prototypes."""
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.randint(0, 8, (images, prototypes), generator=generator) / 8
    labels, predicted = torch.randint(CLASSES, (2, images), generator=generator)
    return similarity, labels, predicted, torch.arange(prototypes) % CLASSES


@given(seeds)
def test_figures_are_their_definitions_written_slowly(seed):
    similarity, labels, predicted, class_of = drawn(seed)
    images, prototypes = similarity.shape
    counts, table, agreed = [0.0] * prototypes, [[0.0] * CLASSES for _ in range(prototypes)], 0.0
    for row in range(images):
        best = [j for j in range(prototypes) if similarity[row, j] == max(similarity[row].tolist())]
        for j in best:
            counts[j] += 1 / len(best)
            table[j][int(labels[row])] += 1 / len(best)
            agreed += (int(class_of[j]) == int(predicted[row])) / len(best)
    assert use(similarity).tolist() == pytest.approx(counts)
    assert unused(similarity) == pytest.approx(sum(count == 0 for count in counts) / prototypes)
    shares = [count / images for count in counts if count]
    assert entropy_of_use(similarity) == pytest.approx(-sum(p * math.log(p) for p in shares) / math.log(prototypes))
    assert nearest_agreement(similarity, class_of, predicted) == pytest.approx(agreed / images)
    own = [max(table[j]) / counts[j] for j in range(prototypes) if counts[j]]
    assert purity(similarity, labels, CLASSES) == pytest.approx(sum(own) / len(own))
    idle = unused_of_classes(similarity, class_of, CLASSES).tolist()
    for k in range(CLASSES):
        members = [counts[j] == 0 for j in range(prototypes) if class_of[j] == k]
        assert idle[k] == pytest.approx(sum(members) / len(members))


@given(seeds)
def test_the_order_of_prototypes_and_the_scale_of_similarity_change_nothing(seed):
    similarity, labels, predicted, class_of = drawn(seed)
    order = torch.randperm(similarity.shape[1], generator=torch.Generator().manual_seed(seed))
    for changed in (similarity[:, order], 2 * similarity[:, order] - 1):
        assert unused(changed) == unused(similarity)
        assert entropy_of_use(changed) == pytest.approx(entropy_of_use(similarity))
        assert purity(changed, labels, CLASSES) == pytest.approx(purity(similarity, labels, CLASSES))
        there = nearest_agreement(changed, class_of[order], predicted)
        assert there == pytest.approx(nearest_agreement(similarity, class_of, predicted))


def test_a_single_prototype_and_equal_ones_are_all_used():
    alone, equal = torch.rand(5, 1), torch.ones(5, 4)
    assert (unused(alone), entropy_of_use(alone)) == (0, 1)
    assert (unused(equal), entropy_of_use(equal)) == (0, pytest.approx(1))


def test_a_prototype_without_images_has_no_purity_and_a_class_without_prototypes_no_share():
    similarity = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = purities(similarity, torch.tensor([0, 0, 1]), 2)
    assert found[0] == pytest.approx(2 / 3)
    assert found[1].isnan()
    assert purity(similarity, torch.tensor([0, 0, 1]), 2) == pytest.approx(2 / 3)
    idle = unused_of_classes(similarity, torch.tensor([0, 0]), 2)
    assert idle[0] == 0.5
    assert idle[1].isnan()


@pytest.mark.parametrize(
    ("similarity", "said"),
    [
        (torch.rand(0, 3), "similarity of a metric is empty: it needs an image and a prototype at least"),
        (torch.tensor([[0.5, math.nan]]), "similarity of a metric is not finite"),
    ],
)
def test_similarities_that_say_nothing_are_refused(similarity, said):
    with pytest.raises(ProtolensError, match=said):
        unused(similarity)


def test_every_metric_says_what_it_is_of_which_way_is_better_and_by_whom():
    for metric in METRICS.values():
        assert metric.predicate in ("transparency", "trust", "diversity")
        assert metric.better in (-1, 0, 1)
        assert metric.low < metric.high
        assert metric.says.endswith(".")
        assert metric.source
