"""The predicates of a finished run, in its evaluation: for every kind of head, for many classes, for one prototype."""

import json
import math

import pytest
import torch

from protolens.data import open_data, to_float
from protolens.evaluation import evaluate
from protolens.evaluation.evaluation import code_of_winner
from protolens.evaluation.predicates import alike_to_each_other, diversity, flat, in_a_plane, spread_of_classes
from protolens.models import build_model, stage_names
from protolens.train import fit, number
from tests.conftest import digits_run, make_task

ONE_EPOCH = {"train": {"epochs": 1}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(digits_run(stages=ONE_EPOCH), tmp_path_factory.mktemp("runs") / "run")


def test_use_is_counted_over_the_test_images(trained):
    found = evaluate(trained).content
    data, model = open_data(trained.config.data), trained.model()
    images = to_float(data.test.take(torch.arange(len(data.test))), "cpu")
    with torch.no_grad():
        evidence = model.evidence(images)
        adds = model.contributions(evidence)[torch.arange(len(images)), :, evidence.logits.argmax(dim=1)]
    winner = evidence.similarity.argmax(dim=1)
    own = found["predicates"]["transparency"]["by_similarity"]
    assert own["unused"] == 1 - len(winner.unique()) / len(model.prototypes) == found["prototypes"]["unused"]
    agreed = model.class_of()[winner] == evidence.logits.argmax(dim=1)
    assert own["nearest_agreement"] == pytest.approx(float(agreed.double().mean()))
    idle = 1 - len(adds.abs().argmax(dim=1).unique()) / len(model.prototypes)
    assert found["predicates"]["transparency"]["by_contribution"]["unused"] == pytest.approx(idle)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "prototypedl", "prototypes": 1},
        {"name": "blackbox"},
        {"name": "protovae"},
        {"name": "protopnet", "per_class": 1, "features": 16},
        {"name": "flint"},
    ],
    ids=lambda model: model["name"],
)
def test_every_model_has_figures_that_json_can_hold(model, tmp_path):
    stages = {name: {"epochs": 1} for name in stage_names(model)}
    run = fit(digits_run(model=model, stages=stages), tmp_path / "run")
    found = evaluate(run).content["predicates"]
    json.dumps(found, allow_nan=False)
    figures = flat(found)
    assert {"transparency.by_similarity.unused", "diversity.volume", "diversity.attribute_entropy"} <= set(figures)
    assert all(0 <= figures[name] <= 1 for name in figures if name.endswith((".unused", ".entropy_of_use", "purity")))


def test_images_of_several_classes_have_no_purity_and_no_coverage(several, tmp_path):
    run = fit(digits_run(data={"name": "pairs"}, model={"name": "prototypedl"}, stages=ONE_EPOCH), tmp_path / "run")
    figures = flat(evaluate(run).content["predicates"])
    assert figures["transparency.by_similarity.purity"] is None
    assert figures["diversity.coverage"] is None
    assert 0 <= figures["diversity.attribute_entropy"] <= 1


def test_the_code_of_an_image_with_places_is_that_of_the_place_most_like_any_prototype():
    model = build_model({"name": "protopnet", "per_class": 2, "features": 16}, make_task(), 0).eval()
    with torch.inference_mode():
        evidence = model.evidence(torch.rand(3, 1, 28, 28))
    found = code_of_winner(evidence)
    for image in range(3):
        best = max(
            ((float(evidence.maps[image, :, y, x].max()), y, x) for y in range(7) for x in range(7)),
            key=lambda place: place[0],
        )
        assert torch.equal(found[image], evidence.code[image, :, best[1], best[2]])


def test_codes_that_are_all_alike_leave_figures_by_their_spread_undefined():
    model = build_model({"name": "protovae"}, make_task(), 0)
    count, depth = len(model.prototypes), model.prototypes.vectors.shape[1]
    similarity = torch.randn(30, count, generator=torch.Generator().manual_seed(0))
    found = diversity(model, torch.ones(30, depth), similarity, torch.arange(30) % 4)
    json.dumps(found, allow_nan=False)
    assert found["separation"] is None
    assert found["vendi_score"]["distance"] is None
    assert found["coverage"] is None
    assert 0 < found["vendi_score"]["cosine"] <= 1


@pytest.mark.parametrize("places", ["pooled", "map"])
def test_fifty_prototypes_of_kmex_far_from_zero_are_like_themselves_alone(places, monkeypatch):
    """The entropy of similarity by its definition (models.md 7.5), one pair at a time."""
    of = {"name": "blackbox", "network": "strong"}
    settings = {"name": "kmex", "of": of, "layer": "encoder.1", "places": places, "per_class": 5}
    model = build_model(settings, make_task(classes=10), 0)
    count, depth = model.prototypes.vectors.shape
    assert count == 50
    vectors = 0.3 * torch.randn(count, depth, generator=torch.Generator().manual_seed(0)) + 100
    with torch.no_grad():
        model.prototypes.vectors.copy_(vectors)
    found = diversity(model, vectors + 0.1, torch.eye(count), torch.arange(count) // 5)
    entropies = []
    for one in vectors.double().tolist():
        apart = [math.dist(one, other) for other in vectors.double().tolist()]
        weights = [(d + 1) / (d + 1e-4) for d in apart]
        shares = [weight / sum(weights) for weight in weights]
        entropies.append(-sum(share * math.log(share) for share in shares) / math.log(count))
    for name in ("own", "distance"):
        assert found["entropy_of_similarity"][name] == pytest.approx(sum(entropies) / count, rel=1e-3)
    whole = alike_to_each_other(model)
    monkeypatch.setattr("protolens.evaluation.predicates.DIFFERENCES", 7 * count * depth)
    assert torch.equal(alike_to_each_other(model), whole)


def test_the_spread_is_around_the_means_of_classes_and_the_plane_keeps_most_of_it():
    codes, labels = torch.randn(60, 5) * torch.tensor([9.0, 5.0, 1.0, 1.0, 1.0]), torch.arange(60) % 3
    apart = [float((codes[i] - codes[labels == labels[i]].mean(dim=0)).square().sum()) for i in range(60)]
    assert spread_of_classes(codes, labels) == pytest.approx((sum(apart) / 60) ** 0.5, rel=1e-5)
    plane = in_a_plane(codes)
    values = torch.linalg.eigvalsh(codes.double().T.cov())
    assert plane.var(dim=0).sum() == pytest.approx(float(values[-2:].sum()), rel=1e-6)
    assert in_a_plane(codes[:, :1]).shape == (60, 2)


def test_a_figure_that_is_not_defined_is_none():
    values = (0.5, float("nan"), float("inf"))
    assert [number(value) for value in values] == [0.5, None, None]
    assert [number(value) for value in torch.tensor(values)] == [0.5, None, None]
    assert flat({"a": {"b": 1.0, "c": [1]}, "d": None}) == {"a.b": 1.0, "d": None}
