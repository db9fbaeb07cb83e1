"""What holds for every registered model, whatever its method."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protolens.attribution import class_relevance
from protolens.config import Task
from protolens.data import Batch
from protolens.models import (
    MODELS,
    PrototypeModel,
    Provenance,
    build_model,
    calendar,
    load_model,
    save_model,
    state_digest,
)
from protolens.models.lastlayer import LastLayer

SIZES = [(28, 28), (32, 32), (8, 8), (17, 23)]
CHOICES = [
    {"name": "bayesian", "width": 32},
    {"name": "bayesian", "network": "cnn", "prior": 0.5},
    {"name": "blackbox"},
    {"name": "blackbox", "network": "strong"},
    {"name": "concepts"},
    {"name": "concepts", "layers": ["layer2", "layer3"], "concepts": 7, "temperature": 0.5},
    {"name": "flint"},
    {"name": "flint", "mode": "post-hoc", "reconstruction": "absolute", "prototypes": 7},
    {"name": "flint", "network": "large", "prototypes": 36},
    {"name": "kmex"},
    {"name": "kmex", "of": {"name": "protovae", "per_class": 2}, "per_class": [1, 2, 3, 4], "similarity": "cosine"},
    {"name": "kmex", "of": {"name": "protopnet", "per_class": 2}, "similarity": "dot-product"},
    {"name": "kmex", "of": {"name": "network"}, "places": "map", "per_class": 2},
    {"name": "kmex", "of": {"name": "network"}, "layer": "layer3", "similarity": "cosine"},
    {"name": "network"},
    {"name": "network", "source": "torchvision:mobilenet_v3_small", "head": "new"},
    {"name": "pantypes"},
    {"name": "pantypes", "network": "large", "features": 16, "volume": "log", "scale": 0.1, "eliminate": False},
    {"name": "prototypedl"},
    {"name": "prototypedl", "decoder": "deconv", "squared": True, "reconstruction": "squared", "bias": False},
    {"name": "prototypedl", "network": "large", "reconstruction": "absolute", "start": "uniform"},
    {"name": "protovae"},
    {"name": "protovae", "network": "medium", "features": 16, "sampling": True, "squared": True, "detach_shares": True},
    {"name": "protopnet", "per_class": 2, "features": 16},
    {"name": "protopnet", "per_class": 2, "add_on": "bottleneck", "similarity": "linear", "features": 16},
    {"name": "protopnet", "per_class": 2, "add_on": "unit", "gain": 0.2},
    {
        "name": "protopnet",
        "backbone": "torchvision:resnet18",
        "cut": "layer2",
        "features": 16,
        "prune": True,
        "start": "patches",
    },
]

# a dot product is not largest where code and prototype are equal, nor are shares and means over places
DISTANCES = [
    choice
    for choice in CHOICES
    if choice["name"] not in ("bayesian", "blackbox", "concepts", "flint", "network")
    and choice.get("similarity") != "dot-product"
    and choice.get("places") != "map"
]


def make(choice: dict[str, object], bands: int = 3, size: tuple[int, int] = (28, 28), seed: int = 0) -> PrototypeModel:
    task = Task(tuple(f"class {k}" for k in range(4)), bands, *size)
    return build_model(choice, task, seed).eval()


def pictures(bands: int = 3, size: tuple[int, int] = (28, 28), count: int = 5) -> Tensor:
    return torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(1))


def name_of(choice: dict[str, object]) -> str:
    return "-".join(str(value) for value in choice.values())


def names_of(model: PrototypeModel) -> set[str]:
    """The parameters that learn at some time; a network that is converted stays as it is."""
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


every_model = pytest.mark.parametrize("choice", CHOICES, ids=name_of)


def with_weights(choice: dict[str, object]) -> PrototypeModel:
    """The model with a head whose weights all differ: some begin at zero."""
    model, generator = make(choice), torch.Generator().manual_seed(2)
    for name in ("weight", "head.weight"):
        if name in dict(model.named_parameters()):
            model.get_parameter(name).data.normal_(generator=generator)
    return model


def can_lose_prototypes(model: PrototypeModel) -> bool:
    """Whether its prototypes are other than the rows of its last layer, one a class."""
    return not isinstance(model, LastLayer)


def test_every_registered_model_is_tested():
    assert {choice["name"] for choice in CHOICES} == set(MODELS)


@every_model
@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_number_of_bands_and_any_size_give_logits_and_similarities(choice, bands, size):
    model = make(choice, bands, size)
    evidence = model.evidence(pictures(bands, size))
    assert evidence.logits.shape == (5, 4)
    assert evidence.similarity.shape == (5, len(model.prototypes))
    assert evidence.code.shape[:2] == (5, model.prototypes.vectors.shape[1])
    assert (evidence.maps is not None) == (evidence.code.ndim == 4) == (model.network_of_places() is not None)
    assert evidence.logits.isfinite().all()


@every_model
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_contributions_and_bias_sum_to_the_logits(choice, bands):
    model = make(choice, bands)
    evidence = model.evidence(pictures(bands))
    total = model.contributions(evidence).sum(dim=1) + model.bias()
    torch.testing.assert_close(total, evidence.logits, atol=1e-4, rtol=1e-4)


@every_model
def test_the_head_decides_by_its_basis_alone(choice):
    model, images = with_weights(choice), pictures()
    basis = model.basis(images)
    assert basis.shape[:2] == (5, len(model.prototypes))
    torch.testing.assert_close(model.decide(basis), model(images), atol=1e-4, rtol=1e-4)


@every_model
def test_without_some_prototypes_the_others_decide_and_files_hold_them(choice, tmp_path: Path):
    model, images = with_weights(choice), pictures()
    if not can_lose_prototypes(model):
        return
    fewer, kept = copy.deepcopy(model).eval(), torch.tensor([0, len(model.prototypes) - 1])
    fewer.keep(kept)
    assert len(fewer.prototypes) == len(fewer.prototype_weights()) == 2
    assert torch.equal(fewer.prototype_weights(), model.prototype_weights()[kept])
    torch.testing.assert_close(fewer.decide(model.basis(images)[:, kept]), fewer(images), atol=1e-4, rtol=1e-4)
    evidence = fewer.evidence(images)
    total = fewer.contributions(evidence).sum(dim=1) + fewer.bias()
    torch.testing.assert_close(total, evidence.logits, atol=1e-4, rtol=1e-4)
    digest = save_model(fewer, tmp_path / "model.safetensors", {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert state_digest(loaded) == digest
    assert torch.equal(loaded(images), fewer(images))


@every_model
def test_a_prototype_that_moves_speaks_for_the_other_class_as_it_did_for_its_own(choice):
    model = with_weights(choice)
    if not can_lose_prototypes(model):
        return
    before, number = model.prototype_weights().clone(), len(model.prototypes) - 1
    own = int(model.class_of()[number])
    to = (own + 1) % 4
    model.move(number, to)
    expected = before.clone()
    expected[number, own], expected[number, to] = before[number, to], before[number, own]
    assert torch.equal(model.prototype_weights(), expected)
    assert int(model.class_of()[number]) == to
    evidence = model.evidence(pictures())
    total = model.contributions(evidence).sum(dim=1) + model.bias()
    torch.testing.assert_close(total, evidence.logits, atol=1e-4, rtol=1e-4)


@every_model
def test_a_hidden_region_changes_nothing_and_stays_hidden_in_a_file(choice, tmp_path: Path):
    images = pictures()
    model, plain = make(choice | {"hide": [[3, 2, 20, 9], [0, 27, 28, 28]]}), make(choice)
    model.hidden.fill.copy_(torch.tensor([0.2, 0.4, 0.6]))
    hidden, other = images.clone(), images.clone()
    for rows, columns in ((slice(2, 9), slice(3, 20)), (slice(27, 28), slice(0, 28))):
        hidden[:, :, rows, columns] = torch.tensor([0.2, 0.4, 0.6])[:, None, None]
        other[:, :, rows, columns] = 1 - images[:, :, rows, columns]
    expected, found = plain.evidence(hidden), model.evidence(other)
    for name in ("logits", "similarity", "code"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-5)
    assert torch.equal(model.code(images), model.code(other))
    network = model.network_of_places()
    if network is not None:
        assert torch.equal(network(images), network(other))
    relevance = class_relevance(model, images, torch.zeros(5, dtype=torch.long))
    assert relevance[:, :, 2:9, 3:20].abs().max() == relevance[:, :, 27].abs().max() == 0
    save_model(model, tmp_path / "model.safetensors", {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.settings.hide == ((3, 2, 20, 9), (0, 27, 28, 28))
    assert torch.equal(loaded(images), model(images))


@every_model
def test_a_batch_of_n_equals_n_singles(choice):
    model, images = make(choice), pictures()
    singles = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), singles, atol=1e-5, rtol=1e-5)


@every_model
def test_similarity_is_that_of_the_code_or_of_its_places(choice):
    model = make(choice)
    with torch.inference_mode():
        evidence = model.evidence(pictures())
        whole = evidence.code.ndim == 2
        found = model.alike(evidence.code if whole else evidence.code.permute(0, 2, 3, 1).flatten(0, 2))
    expected = evidence.similarity if evidence.maps is None else evidence.maps.permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("choice", DISTANCES, ids=name_of)
def test_the_largest_similarity_goes_to_the_image_whose_code_is_the_prototype(choice):
    model, images = make(choice), pictures()
    code = model.evidence(images).code
    code = code[:, :, 0, 0] if code.ndim == 4 else code
    model.prototypes.vectors.data[: len(code)] = code
    similarity = model.evidence(images).similarity[:, : len(code)]
    assert similarity.argmax(dim=0).tolist() == list(range(len(code)))


@every_model
def test_decoded_codes_and_prototypes_are_pictures_of_the_input_s_shape(choice):
    model = make(choice, 3, (17, 23))
    codes, alone = model.decode(model.evidence(pictures(3, (17, 23))).code), model.decode_prototypes()
    for decoded, count in ((codes, 5), (alone, len(model.prototypes))):
        if decoded is not None:
            assert decoded.shape == (count, 3, 17, 23)
            assert decoded.min() >= 0
            assert decoded.max() <= 1


@every_model
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(choice):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = make(choice, seed=3), make(choice, seed=3), make(choice, seed=4)
    assert torch.equal(torch.rand(1), expected)
    assert state_digest(first) == state_digest(second) != state_digest(other)


@every_model
def test_saving_and_loading_give_the_same_bits_task_settings_and_provenance(choice, tmp_path: Path):
    model = make(choice, 5, (17, 23))
    model.provenance = [Provenance("training", 3, "train/3", "class 1", 0.5)] + [None] * (len(model.prototypes) - 1)
    digest = save_model(model, tmp_path / "model.safetensors", {"training": "abc"})
    loaded = load_model(tmp_path / "model.safetensors")
    assert state_digest(loaded) == digest
    assert loaded.task == model.task
    assert loaded.settings == model.settings
    assert loaded.provenance == model.provenance
    images = pictures(5, (17, 23))
    assert torch.equal(loaded(images), model(images))


@every_model
def test_each_weighted_term_of_its_calendar_is_a_finite_loss_that_reaches_every_learning_part(choice):
    model = make(choice).train()
    learned = set()
    for stage in calendar(model, {}):
        model.zero_grad()
        batch = Batch(pictures(), torch.tensor([0, 1, 2, 3, 0]))
        terms = model.losses(batch, model.evidence(batch.images), epoch=0)
        assert set(stage.weights) <= set(terms)
        loss = sum(weight * terms[name] for name, weight in stage.weights.items())
        loss.backward()
        assert loss.isfinite()
        silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        rates = {name: stage.rates.get(name.split(".")[0], stage.rates.get("all", 0)) for name in names_of(model)}
        learning = {name for name, rate in rates.items() if rate > 0}
        assert learning & silent == set()
        learned |= learning
    assert learned == names_of(model)


@every_model
def test_image_weights_count_an_image_of_weight_two_twice(choice):
    model, images = make(choice), pictures()
    labels = torch.tensor([0, 1, 2, 3, 0])
    weighted = Batch(images, labels, torch.tensor([2.0, 1, 1, 1, 1]))
    doubled = Batch(torch.cat([images[:1], images]), torch.cat([labels[:1], labels]))
    losses = [model.losses(batch, model.evidence(batch.images), 0)["classification"] for batch in (weighted, doubled)]
    torch.testing.assert_close(losses[0], losses[1])


@every_model
def test_evidence_in_evaluation_mode_changes_no_weight_no_buffer_and_no_generator(choice):
    model = make(choice)
    before, state = state_digest(model), torch.get_rng_state()
    with torch.inference_mode():
        model.evidence(pictures())
        model.decode_prototypes()
    assert state_digest(model) == before
    assert torch.equal(torch.get_rng_state(), state)


@every_model
def test_a_step_in_bfloat16_has_the_losses_of_one_in_float32_within_its_rounding(choice):
    model = make(choice).train()
    batch = Batch(pictures(count=8), torch.arange(8) % 4)

    def step() -> dict[str, Tensor]:
        torch.manual_seed(0)
        return model.losses(batch, model.evidence(batch.images), 0)

    exact = step()
    with torch.autocast("cpu", torch.bfloat16):
        rough = step()
        total = sum(rough.values())
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert {name: value.item() for name, value in rough.items()} == pytest.approx(
        {name: value.item() for name, value in exact.items()}, rel=0.05, abs=0.02
    )
