"""The promises of prototypes against slow definitions."""

import itertools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.data import MemoryImages, to_float
from protolens.evaluation.promises import (
    consistency,
    duplicates,
    own_class_nearest,
    patches_of_own_class,
    promises,
    spread,
    stranger_overlap,
)
from protolens.models import build_model, state_digest
from tests.conftest import make_task


@st.composite
def seen(draw):
    """similarity [N, P], labels [N], class_of [P], with every class among both."""
    classes = draw(st.integers(2, 4))
    images, prototypes = draw(st.integers(classes, 12)), draw(st.integers(classes, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    similarity = torch.randn(images, prototypes, generator=generator)
    return similarity, torch.arange(images) % classes, torch.arange(prototypes) % classes


@given(seen(), st.integers(1, 5))
def test_an_image_s_nearest_prototypes_are_counted_as_by_hand(case, count):
    similarity, labels, class_of = case
    shares = []
    for row, label in zip(similarity.tolist(), labels.tolist(), strict=True):
        asked = min(count, class_of.tolist().count(label))
        nearest = sorted(range(len(row)), key=lambda j, row=row: -row[j])[:asked]
        shares.append(sum(int(class_of[j]) == label for j in nearest) / asked)
    assert own_class_nearest(similarity, labels, class_of, count) == pytest.approx(sum(shares) / len(shares))


@given(seen(), st.integers(1, 5))
def test_a_prototype_s_nearest_images_are_counted_as_by_hand(case, count):
    similarity, labels, class_of = case
    shares = []
    for column, k in zip(similarity.T.tolist(), class_of.tolist(), strict=True):
        nearest = sorted(range(len(column)), key=lambda i, column=column: -column[i])[:count]
        shares.append(sum(int(labels[i]) == k for i in nearest) / len(nearest))
    assert patches_of_own_class(similarity, labels, class_of, count) == pytest.approx(sum(shares) / len(shares))


@given(seen())
def test_the_overlap_is_the_share_of_pairs_in_which_the_stranger_wins(case):
    similarity, labels, class_of = case
    chances = []
    for column, k in zip(similarity.T.tolist(), class_of.tolist(), strict=True):
        own = [value for value, label in zip(column, labels.tolist(), strict=True) if label == k]
        other = [value for value, label in zip(column, labels.tolist(), strict=True) if label != k]
        chances.append(sum(b > a for a, b in itertools.product(own, other)) / (len(own) * len(other)))
    assert stranger_overlap(similarity, labels, class_of) == pytest.approx(sum(chances) / len(chances))


def test_without_images_of_a_class_and_of_others_there_is_no_overlap():
    assert (
        stranger_overlap(torch.rand(3, 2), torch.zeros(3, dtype=torch.long), torch.zeros(2, dtype=torch.long)) is None
    )


def test_images_whose_classes_have_no_prototypes_leave_a_figure_that_json_can_hold():
    model = build_model({"name": "protovae", "per_class": 1}, make_task(1, (16, 16)), 0)
    model.keep(torch.tensor([0]))
    pixels = torch.zeros(6, 1, 16, 16, dtype=torch.uint8)
    images = MemoryImages("test", pixels, torch.ones(6, dtype=torch.long), [str(row) for row in range(6)])
    found = promises(model, images, torch.rand(6, 1), 0)
    assert found["own_class_nearest"] is None
    json.dumps(found, allow_nan=False)


def test_coinciding_prototypes_are_duplicates_and_others_are_not():
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert duplicates(vectors) == 0
    vectors[5] = vectors[1] + 1e-6
    assert duplicates(vectors) == pytest.approx(2 / 6)
    assert duplicates(torch.zeros(3, 4)) == 1
    assert duplicates(vectors[:1]) == 0


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 1000))
def test_the_spread_is_the_mean_squared_distance_over_pairs(count, depth, seed):
    codes = torch.randn(count, depth, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pairs = [float((a - b).square().sum()) for a, b in itertools.combinations(codes, 2)]
    assert float(spread(codes)) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize("name", ["protopnet", "prototypedl"])
def test_promises_leave_the_model_alone_and_depend_on_nothing_but_the_seed(name):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (30, 1, 16, 16), generator=generator, dtype=torch.uint8)
    images = MemoryImages("test", pixels, torch.arange(30) % 4, [str(row) for row in range(30)])
    model = build_model({"name": name}, make_task(1, (16, 16)), 0).eval()
    before = state_digest(model)
    with torch.no_grad():
        similarity = model.evidence(to_float(pixels, torch.device("cpu"))).similarity
    first, second = (promises(model, images, similarity, seed=4) for _ in range(2))
    assert first == second
    assert state_digest(model) == before
    assert 0 < first["consistency"] < 2


def test_prototypes_that_always_find_the_same_patch_are_wholly_consistent():
    model = build_model({"name": "protopnet"}, make_task(1, (16, 16)), 0).eval()
    patch = torch.randint(256, (4, 4), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    pixels = torch.zeros(12, 1, 16, 16, dtype=torch.uint8)
    pixels[:, 0, 4:8, 4:8] = patch
    images = MemoryImages("test", pixels, torch.arange(12) % 4, [str(row) for row in range(12)])
    with torch.no_grad():
        similarity = model.evidence(to_float(pixels, torch.device("cpu"))).similarity
    assert consistency(model, images, similarity, seed=0) == pytest.approx(0, abs=1e-6)
