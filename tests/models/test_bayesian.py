"""Bayesian networks: draws from the posterior are networks like any other, and more data make them surer."""

import pytest
import torch

from protolens.data import Batch
from protolens.models import build_model, state_digest
from tests.conftest import make_task

CHOICES = [
    {"name": "bayesian", "width": 16, "start": 0.1, "prior": 0.1},
    {"name": "bayesian", "network": "cnn", "start": 0.1},
]


@pytest.fixture(params=CHOICES, ids=["mlp", "cnn"])
def model(request):
    return build_model(request.param, make_task(), 0).eval()


def test_a_draw_is_the_same_for_its_seed_and_leaves_the_model_as_it_was(model):
    before, images = state_digest(model), torch.rand(3, 1, 28, 28)
    first, again, other = (model.drawn(seed)(images) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert state_digest(model) == before


def test_contributions_of_a_draw_sum_to_its_logits(model):
    drawn, images = model.drawn(0), torch.rand(3, 1, 28, 28)
    evidence = drawn.evidence(images)
    torch.testing.assert_close(drawn.contributions(evidence).sum(dim=1) + drawn.bias(), evidence.logits)


def test_the_mean_of_drawn_logits_is_that_of_outputs_drawn_in_training(model):
    torch.manual_seed(0)
    images = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        weights = torch.stack([model.drawn(seed)(images) for seed in range(500)])
        outputs = torch.stack([model.train()(images) for _ in range(500)])
    torch.testing.assert_close(weights.mean(dim=0), outputs.mean(dim=0), atol=0.3, rtol=0)
    torch.testing.assert_close(weights.std(dim=0), outputs.std(dim=0), rtol=0.25, atol=0.05)


def test_the_posterior_is_the_probabilities_of_each_draw(model):
    images = torch.rand(3, 1, 28, 28)
    found = model.posterior(images, model.draws(4, seed=7))
    alone = [network(images).softmax(dim=1) for network in model.draws(4, seed=7)]
    torch.testing.assert_close(found, torch.stack(alone))
    assert torch.equal(found, model.posterior(images, model.draws(4, seed=7)))


def test_the_divergence_is_shared_out_over_the_training_images(model):
    whole = float(model.divergence())
    model.seen.learn([torch.zeros(50, 1, 28, 28)])
    batch = Batch(torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))
    assert float(model.losses(batch, model.evidence(batch.images), 0)["divergence"]) == pytest.approx(whole / 50)
