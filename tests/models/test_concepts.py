"""Concepts: clusters of a network's places, and what they add to its logits."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.models import build_model
from protolens.train import Run, convert, fit
from protolens.train.concepts import fit_head
from tests.conftest import digits_run, make_task

OWN = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.last_maps = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.last = nn.Linear(16, 10)

    def forward(self, images):
        return self.last(self.last_maps(self.first(images)).mean(dim=(2, 3)))
"""
NETWORK = {"name": "network", "source": "torchvision:resnet18"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network of one's own that pools maps, trained a little."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "own.py").write_text(OWN)
    model = {"name": "network", "source": f"{folder / 'own.py'}:Own"}
    return fit(digits_run(model=model, stages={"train": {"epochs": 4}}), folder / "network")


@pytest.fixture(scope="module")
def converted(trained, tmp_path_factory):
    return convert(trained, tmp_path_factory.mktemp("runs") / "concepts", {"model": {"concepts": 6}}, to="concepts")


def images_of(run: Run, count: int) -> torch.Tensor:
    images = open_data(run.config.data).validation
    return to_float(images.take(torch.arange(count)), "cpu")


def test_the_largest_candidate_of_a_place_is_its_concept(converted):
    model = converted.model()
    with torch.inference_mode():
        evidence = model.evidence(images_of(converted, 5))
    chosen = model.candidates(evidence).argmax(dim=2).view(5, *evidence.maps.shape[2:])
    assert torch.equal(F.one_hot(chosen, 6).permute(0, 3, 1, 2).float(), evidence.maps)


def test_a_place_that_has_some_of_each_concept_chooses_none():
    model = build_model({"name": "concepts", "of": NETWORK, "temperature": 0.5}, make_task(3, (64, 64)), 0).eval()
    with torch.inference_mode():
        assert model.candidates(model.evidence(torch.rand(1, 3, 64, 64))) is None


def test_each_place_is_replaced_by_its_centre_before_the_networks_own_head(trained, converted):
    model, network = converted.model(), trained.model()
    images = images_of(converted, 20)
    assert model.findings().endswith("the network's own last layer reads their centres.")
    with torch.inference_mode():
        maps, logits = model.look(images)
        evidence = model.evidence(images)
        torch.testing.assert_close(evidence.predictor, network(images))
        torch.testing.assert_close(maps[0].mean(dim=(2, 3)), network.evidence(images).code, rtol=1e-4, atol=1e-5)
        centres = model.prototypes.vectors * model.scale[0]
        slow = torch.zeros_like(logits)
        weight, bias = network.head_of_code()
        for row, values in enumerate(maps[0]):
            places = values.flatten(1).T
            nearest = torch.stack([((place - centres) ** 2).sum(dim=1).argmin() for place in places])
            slow[row] = centres[nearest].mean(dim=0) @ weight.T + bias
    torch.testing.assert_close(evidence.logits, slow, rtol=1e-3, atol=1e-3)


def test_fewer_places_than_concepts_leave_as_many_concepts_as_places(trained, tmp_path):
    few = {"concepts": {"then": {"concepts": {"vectors": 10}}}}
    run = convert(trained, tmp_path / "few", {"model": {"concepts": 20}, "stages": few}, to="concepts")
    centres, model = run.facts["followed"][0]["centres"], run.model()
    assert centres < 20
    assert model.prototype_weights().shape == (centres, 10)
    assert len(run.prototypes) == len(model.prototypes) == centres


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_what_places_and_concepts_add_sums_to_the_logits(converted, temperature):
    model = converted.model()
    object.__setattr__(model.settings, "temperature", temperature)
    evidence = model.evidence(images_of(converted, 10))
    assert evidence.maps is not None
    torch.testing.assert_close(evidence.maps.sum(dim=1), torch.ones_like(evidence.maps[:, 0]))
    torch.testing.assert_close(evidence.similarity.sum(dim=1), torch.ones(10))
    assert bool(((evidence.maps == 0) | (evidence.maps == 1)).all()) == (temperature == 0)
    torch.testing.assert_close(model.contributions(evidence).sum(dim=1) + model.bias(), evidence.logits)
    torch.testing.assert_close(model.contributions_of_places(evidence).sum(dim=(2, 3)), evidence.logits)


def test_layers_weigh_alike_on_the_finest_grid_and_a_head_is_fitted(trained, tmp_path, capsys):
    words = ["convert", str(trained.folder), "--to", "concepts", "--layer", "first", "last_maps"]
    words += ["--out", str(tmp_path / "run")]
    assert main([*words, "--model.concepts", "12", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["centres"] == 12
    assert told["found"].endswith("a linear layer is fitted.")
    run = Run.open(tmp_path / "run")
    model, training = run.model(), open_data(run.config.data).training
    pixels = to_float(training.take(torch.arange(len(training))), "cpu")
    with torch.inference_mode():
        maps, _ = model.look(pixels)
        lengths = [float(values.flatten(2).norm(dim=1).square().mean().sqrt()) for values in maps]
        assert model.scale.tolist() == pytest.approx(lengths, rel=1e-4)
        code = model.code(pixels[:3])
        grid = max((values.shape[2:] for values in maps), key=torch.Size.numel)
        assert code.shape[2:] == grid
        slow = [F.interpolate(values[:3] / length, grid) for values, length in zip(maps, lengths, strict=True)]
        torch.testing.assert_close(code, torch.cat(slow, dim=1), rtol=1e-3, atol=1e-4)
        shares = model.evidence(pixels).similarity
        said = (shares @ model.weight + model.intercept).softmax(dim=1).numpy()
    reference = LogisticRegression(C=1 / (1e-4 * len(shares)), tol=1e-8, max_iter=10_000)
    values = shares.double().numpy()
    reference.fit(values, training.labels.numpy())
    assert said == pytest.approx(reference.predict_proba(values), abs=2e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_several_classes_have_a_logistic_regression_each(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(200, 4, generator=generator)
    labels = (values[:, :3] + 0.5 * torch.rand(200, 3, generator=generator) > 0.7).long()
    weight, intercept = fit_head(values, labels, penalty=1e-2)
    for k in range(3):
        reference = LogisticRegression(C=1 / (1e-2 * 200), tol=1e-8, max_iter=10_000)
        reference.fit(values.double().numpy(), labels[:, k].numpy())
        assert weight[:, k].tolist() == pytest.approx(reference.coef_[0], abs=2e-3)
        assert float(intercept[k]) == pytest.approx(reference.intercept_[0], abs=2e-3)


def test_a_saved_model_gives_the_same_logits(converted):
    images = images_of(converted, 5)
    assert torch.equal(converted.model()(images), converted.model()(images))
    assert converted.facts["followed"][0]["step"] == "concepts"
    assert sum(converted.model().evidence(images).similarity[0].tolist()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"layers": ("layr4",)}, "the network has no layer layr4; did you mean layer4"),
        ({"layers": ("avgpool", "flatten")}, "the network has no layer flatten"),
        ({"layers": ("layer3",), "head": "own"}, 'model.head = "own" needs a network with a linear last layer'),
        ({"of": {"name": "prototypedl"}}, "no layer of prototypedl gives maps whose mean over places is its code"),
    ],
)
def test_what_cannot_be_clustered_is_one_sentence(chosen, said):
    with pytest.raises(ProtolensError, match=said):
        build_model({"name": "concepts", "of": NETWORK, **chosen}, make_task(3, (64, 64)), 0)


def test_a_network_becomes_one_of_two_things(trained, tmp_path, capsys):
    assert main(["convert", str(trained.folder), "--to", "concept", "--out", str(tmp_path / "run")]) == 1
    assert "a network cannot become concept; did you mean concepts?" in capsys.readouterr().err
