"""What ProtoVAE promises beyond the contract."""

import copy

import pytest
import torch
from torch import Tensor

from protolens.data import Batch
from protolens.models import build_model, load_model, save_model
from protolens.models.protovae import ProtoVAE
from tests.conftest import make_task


def make(**settings: object) -> ProtoVAE:
    model = build_model({"name": "protovae", "features": 8, **settings}, make_task(bands=2, size=(9, 12)), seed=0)
    assert isinstance(model, ProtoVAE)
    return model


def batch(count: int = 6) -> Batch:
    images = torch.rand(count, 2, 9, 12, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(count) % 4)


def gradient(term: Tensor, of: Tensor) -> Tensor | None:
    return torch.autograd.grad(term, of, allow_unused=True)[0]


def test_the_published_code_takes_the_mean_in_training_too():
    for model in (make().train(), make().eval(), make(sampling=True).eval()):
        evidence = model.evidence(batch().images)
        assert torch.equal(evidence.code, evidence.mean)


def test_sampling_draws_the_code_of_training_from_its_gaussian():
    model = make(sampling=True).train()
    images = batch(1).images.expand(2000, -1, -1, -1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        evidence = model.evidence(images)
    noise = (evidence.code - evidence.mean) / evidence.log_variance.exp().sqrt()
    assert float(noise.detach().mean()) == pytest.approx(0, abs=0.03)
    assert float(noise.detach().std()) == pytest.approx(1, abs=0.03)
    # what decides is the drawn code, not the mean
    distance = torch.linalg.vector_norm(evidence.code[7] - model.prototypes.vectors[3])
    assert float(evidence.distance[7, 3].detach()) == pytest.approx(float(distance.detach()), rel=1e-5)


@pytest.mark.parametrize("sampling", [False, True])
def test_the_variance_counts_in_the_reconstruction_only_when_it_is_sampled(sampling):
    model = make(sampling=sampling).train()
    with torch.random.fork_rng():
        evidence = model.evidence(batch().images)
    terms = model.losses(batch(), evidence, epoch=0)
    assert (gradient(terms["reconstruction"], evidence.log_variance) is not None) == sampling


@pytest.mark.parametrize("power", [1, 2])
def test_similarity_is_the_log_ratio_of_the_distance_or_of_its_square(power):
    model = make(squared=power == 2, epsilon=0.01).eval()
    evidence = model.evidence(batch().images)
    distance = torch.cdist(evidence.mean.double(), model.prototypes.vectors.double()) ** power
    torch.testing.assert_close(evidence.distance.double(), distance, rtol=1e-5, atol=1e-5)
    similarity = ((distance + 1) / (distance + 0.01)).log()
    torch.testing.assert_close(evidence.similarity.double(), similarity, rtol=1e-5, atol=1e-6)


def test_the_head_starts_at_one_for_a_prototype_s_class_and_minus_a_half_for_the_others():
    model = make(per_class=3)
    assert model.class_of().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for weights, k in zip(model.prototype_weights().tolist(), model.class_of().tolist(), strict=True):
        assert weights == [1.0 if other == k else -0.5 for other in range(4)]


def test_prototypes_start_standard_normal():
    vectors = make(per_class=20, features=64).prototypes.vectors.detach()
    assert float(vectors.mean()) == pytest.approx(0, abs=0.05)
    assert float(vectors.std()) == pytest.approx(1, abs=0.05)


def test_the_reconstruction_error_is_that_of_pixels_from_minus_one_to_one():
    model = make().eval()
    evidence = model.evidence(batch().images)
    error = (2 * model.decode(evidence.code) - 1) - (2 * batch().images - 1)
    term = model.losses(batch(), evidence, epoch=0)["reconstruction"]
    assert float(term.detach()) == pytest.approx(float(error.detach().square().mean()), rel=1e-5)


def test_a_model_that_lost_prototypes_and_all_of_a_class_goes_on_and_can_be_saved(tmp_path):
    model = make(per_class=3)
    before = copy.deepcopy(model).eval()
    kept = torch.tensor([0, 2, 3, 9, 10, 11])  # none of class 2
    model.keep(kept)
    assert model.class_of().tolist() == [0, 0, 1, 3, 3, 3]
    expected = before.evidence(batch().images).similarity[:, kept]
    assert torch.equal(model.eval().evidence(batch().images).similarity, expected)
    terms = model.train().losses(batch(), model.evidence(batch().images), epoch=0)
    sum(terms.values()).backward()
    assert all(value.isfinite() for value in terms.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.provenance = [None] * 6
    save_model(model, tmp_path / "model.safetensors", {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert torch.equal(loaded(batch().images), model.eval()(batch().images))
    assert torch.equal(loaded.class_of(), model.class_of())
