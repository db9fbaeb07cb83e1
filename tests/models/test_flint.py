"""FLINT: which term teaches which part, the calendar of the paper, and attributes that are dropped."""

import pytest
import torch
from torch.nn import functional as F

from protolens.config import RunConfig, build, read_run
from protolens.data import Batch, open_data, to_float
from protolens.evaluation import evaluate
from protolens.models import build_model, calendar, state_digest
from protolens.train import fit
from protolens.train.optimise import learning_groups, make_optimiser, training_mode
from tests.conftest import make_task

PUBLISHED = {  # weights of the terms from each epoch on: the first column of numbers is the epoch
    "mnist-flint": {1: (1, 0.8, 0, 0, 0), 3: (1, 0.8, 0.5, 0.1, 0), 5: (1, 0.8, 0.5, 0.1, 0.2)},
    "fashion-mnist-flint": {1: (1, 0.8, 0, 0, 0), 3: (1, 0.8, 0.5, 0.1, 0), 5: (1, 0.8, 0.5, 0.1, 0.2)},
    # 2 on normalised pixels is 8 on pixels in [0, 1]
    "cifar10-flint": {1: (1, 8, 0, 0, 0), 3: (1, 8, 0.6, 0.15, 0), 4: (1, 8, 0.6, 0.15, 0.2)},
}
EPOCHS = {"mnist-flint": 12, "fashion-mnist-flint": 12, "cifar10-flint": 25}
TERMS = ("classification", "reconstruction", "fidelity", "sparsity", "conciseness")


def flint(**settings):
    return build_model({"name": "flint", **settings}, make_task(), 0)


def batch():
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.tensor([0, 1, 2, 3, 0, 1]))


def taught_by(model, term):
    """The parameters that a term gives a gradient, up to two words of their names."""
    model.zero_grad()
    model.losses(batch(), model.evidence(batch().images), 0)[term].backward()
    return {".".join(name.split(".")[:2]) for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("network", ["small", "large"])
def test_fidelity_teaches_the_hidden_layers_of_the_predictor_but_not_its_logits(network):
    model = flint(network=network)
    hidden = {"small": {"predictor.convolutions"}, "large": {"predictor.layers", "predictor.narrow"}}[network]
    interpreter = {name for name in taught_by(model, "fidelity") if not name.startswith("predictor")}
    assert taught_by(model, "fidelity") - interpreter == hidden
    assert {name.split(".")[0] for name in interpreter} == {"attributes", "prototypes", "head"}


def test_each_other_term_teaches_what_it_looks_at():
    model = flint()
    below = {"predictor.convolutions", "attributes.layers", "prototypes.vectors", "prototypes.intercept"}
    assert taught_by(model, "classification") == {"predictor.convolutions", "predictor.dense"}
    assert taught_by(model, "reconstruction") == below | {"decoder.start", "decoder.layers"}
    assert taught_by(model, "sparsity") == taught_by(model, "conciseness") == below


@pytest.mark.parametrize(("network", "slope"), [("small", 0.01), ("large", 0.0)])
def test_similarity_is_the_activation_of_the_attribute_network_and_decodes_to_a_clamped_picture(network, slope):
    model, images = flint(network=network).eval(), batch().images
    torch.nn.init.normal_(model.prototypes.intercept)
    evidence = model.evidence(images)
    raw = evidence.code.double() @ model.prototypes.vectors.double().T + model.prototypes.intercept.double()
    expected = torch.where(raw > 0, raw, slope * raw).float()
    torch.testing.assert_close(evidence.similarity, expected)
    assert (raw < 0).any()
    pictures = model.decoder(evidence.similarity)
    torch.testing.assert_close(model.decode(evidence.code), pictures.clamp(0, 1))
    term = model.losses(Batch(images, batch().labels), evidence, 0)["reconstruction"]
    torch.testing.assert_close(term, F.mse_loss(pictures, images))


def test_the_large_predictor_is_taught_by_normalised_pixels():
    model, images = flint(network="large").eval(), batch().images
    shifted = model.evidence(images).predictor
    model.predictor.normalise.mean.fill_(-0.3)
    torch.testing.assert_close(model.evidence(images - 0.3).predictor, shifted)


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_a_recipe_s_terms_are_switched_on_at_the_epochs_of_the_paper(recipe):
    run, where = read_run(recipe)
    stages = calendar(build_model(run.model, make_task(), 0), run.stages, where)
    epoch, switched = 1, {}
    for stage in stages:
        switched[epoch] = tuple(stage.weights.get(term, 0) for term in TERMS)
        epoch += stage.epochs
    assert switched == PUBLISHED[recipe]
    assert epoch - 1 == EPOCHS[recipe]


def test_after_the_first_stage_of_post_hoc_mode_the_predictor_stays_what_it_is_and_drops_nothing_out():
    model = flint(mode="post-hoc")
    first, *others = model.stages()
    assert {group["rate"] for group in learning_groups(model, first)} == {first.rates["predictor"]}
    for stage in others:
        optimiser = make_optimiser(learning_groups(model, stage), stage, torch.device("cpu"))
        training_mode(model, stage)
        before = state_digest(model.predictor), state_digest(model)
        logits = [model.evidence(batch().images).predictor for _ in range(2)]
        assert torch.equal(*logits)
        terms = model.losses(batch(), model.evidence(batch().images), 0)
        sum(weight * terms[name] for name, weight in stage.weights.items()).backward()
        optimiser.step()
        assert state_digest(model.predictor) == before[0]
        assert state_digest(model) != before[1]


def test_dropping_attributes_takes_their_contributions_from_the_logits(tmp_path):
    model, kept = flint(prototypes=5).eval(), torch.tensor([1, 4])
    whole = model.evidence(batch().images)
    expected = model.contributions(whole)[:, kept].sum(dim=1) + model.bias()
    model.keep(kept)
    evidence = model.evidence(batch().images)
    torch.testing.assert_close(evidence.logits, expected)
    torch.testing.assert_close(evidence.predictor, whole.predictor)
    assert model.decode(evidence.code).shape == batch().images.shape
    again = flint(prototypes=5).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(batch().images), evidence.logits)


@pytest.mark.parametrize("mode", ["by-design", "post-hoc"])
def test_a_short_training_on_digits_learns_both_decisions_and_shows_no_picture_of_a_single_attribute(mode, tmp_path):
    model = {"name": "flint", "mode": mode}
    names = [stage.name for stage in build_model(model, make_task(), 0).stages()]
    run = build(RunConfig, {"model": model, "stages": {name: {"epochs": 5} for name in names},
                            "train": {"batch": 25}}, "a test")  # fmt: skip
    finished = fit(run, tmp_path)
    assert all(prototype["decoded"] is None for prototype in finished.prototypes)
    assert evaluate(finished).accuracy > 0.85
    test = open_data(run.data).test
    predictor = finished.model().evidence(to_float(test.take(torch.arange(len(test))), "cpu")).predictor
    assert (predictor.argmax(dim=1) == test.labels).float().mean() > 0.85
    assert all(example["reconstruction"] for example in evaluate(finished).content["examples"]["sample"])
