"""What Pantypes has beside ProtoVAE."""

import pytest
import torch

from protolens.data import Batch
from protolens.models import PrototypeModel, build_model
from protolens.models.pantypes import Pantypes
from protolens.nn import inverse_volume
from tests.conftest import make_task


def make(**settings: object) -> Pantypes:
    model = build_model({"name": "pantypes", "features": 8, **settings}, make_task(size=(8, 8)), seed=0)
    assert isinstance(model, Pantypes)
    return model


def terms_of(model: PrototypeModel) -> dict[str, float]:
    batch = Batch(torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4)
    return {name: float(term.detach()) for name, term in model.losses(batch, model.evidence(batch.images), 0).items()}


def test_it_is_protovae_with_a_volume_and_a_hinge():
    theirs = build_model({"name": "protovae", "features": 8}, make_task(size=(8, 8)), seed=0)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(make().eval()(images), theirs.eval()(images))
    terms, shared = terms_of(make()), terms_of(theirs.train())
    assert set(terms) - set(shared) == {"volume", "hinge"}
    assert {name: terms[name] for name in shared} == shared


def test_the_volume_is_taken_of_scaled_products_or_as_a_log():
    model = make(scale=0.1)
    vectors, class_of = model.prototypes.vectors.detach(), model.prototypes.class_of
    products = [0.1 * v.double() @ v.double().T for v in vectors.split(5)]
    assert terms_of(model)["volume"] == pytest.approx(float(inverse_volume(vectors, class_of, 0.1)))
    assert terms_of(model)["volume"] == pytest.approx(sum(float(p.det()) ** -0.5 for p in products) / 4, rel=1e-5)
    logs = sum(float(p.logdet()) for p in products) / 4
    assert terms_of(make(scale=0.1, volume="log"))["volume"] == pytest.approx(-0.5 * logs, rel=1e-5)


def test_the_hinge_is_zero_within_its_margin():
    assert terms_of(make(margin=100.0))["hinge"] == 0
    assert terms_of(make(margin=0.5))["hinge"] == pytest.approx(terms_of(make(margin=0.0))["hinge"] - 0.5, rel=1e-5)


def test_unused_prototypes_are_eliminated_between_two_stages_or_never():
    train, refine = make().stages()
    assert (train.name, train.keep, train.then) == ("train", "last", {"eliminate": {}})
    assert (refine.name, refine.keep, refine.then) == ("refine", "best", {})
    assert train.weights == refine.weights
    (only,) = make(eliminate=False).stages()
    assert (only.name, only.keep, only.then) == ("train", "best", {})
