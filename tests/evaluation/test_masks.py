"""Maps against masks, by scikit-learn and slow definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score, normalized_mutual_info_score

from protolens.evaluation.masks import NO_CLASS, count, figures_of_table, majority, normalised_mutual_information


def drawn(seed, prototypes=5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(prototypes, (4, 2, 3), generator=generator)
    masks = torch.randint(classes, (4, 8, 12), generator=generator).to(torch.uint8)
    masks[torch.rand(masks.shape, generator=generator) < 0.2] = NO_CLASS
    return places, masks


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_each_pixel_counts_for_the_prototype_of_its_place(seed):
    places, masks = drawn(seed)
    slow = torch.zeros(5, 3, dtype=torch.int64)
    for image in range(4):
        for row in range(8):
            for column in range(12):
                if masks[image, row, column] != NO_CLASS:
                    slow[int(places[image, row // 4, column // 4]), int(masks[image, row, column])] += 1
    assert torch.equal(count(places, masks, 5, 3), slow)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_figures_agree_with_scikit_learn(seed):
    places, masks = drawn(seed)
    large = places.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    known = masks != NO_CLASS
    belongs, labels = large[known].numpy(), masks[known].numpy()
    table = count(places, masks, 5, 3)
    class_of = majority(table)
    found = figures_of_table(table, class_of)
    told = class_of.numpy()[belongs]
    assert found["pixels"] == len(labels)
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(labels, told))
    assert found["pixel_accuracy"] == pytest.approx(found["purity"])  # where classes come from the same pixels
    assert found["iou"] == pytest.approx(jaccard_score(labels, told, average=None, labels=range(3), zero_division=0))
    assert found["mean_iou"] == pytest.approx(sum(found["iou"]) / 3)
    expected = normalized_mutual_info_score(labels, belongs)
    assert found["normalised_mutual_information"] == pytest.approx(expected, abs=1e-9)


def test_degenerate_tables_have_figures():
    one = torch.tensor([[4, 0], [0, 0]])
    assert normalised_mutual_information(one) == 0
    found = figures_of_table(one, majority(one))
    assert found["iou"] == [1.0, None]
    assert found["mean_iou"] == found["purity"] == 1
    assert majority(torch.tensor([[0, 0], [1, 5]])).tolist() == [1, 1]
