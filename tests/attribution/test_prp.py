"""Relevance of prototypes: shares by their definition, and what holds for every model."""

from functools import partial
from math import copysign

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from protolens.attribution.lrp import lrp
from protolens.attribution.prp import Reading, brought_nearer, channel_shares, class_relevance, prp, prp_of_own
from protolens.attribution.rules import STABILISER
from protolens.models import build_model
from tests.conftest import make_task
from tests.models.test_contract import CHOICES


@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 99), st.booleans())
def test_shares_of_channels_are_what_the_formula_says(images, features, seed, near):
    generator = torch.Generator().manual_seed(seed)
    code = torch.randn(images, features, 2, 3, generator=generator, dtype=torch.double)
    vector = torch.randn(features, generator=generator, dtype=torch.double)
    found = channel_shares(code, vector, near=near)
    for b in range(images):
        for y in range(2):
            for x in range(3):
                z, p = code[b, :, y, x].tolist(), vector.tolist()
                parts = [1 / ((a - c) ** 4 + 1e-12) if near else a * c for a, c in zip(z, p, strict=True)]
                total = sum(parts) if near else sum(parts) + copysign(STABILISER, sum(parts))
                assert found[b, :, y, x].tolist() == pytest.approx([part / total for part in parts], rel=1e-6)


def test_a_code_that_is_the_prototype_shares_alike():
    code = torch.tensor([[1.0, -2.0, 3.0, 0.0]])
    torch.testing.assert_close(channel_shares(code, code[0], near=True), torch.full((1, 4), 0.25))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_model_has_relevance_for_prototypes_and_their_sum_for_a_class(choice):
    model, images = build_model(choice, make_task(3, (32, 32)), 0).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        evidence = model.evidence(images)
    places = model.similarity_of_places(evidence)
    assert (places is None) == (evidence.maps is None)
    if places is not None:
        torch.testing.assert_close(places.sum(dim=(2, 3)), evidence.similarity, rtol=1e-4, atol=1e-5)
    maps = prp(model, images, range(len(model.prototypes)))
    assert maps.shape == (2, len(model.prototypes), 3, 32, 32)
    assert maps.isfinite().all()
    targets = torch.tensor([1, 3])
    weights = model.weights_for(evidence)[torch.arange(2), :, targets].detach()
    reading = Reading(model, images, "epsilon-plus-box")
    alone = [reading.relevance(one.expand(2, -1)) for one in torch.eye(len(model.prototypes))]
    together = torch.einsum("bp,bpchw->bchw", weights, torch.stack(alone, dim=1))
    if (evidence.similarity > 0).any():
        torch.testing.assert_close(maps, torch.stack(alone, dim=1), rtol=1e-3, atol=1e-4 * float(maps.abs().max()))
    found = class_relevance(model, images, targets)
    assert found.isfinite().all()
    if evidence.distance is None or evidence.code.ndim > 2:
        torch.testing.assert_close(found, together, rtol=1e-3, atol=1e-4 * float(together.abs().max()) + 1e-7)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_numbers_of_a_code_have_their_shares_of_what_it_is_nearer_than_zeros(images, features, prototypes, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.double)
    code, vectors, gained = draw(images, features), draw(prototypes, features), draw(images, prototypes)
    found = brought_nearer(code, vectors, gained)
    for b in range(images):
        for j in range(features):
            expected = 0.0
            for p in range(prototypes):
                nearer = float(vectors[p].square().sum() - (code[b] - vectors[p]).square().sum())
                own = float(vectors[p, j] ** 2 - (code[b, j] - vectors[p, j]) ** 2)
                expected += float(gained[b, p]) * own / (nearer + copysign(STABILISER, nearer))
            assert float(found[b, j]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("choice", [{"name": "prototypedl"}, {"name": "protovae"}, {"name": "kmex"}], ids=str)
def test_what_prototypes_add_beyond_a_code_of_zeros_is_shared_out_whole(choice):
    model, images = build_model(choice, make_task(), 0).eval(), torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        evidence = model.evidence(images)
        gained = evidence.similarity - model.alike(torch.zeros_like(evidence.code[:1]))
        gained = gained * model.weights_for(evidence)[:, :, 1]
        shared = brought_nearer(evidence.code, model.prototypes.vectors, gained)
    torch.testing.assert_close(shared.sum(dim=1), gained.sum(dim=1), rtol=1e-3, atol=1e-4)


def test_rows_of_a_last_layer_have_the_relevance_of_their_logits():
    model, images = build_model({"name": "blackbox"}, make_task(3, (32, 32)), 0).eval(), torch.rand(2, 3, 32, 32)
    targets = torch.tensor([2, 0])
    expected = lrp(model, images, targets, "epsilon-plus-box")
    torch.testing.assert_close(class_relevance(model, images, targets), expected, rtol=1e-3, atol=1e-5)


def test_prototypes_that_are_far_apart_have_different_maps():
    model = build_model({"name": "protovae", "per_class": 3}, make_task(1), 0).eval()
    maps = prp(model, torch.rand(4, 1, 28, 28), range(12)).flatten(2)
    pairs = [(image, p, q) for image in range(4) for p in range(12) for q in range(p)]
    alike = [abs(spearmanr(maps[image, p], maps[image, q]).statistic) for image, p, q in pairs]
    assert sum(alike) / len(alike) < 0.95


def test_minus_a_distance_speaks_for_likeness_the_nearer_the_more():
    model, image = build_model({"name": "prototypedl"}, make_task(), 0).eval(), torch.rand(1, 1, 28, 28)
    with torch.no_grad():
        code = model.code(image)
        model.prototypes.vectors[:3] = code + torch.tensor([[0.1], [1.0], [10.0]]) * torch.randn(3, code.shape[1])
        distance = model.evidence(image).distance[0, :3]
    found = prp(model, image, [0, 1, 2]).sum(dim=(2, 3, 4))[0]
    torch.testing.assert_close(found, torch.log((distance + 1) / (distance + 1e-4)), rtol=0.05, atol=0.05)
    assert found.tolist() == sorted(found.tolist(), reverse=True)


def test_the_model_stays_as_it_was():
    model = build_model({"name": "protopnet", "per_class": 2, "features": 16}, make_task(3, (32, 32)), 0).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prp(model.eval(), torch.rand(2, 3, 32, 32), [0])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_each_image_can_ask_for_prototypes_of_its_own(choice):
    model, images = build_model(choice, make_task(3, (32, 32)), 0).eval(), torch.rand(3, 3, 32, 32)
    last = len(model.prototypes) - 1
    own = torch.tensor([[0, last], [1, 0], [last, last]])
    every = prp(model, images, range(last + 1))
    torch.testing.assert_close(prp_of_own(model, images, own), every[torch.arange(3)[:, None], own])
