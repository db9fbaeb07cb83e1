"""KMEx: decisions by the nearest centre of a trained network's codes."""

import json

import pytest
import torch

import protolens
from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import evaluate
from protolens.models import build_model, load_model, state_digest
from protolens.train import Run, convert, fit
from tests.conftest import digits_run, make_task

NETWORK = {"name": "network", "source": "torchvision:resnet18"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "blackbox"
    return fit(digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 4}}), folder)


@pytest.mark.parametrize("similarity", ["distance", "cosine", "dot-product"])
def test_the_class_is_that_of_the_nearest_prototype_and_only_that_one_speaks(similarity):
    model = build_model({"name": "kmex", "per_class": [1, 2, 3, 1], "similarity": similarity}, make_task(), 0).eval()
    evidence = model.evidence(torch.rand(20, *make_task().size).unsqueeze(1).expand(-1, make_task().bands, -1, -1))
    contributions = model.contributions(evidence)
    for row in range(20):
        code, alike = evidence.code[row], []
        for vector in model.prototypes.vectors:
            apart = float((code - vector).norm().detach())
            value = torch.log(torch.tensor((apart + 1) / (apart + 1e-4))) if similarity == "distance" else code @ vector
            alike.append(float(value))
        nearest = max(range(7), key=alike.__getitem__)
        predicted = int(evidence.logits[row].argmax())
        assert predicted == [0, 1, 1, 2, 2, 2, 3][nearest]
        assert contributions[row, :, predicted].nonzero().flatten().tolist() == [nearest]
        assert float(contributions[row, nearest, predicted]) == pytest.approx(alike[nearest], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("similarity", ["distance", "cosine", "dot-product"])
@pytest.mark.parametrize("per_class", [2, [1, 3, 2, 1]])
def test_each_place_adds_what_its_nearest_prototype_of_a_class_says(similarity, per_class):
    choice = {"name": "kmex", "places": "map", "of": NETWORK, "per_class": per_class, "similarity": similarity}
    model = build_model(choice, make_task(3, (64, 96)), 0).eval()
    if per_class == 2:
        model.keep(torch.tensor([0, 1, 3, 5]))  # the last class has no prototype left
    model.temperature.fill_(0.25)
    with torch.inference_mode():
        evidence = model.evidence(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    adds, classes = model.contributions_of_places(evidence), model.class_of().tolist()
    height, width = evidence.maps.shape[2:]
    for image in range(2):
        for k in range(4):
            for row in range(height):
                for column in range(width):
                    own = [evidence.maps[image, p, row, column] / 0.25 for p in range(len(classes)) if classes[p] == k]
                    slow = float(max(own, default=model.bias()[k])) / (height * width)
                    assert float(adds[image, k, row, column]) == pytest.approx(slow, rel=1e-5, abs=1e-6)
    torch.testing.assert_close(adds.sum(dim=(2, 3)), evidence.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("places", ["pooled", "map"])
def test_the_largest_candidate_of_each_choice_is_what_speaks(places):
    choice = {"name": "kmex", "places": places, "of": NETWORK, "per_class": [1, 3, 2, 1]}
    model = build_model(choice, make_task(3, (64, 96)), 0).eval()
    with torch.inference_mode():
        evidence = model.evidence(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    spots = evidence.similarity[:, :, None] if evidence.maps is None else evidence.maps.flatten(2)  # [B, P, places]
    expected = [[[spots[image, p, spot] for p in members] for spot in range(spots.shape[2]) for members in
                 ([0], [1, 2, 3], [4, 5], [6])] for image in range(2)]  # fmt: skip
    candidates = model.candidates(evidence)
    assert candidates.shape == (2, 4 * spots.shape[2], 3)
    for image, choices in enumerate(expected):
        for number, values in enumerate(choices):
            found = candidates[image, number].tolist()
            assert found == [float(value) for value in values] + [-torch.inf] * (3 - len(values))


def test_whole_images_have_no_places_that_add():
    model = build_model({"name": "kmex"}, make_task(), 0).eval()
    assert model.contributions_of_places(model.evidence(torch.rand(2, 1, 28, 28))) is None


def test_one_prototype_a_class_is_the_mean_of_its_training_codes_and_the_network_stays(trained, tmp_path):
    run = convert(trained, tmp_path / "kmex", {"model": {"per_class": 1}})
    model, network = run.model(), trained.model()
    assert state_digest(model.network) == state_digest(network)
    images = open_data(trained.config.data).training
    with torch.inference_mode():
        codes = network.evidence(to_float(images.take(torch.arange(len(images))), network.device)).code
    for k in range(10):
        torch.testing.assert_close(model.prototypes.vectors[k], codes[images.labels == k].mean(dim=0))


def test_first_layers_that_are_statistics_of_images_stay_what_training_made_of_them(tmp_path):
    strong = digits_run(model={"name": "blackbox", "network": "strong"}, stages={"train": {"epochs": 1}})
    source = fit(strong, tmp_path / "strong").model()
    converted = convert(tmp_path / "strong", tmp_path / "kmex").model()
    assert state_digest(converted.network) == state_digest(source)


def test_a_converted_run_is_one_like_any_other(trained, tmp_path, capsys):
    assert main(["convert", str(trained.folder), "--per-class", "3", "--out", str(tmp_path / "kmex"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["centres"] == 30
    assert told["codes"] == len(open_data(trained.config.data).training)
    assert main(["evaluate", str(tmp_path / "kmex"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["accuracy"] > 0.8
    assert content["interpretation"]["predictor_accuracy"] == evaluate(trained).content["accuracy"]
    assert content["interpretation"]["fidelity"] > 0.8
    assert (tmp_path / "kmex" / "report.html").exists()
    assert state_digest(load_model(tmp_path / "kmex" / "model.safetensors")) == content["model"]


def test_a_class_with_fewer_different_codes_has_fewer_prototypes(trained, tmp_path):
    images = len(open_data(trained.config.data).training)
    run = convert(trained, tmp_path / "kmex", {"model": {"per_class": images // 5}})
    model = run.model()
    assert len(model.prototypes) < 10 * (images // 5)
    assert set(model.class_of().tolist()) == set(range(10))


def test_what_cannot_be_converted_is_one_sentence(trained, tmp_path):
    run = protolens.convert(trained, tmp_path / "kmex")
    assert isinstance(run, Run)
    with pytest.raises(ProtolensError, match="was converted already; convert the run that it came from"):
        convert(run, tmp_path / "again")
    with pytest.raises(ProtolensError, match="per_class has 2 numbers for 10 classes; write one for each, or one"):
        convert(trained, tmp_path / "two", {"model": {"per_class": [1, 2]}})
    with pytest.raises(ProtolensError, match=r"model\.similarity cannot be 'euclid'"):
        convert(trained, tmp_path / "wrong", {"model": {"similarity": "euclid"}})
    other = {"model": {"of": {"network": "strong"}}}
    with pytest.raises(ProtolensError, match=r"model\.safetensors holds another model"):
        convert(trained, tmp_path / "other", other)
