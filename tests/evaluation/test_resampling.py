"""Prototypes found again: blobs that stand apart come back, and chance does not."""

import itertools

import pytest
import torch

from protolens.data import MemoryImages, to_float
from protolens.evaluation.resampling import (
    Centres,
    Codes,
    again_in_each_way,
    by_chance,
    clustered,
    codes_of,
    matched,
    resampled,
)
from protolens.models import build_model, state_digest
from tests.conftest import make_task


def blobs(spread: float, each: int = 60) -> tuple[Codes, Centres]:
    """Two blobs for each of three classes, 10 apart and more, and their middles."""
    generator = torch.Generator().manual_seed(0)
    middles = 10 * torch.eye(6)
    class_of = torch.arange(6) // 2
    vectors = middles.repeat_interleave(each, dim=0) + spread * torch.randn(6 * each, 6, generator=generator)
    return Codes(vectors, class_of.repeat_interleave(each), 6 * each), Centres(middles, class_of)


def test_blobs_that_stand_apart_are_found_again_and_chance_is_farther():
    codes, middles = blobs(0.1)
    reference = clustered(codes, middles, False, 0, start=middles.vectors)
    found: dict[str, list[float]] = {}
    for way, other in again_in_each_way(codes, reference, False, 0):
        found.setdefault(way, []).append(matched(reference, other, codes.vectors, 1.0, True))
    assert set(found) == {"start", "sample", "both", "random"}
    for way in ("start", "sample", "both"):
        assert max(distance for distance, _ in found[way]) < 0.1
        assert min(correlation for _, correlation in found[way]) > 0.95
    assert min(distance for distance, _ in found["random"]) > 0.1


def test_the_same_codes_from_the_same_start_are_the_same_prototypes():
    codes, middles = blobs(2.0)
    reference = clustered(codes, middles, False, 0, start=middles.vectors)
    again = clustered(codes, reference, False, 1, start=reference.vectors)
    assert matched(reference, again, codes.vectors, 1.0, True)[0] == pytest.approx(0, abs=0.02)
    one, two = (list(again_in_each_way(codes, reference, False, 4)) for _ in range(2))
    assert all(torch.equal(a.vectors, b.vectors) for (_, a), (_, b) in zip(one, two, strict=True))


def test_partners_are_the_best_of_all_matchings_within_each_class():
    generator = torch.Generator().manual_seed(3)
    class_of = torch.tensor([0, 0, 0, 1, 1])
    first, second = (Centres(torch.randn(5, 2, generator=generator), class_of) for _ in range(2))
    total = 0.0
    for k in (0, 1):
        mine, theirs = first.vectors[class_of == k], second.vectors[class_of == k]
        total += min(
            sum(float((mine[i] - theirs[j]).norm()) for i, j in enumerate(order))
            for order in itertools.permutations(range(len(mine)))
        )
    codes = torch.randn(20, 2, generator=generator)
    assert matched(first, second, codes, 2.0, True)[0] == pytest.approx(total / 5 / 2)
    order = torch.tensor([2, 0, 1, 4, 3])
    shuffled = Centres(first.vectors[order], class_of)
    for by_distance in (True, False):
        assert matched(first, shuffled, codes, 2.0, by_distance) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


def test_a_resample_has_as_many_codes_of_each_class_and_only_codes_of_it():
    codes, _ = blobs(1.0, each=7)
    codes = Codes(codes.vectors[3:], codes.labels[3:] * 2, 39)  # a class in between has none
    found = resampled(codes, torch.Generator().manual_seed(0))
    assert torch.equal(found.labels.bincount(), codes.labels.bincount())
    for vector, label in zip(found.vectors, found.labels.tolist(), strict=True):
        assert (codes.vectors[codes.labels == label] == vector).all(dim=1).any()
    assert len(found.vectors.unique(dim=0)) < len(codes.vectors.unique(dim=0))


def test_classes_without_codes_or_without_prototypes_are_left_out():
    codes, middles = blobs(0.1)
    some = Codes(codes.vectors[codes.labels < 2], codes.labels[codes.labels < 2], 1)
    found = clustered(some, middles, False, 0)
    assert found.class_of.tolist() == [0, 0, 1, 1]
    few = Centres(middles.vectors[2:], middles.class_of[2:])
    assert clustered(codes, few, False, 0).class_of.tolist() == [1, 1, 2, 2]
    distance, correlation = matched(middles, few, codes.vectors, 1.0, True)
    assert (distance, correlation) == (pytest.approx(0), pytest.approx(1))
    nothing = matched(Centres(middles.vectors[:2], middles.class_of[:2]), few, codes.vectors, 1.0, True)
    assert nothing[0] != nothing[0]  # not a number


def test_one_prototype_a_class_and_codes_that_are_all_alike_have_a_defined_answer():
    codes, middles = blobs(0.1)
    one = Centres(middles.vectors[::2], middles.class_of[::2])
    found = clustered(codes, one, False, 0)
    for k in range(3):
        mean = codes.vectors[codes.labels == k].mean(dim=0)
        torch.testing.assert_close(found.vectors[found.class_of == k][0], mean, atol=1e-3, rtol=1e-3)
    alike = Codes(torch.ones(8, 2), torch.zeros(8, dtype=torch.long), 8)
    same = clustered(alike, Centres(torch.ones(2, 2), torch.zeros(2, dtype=torch.long)), False, 0)
    assert len(same.vectors) >= 1
    assert matched(same, same, alike.vectors, 0.0, True)[0] != 0  # no spread to measure by: not a number
    chosen = by_chance(alike, Centres(torch.ones(9, 2), torch.zeros(9, dtype=torch.long)), torch.Generator())
    assert len(chosen.vectors) == 8


@pytest.mark.parametrize("places", ["pooled", "map"])
def test_codes_are_those_of_the_model_in_evaluation_mode_image_by_image(places):
    settings = {"name": "kmex", "of": {"name": "blackbox", "network": "strong"}, "layer": "encoder.1", "places": places}
    model = build_model(settings, make_task(1, (16, 16)), 0).train()
    pixels = torch.randint(256, (30, 1, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images = MemoryImages("training", pixels, torch.arange(30) % 4, [str(row) for row in range(30)])
    before = state_digest(model)
    every = codes_of(model, images, 10_000, 0)
    assert model.training
    assert state_digest(model) == before
    with torch.no_grad():
        code = model.eval().code(to_float(pixels, "cpu"))
    code = code if code.ndim == 2 else code.flatten(2).mT.flatten(0, 1)
    torch.testing.assert_close(every.vectors, code)
    assert every.there == len(code)
    few = codes_of(model, images, 7, 0)
    assert len(few.vectors) <= 7
    assert few.there == len(code)
