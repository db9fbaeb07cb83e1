"""Where prototypes are found in an image, against NumPy's percentile and a loop."""

import json

import numpy as np
import pytest
import torch

from protolens.explanation import Subject, explain_images, heat_map
from protolens.explanation.local import MAPPED, PLACED
from protolens.models import build_model
from protolens.nn import locate, upsampled
from tests.conftest import make_task

SIZE = (20, 28)


@pytest.fixture(scope="module")
def explained():
    """A model of 32 prototypes that stand at places, two images and their explanations."""
    model = build_model({"name": "protopnet", "per_class": 8}, make_task(size=SIZE), 0).eval()
    images = torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    usual = torch.rand(32, generator=torch.Generator().manual_seed(1))
    return model, images, explain_images(model, images, [Subject("a"), Subject("b")], usual)


def slow_box(similarity: torch.Tensor) -> tuple[int, ...]:
    large = upsampled(similarity[None, None], SIZE)[0, 0].double().numpy()
    rows, columns = np.nonzero(large >= np.percentile(large, 95))
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_the_strongest_reasons_know_their_place_and_the_box_around_it(explained):
    model, images, explanations = explained
    maps = model.evidence(images).maps.detach()
    for own, explanation in zip(maps, explanations, strict=True):
        for reason in explanation.reasons[:PLACED]:
            similarity = own[reason.prototype]
            row, column = reason.place
            assert similarity[row, column] == similarity.max()
            assert float(similarity[row, column]) == pytest.approx(reason.similarity, rel=1e-5)
            assert reason.box == slow_box(similarity)


def test_reasons_beyond_the_strongest_are_not_looked_up(explained):
    for explanation in explained[2]:
        assert len(explanation.reasons) == 32
        assert [reason.box is not None for reason in explanation.reasons] == [True] * PLACED + [False] * (32 - PLACED)
        assert list(explanation.maps) == [reason.prototype for reason in explanation.reasons[:MAPPED]]


def test_a_map_is_kept_for_drawing_and_nothing_larger(explained):
    model, images, explanations = explained
    maps = model.evidence(images).maps.detach()
    for own, explanation in zip(maps, explanations, strict=True):
        for number, kept in explanation.maps.items():
            torch.testing.assert_close(kept, own[number])
            assert kept.untyped_storage().nbytes() == kept.nbytes


def test_an_explanation_with_places_is_plain_data(explained):
    content = json.loads(json.dumps(explained[2][0].to_dict()))
    assert "maps" not in content
    assert [len(reason["box"]) for reason in content["reasons"][:PLACED]] == [4] * PLACED
    assert [len(reason["place"]) for reason in content["reasons"][:PLACED]] == [2] * PLACED
    assert content["reasons"][-1]["box"] is None


@pytest.mark.parametrize("target", [None, "class 2"])
@pytest.mark.parametrize("choice", [{"name": "concepts", "concepts": 6}, {"name": "kmex", "places": "map"}], ids=str)
def test_what_is_seen_at_places_sums_to_the_logit_of_the_explained_class(choice, target):
    of = {"name": "network", "source": "torchvision:resnet18"}
    model = build_model({"of": of, **choice}, make_task(3, (64, 96)), 0).eval()
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    maps = model.evidence(images).maps.detach()
    explanations = explain_images(model, images, [Subject("a"), Subject("b")], target=target)
    for own, explanation in zip(maps, explanations, strict=True):
        assert float(explanation.seen.adds.sum()) == pytest.approx(explanation.logit, rel=1e-4, abs=1e-4)
        for row in range(own.shape[1]):
            for column in range(own.shape[2]):
                assert own[explanation.seen.prototypes[row, column], row, column] == own[:, row, column].max()
        assert "seen" not in json.loads(json.dumps(explanation.to_dict()))


def test_a_model_that_takes_the_best_place_does_not_sum_over_places(explained):
    assert [explanation.seen for explanation in explained[2]] == [None, None]


def test_a_model_without_places_has_none():
    model = build_model({"name": "prototypedl"}, make_task(), 0)
    explanation = explain_images(model, torch.rand(1, 1, 28, 28), [Subject("a")])[0]
    assert {(reason.place, reason.box) for reason in explanation.reasons} == {(None, None)}
    assert explanation.maps == {}


def test_a_map_of_one_place_or_one_value_has_the_whole_image_as_its_box():
    maps = torch.stack([torch.zeros(3, 4), torch.full((3, 4), 2.5)])
    assert [where.box for where in locate(maps, SIZE)] == [(0, 0, 28, 20)] * 2
    assert [where.box for where in locate(torch.full((1, 1, 1), 2.37), SIZE)] == [(0, 0, 28, 20)]


def test_a_prototype_that_is_seen_nowhere_has_no_place():
    model = build_model({"name": "concepts"}, make_task(3, SIZE), 0)  # each place shows one concept, the others none
    images = torch.rand(1, 3, *SIZE)
    maps = model.evidence(images).maps[0].detach()
    for reason in explain_images(model, images, [Subject("a")])[0].reasons[:PLACED]:
        own = maps[reason.prototype]
        assert (reason.box is not None) == (own.max() > own.min()).item()


def test_a_map_of_one_value_is_drawn_without_a_pattern():
    picture = heat_map(torch.zeros(1, *SIZE, dtype=torch.uint8), torch.full((3, 4), 2.37))
    assert picture.flatten(1).unique(dim=1).shape[1] == 1


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_a_heat_map_is_as_large_as_its_image_and_brightest_where_the_map_is_highest(bands):
    similarity = torch.zeros(4, 4)
    similarity[1, 2] = 3.0
    picture = heat_map(torch.zeros(bands, 16, 16, dtype=torch.uint8), similarity)
    assert picture.shape == (3, 16, 16)
    row, column = divmod(int(picture.sum(dim=0).argmax()), 16)
    assert (row // 4, column // 4) == (1, 2)
