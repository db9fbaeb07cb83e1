"""Projection, pruning and elimination against slow loops, on models with and without places."""

import math

import pytest
import torch
from torch import Tensor

from protolens.config import Stage
from protolens.data import Images, MemoryImages, to_float
from protolens.errors import ProtolensError
from protolens.models import PrototypeModel, build_model
from protolens.train import Run, fit
from protolens.train.afterwards import check_afterwards
from protolens.train.projection import (
    codes_at_places,
    eliminate,
    nearest_images,
    nearest_patches,
    project,
    prune,
    scatter,
)
from tests.conftest import digits_run, make_task

CLASSES = 3
CHOICES = [
    {"name": "protopnet", "per_class": 4, "features": 8},
    {"name": "protovae", "per_class": 4, "features": 8},
]
both = pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice["name"])


def make(choice: dict[str, object]) -> PrototypeModel:
    return build_model(choice, make_task(1, (16, 16), CLASSES), 0).eval()


def make_images(count: int = 40) -> Images:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(256, (count, 1, 16, 16), generator=generator, dtype=torch.uint8)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return MemoryImages("training", pixels, labels, [f"image {row}" for row in range(count)])


def slow_patches(model: PrototypeModel, images: Images) -> list[list[tuple[float, int, int]]]:
    """For each prototype all (distance, image, place) of its class, sorted, in double precision."""
    codes = codes_at_places(model, to_float(images.take(torch.arange(len(images))), torch.device("cpu")))
    found = []
    for vector, k in zip(model.prototypes.vectors.detach(), model.class_of().tolist(), strict=True):
        rows = [
            (float((patch.double() - vector.double()).square().sum()), image, place)
            for image, label in enumerate(images.labels.tolist())
            if label == k
            for place, patch in enumerate(codes[image].flatten(1).T)
        ]
        found.append(sorted(rows))
    return found


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Several batches, so that what is found in one is compared with what was found before."""
    monkeypatch.setattr("protolens.train.validation.LARGEST_BATCH", 7)


@both
@torch.no_grad()
def test_the_nearest_patches_of_the_class_are_those_of_a_loop(choice):
    model, images = make(choice), make_images()
    found = nearest_patches(model, images, 5)
    for number, slow in enumerate(slow_patches(model, images)):
        expected = [distance for distance, _, _ in slow[:5]]
        assert found.distance[number].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-4)
        place_of = {(image, place): distance for distance, image, place in slow}
        pairs = zip(found.image[number].tolist(), found.place[number].tolist(), strict=True)
        assert [place_of[pair] for pair in pairs] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@both
@torch.no_grad()
def test_a_projected_prototype_is_the_nearest_code_of_its_class_and_as_similar_as_can_be(choice):
    model, images = make(choice), make_images()
    before = slow_patches(model, images)
    project(model, images)
    similarity = model.evidence(to_float(images.take(torch.arange(len(images))), torch.device("cpu"))).similarity
    for number, slow in enumerate(before):
        _, image, _ = slow[0]
        assert float(similarity[image, number]) == pytest.approx(math.log(1e4), abs=1e-3)
    assert all(patches[0][0] == pytest.approx(0, abs=1e-10) for patches in slow_patches(model, images))


@torch.no_grad()
def test_distinct_projection_never_takes_a_patch_twice_and_prefers_the_lower_number():
    model, images = make(CHOICES[0]), make_images()
    model.prototypes.vectors[:4] = model.prototypes.vectors[0].clone()  # four of class 0 want the same patch
    before = slow_patches(model, images)
    plain, distinct = make(CHOICES[0]), model
    plain.load_state_dict(model.state_dict())
    assert project(plain, images)["patches"] < 12
    assert project(distinct, images, distinct=True)["patches"] == 12
    codes = codes_at_places(model, to_float(images.take(torch.arange(len(images))), torch.device("cpu")))
    for number in range(4):
        _, image, place = before[0][number]
        torch.testing.assert_close(model.prototypes.vectors[number], codes[image].flatten(1)[:, place])


@torch.no_grad()
def test_a_class_without_images_leaves_its_prototypes_where_they_are():
    model, images = make(CHOICES[0]), make_images()
    without = images.subset("training", (images.labels != 1).nonzero().flatten())
    kept = model.prototypes.vectors[model.class_of() == 1].clone()
    assert project(model, without)["projected"] == 8
    assert torch.equal(model.prototypes.vectors[model.class_of() == 1], kept)


@both
@torch.no_grad()
def test_pruning_drops_prototypes_whose_nearest_images_have_another_class(choice):
    model, images = make(choice), make_images()
    similarity = model.evidence(to_float(images.take(torch.arange(len(images))), torch.device("cpu"))).similarity
    near = nearest_images(model, images, 6)
    class_of, expected = model.class_of().tolist(), []
    for number, k in enumerate(class_of):
        order = sorted(range(len(images)), key=lambda row, number=number: -float(similarity[row, number]))[:6]
        assert similarity[near[number], number].tolist() == pytest.approx(similarity[order, number].tolist(), abs=1e-5)
        expected.append(sum(int(images.labels[row]) == k for row in order) >= 3)
    logits = model(to_float(images.take(torch.arange(5)), torch.device("cpu")))
    weights, vectors = model.prototype_weights().clone(), model.prototypes.vectors.clone()
    said = prune(model, images)
    left = [number for number in range(12) if number not in said["dropped"]]
    assert all(number in left for number in range(12) if expected[number])
    # what fails stays only where its class would lose its last one
    spared = [number for number in left if not expected[number]]
    assert all(sum(class_of[other] == class_of[number] for other in left) == 1 for number in spared)
    assert torch.equal(model.prototypes.vectors, vectors[left])
    assert torch.equal(model.prototype_weights(), weights[left])
    assert model.class_of().tolist() == [class_of[number] for number in left]
    assert model(to_float(images.take(torch.arange(5)), torch.device("cpu"))).shape == logits.shape


@both
@torch.no_grad()
def test_elimination_drops_exactly_the_prototypes_that_no_image_uses(choice):
    model, images = make(choice), make_images()
    model.prototypes.vectors[2] += 100  # out of the data
    every = to_float(images.take(torch.arange(len(images))), torch.device("cpu"))
    used = set(model.evidence(every).similarity.argmax(dim=1).tolist())
    class_of = model.class_of().tolist()
    dropped = set(eliminate(model, images)["dropped"])
    assert 2 in dropped
    assert not dropped & used
    spared = set(range(12)) - used - dropped
    assert all(not any(class_of[other] == class_of[number] for other in used) for number in spared)


@both
@torch.no_grad()
def test_scattered_prototypes_are_codes_of_their_class_and_depend_on_the_seed_alone(choice):
    images, vectors = make_images(), []
    for seed in (1, 1, 2):
        model = make(choice)
        torch.manual_seed(seed)
        scatter(model, images)
        assert all(patches[0][0] == pytest.approx(0, abs=1e-10) for patches in slow_patches(model, images))
        vectors.append(model.prototypes.vectors.clone())
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def test_a_run_with_pruned_prototypes_is_written_loaded_and_resumed(tmp_path):
    changes = {
        "model": {"name": "protopnet", "per_class": 5, "features": 8, "rounds": 1, "prune": True},
        "stages": {"joint-1": {"epochs": 2}, "head-1": {"epochs": 1}, "refit": {"epochs": 2}},
        "train": {"batch": 128},
    }
    run = fit(digits_run(**changes), tmp_path / "run")
    steps = [entry["step"] for entry in run.facts["followed"]]
    assert steps == ["project", "prune"]
    left = run.facts["followed"][1]["left"]
    model = run.model()
    assert len(model.prototypes) == len(run.prototypes) == len(model.provenance) == left
    largest = [entry["provenance"]["similarity"] for entry in run.prototypes]
    assert largest == pytest.approx([math.log(1e4)] * left, abs=1e-3)
    assert all(len(entry["provenance"]["box"]) == len(entry["provenance"]["field"]) == 4 for entry in run.prototypes)
    again = fit(digits_run(**changes), tmp_path / "run", resume=True)
    assert torch.equal(again.model().prototypes.vectors, model.prototypes.vectors)


def test_an_unknown_step_or_option_names_the_nearest():
    with pytest.raises(ProtolensError, match=r"here: stages\.train\.then\.projekt is no step; did you mean .*project"):
        check_afterwards([Stage(then={"projekt": {}})], "here")
    with pytest.raises(ProtolensError, match=r"then\.prune\.nearst is not an option of prune; did you mean .*nearest"):
        check_afterwards([Stage(then={"prune": {"nearst": 3}})], "here")


def test_following_writes_the_whereabouts_of_every_prototype_into_the_history(tmp_path):
    changes = {"model": {"name": "protopnet", "per_class": 2, "features": 8, "rounds": 1}, "train": {"follow": True}}
    changes["stages"] = {"joint-1": {"epochs": 2}, "head-1": {"epochs": 1}}
    run: Run = fit(digits_run(**changes), tmp_path / "run")
    last = run.history[-1]["prototypes"]
    uses = torch.tensor(last["uses"])
    assert int(uses.sum()) == sum(run.facts["data"]["splits"]["training"]["per_class"])
    norms: Tensor = run.model().prototypes.vectors.detach().norm(dim=1)
    assert last["norm"] == pytest.approx(norms.tolist(), rel=1e-5)
    assert last["distance"] == pytest.approx([0.0] * 20, abs=1e-6)  # all are projected
