"""Average drop and increase against the definition written slowly, and where the perfect map is known."""

import pytest
import torch

from protolens.attribution import chance, edges, prp
from protolens.evaluation import drops as module
from protolens.evaluation.drops import (
    CONVENTIONS,
    FILLINGS,
    MEASURES,
    WANTED,
    Damage,
    drops_of,
    kinds_of_maps,
    likeness_of,
    own_prototypes,
)
from protolens.evaluation.trust import average_drop, average_increase
from protolens.models import build_model, state_digest
from protolens.nn import EPSILON, log_ratio, upsampled
from tests.conftest import make_task

SIZE = (20, 20)


def model_of(name: str, **settings: object):
    return build_model({"name": name, **settings}, make_task(1, SIZE), 0).eval()


def images_of(count: int) -> torch.Tensor:
    return torch.rand(count, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def slow_map(model, image, number, kind):
    if kind == "prp":
        return prp(model, image[None], [number])[0, 0].sum(dim=0)
    if kind == "self":
        maps = model.evidence(image[None]).maps[0, number]
        return upsampled((maps - maps.min())[None, None], SIZE)[0, 0]
    return (edges if kind == "edges" else lambda each: chance(each, 3))(image[None])[0]


def slow_likeness(model, image, number):
    """One image, one prototype."""
    with torch.no_grad():
        found = model.evidence(image[None])
    if model.name == "prototypedl":
        return float(log_ratio(found.distance, EPSILON)[0, number])
    return float(found.similarity[0, number])


@pytest.mark.parametrize("name", ["protovae", "prototypedl", "protopnet", "blackbox", "flint"])
def test_figures_are_those_of_a_loop_over_images_prototypes_and_pixels(name, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 5000)  # several parts
    model, images, labels = model_of(name), images_of(5), torch.tensor([0, 1, 3, 1, 0])
    kinds, _ = kinds_of_maps(model, images[:1])
    damage = Damage.drawn((1, *SIZE), seed=3)
    found = drops_of(model, images, labels, kinds, Damage(damage.noise, 0.5, 3))
    class_of = model.class_of().tolist()
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        own = [number for number, k in enumerate(class_of) if k == label]
        before = {number: slow_likeness(model, image, number) for number in own}
        assert int(found["pairs"][row]) == len(own)
        assert int(found["positive"][row]) == sum(value > 0 for value in before.values())
        for kind in kinds:
            for convention in CONVENTIONS:
                lost, risen = [], []
                for number in own:
                    order = slow_map(model, image, number, kind).abs().flatten().argsort(descending=True)
                    gone = order[: len(order) // 2] if convention == "remove_top" else order[len(order) // 2 :]
                    changed = image.flatten().clone()
                    changed[gone] = damage.noise.flatten()[gone]
                    after = slow_likeness(model, changed.view(image.shape), number)
                    risen.append(after - before[number] > 1e-4 * abs(before[number]))
                    if before[number] > 0:
                        lost.append(max(0.0, before[number] - max(0.0, after)) / (before[number] + 1e-8))
                drop, increase = (found[f"{kind} noise {measure} {convention}"][row] for measure in MEASURES)
                assert bool(drop.isnan()) == (not lost)
                if lost:
                    assert float(drop) == pytest.approx(sum(lost) / len(lost), rel=2e-2, abs=2e-3)
                if own:
                    assert float(increase) == pytest.approx(sum(risen) / len(risen), abs=1e-6)


def brightness_of_the_left_half(images):
    return images[:, :, :, : SIZE[1] // 2].mean(dim=(1, 2, 3))[:, None]


def test_the_perfect_map_loses_all_when_its_pixels_go_and_nothing_when_they_stay(monkeypatch):
    """A last layer over the brightness of the left half: similarity is that brightness, and all else is nothing."""
    model = model_of("blackbox")
    monkeypatch.setattr(model, "code", brightness_of_the_left_half)
    model.prototypes.vectors = torch.nn.Parameter(torch.ones(4, 1))
    images, labels = images_of(6).clamp_min(0.1), torch.arange(6) % 4
    perfect = torch.zeros(6, 1, *SIZE)
    perfect[:, :, :, : SIZE[1] // 2] = 1
    monkeypatch.setattr(module, "map_of", lambda *_: perfect)
    found = drops_of(model, images, labels, ["perfect"], Damage(torch.zeros(1, *SIZE)))
    assert found["perfect noise average_drop remove_top"].tolist() == pytest.approx([1.0] * 6)
    assert found["perfect noise average_drop keep_top"].tolist() == pytest.approx([0.0] * 6)
    assert found["perfect noise average_increase remove_top"].tolist() == [0.0] * 6
    monkeypatch.setattr(module, "map_of", lambda *_: 1 - perfect)
    worst = drops_of(model, images, labels, ["perfect"], Damage(torch.zeros(1, *SIZE)))
    for measure in MEASURES:
        for one, other in (CONVENTIONS, CONVENTIONS[::-1]):
            name = f"perfect noise {measure}"
            assert torch.equal(worst[f"{name} {one}"], found[f"{name} {other}"])
    for (measure, convention), wanted in WANTED.items():
        apart = found[f"perfect noise {measure} {convention}"] - worst[f"perfect noise {measure} {convention}"]
        assert (wanted * apart >= 0).all()


def test_half_of_the_pixels_is_replaced_whatever_the_map_and_a_map_of_one_value_has_no_favourites():
    images, damage = images_of(3), Damage(torch.full((1, *SIZE), 2.0))
    for maps in (torch.rand(3, 2, *SIZE), torch.zeros(3, 2, *SIZE)):
        order = damage.order(maps)
        for filling in FILLINGS:
            gone = [damage.done(images, order, filling, convention) != images[:, None] for convention in CONVENTIONS]
            assert not (gone[0] & gone[1]).any()
            if filling == "noise":
                assert (gone[0].sum(dim=(2, 3, 4)) == 200).all()
                assert (gone[0] | gone[1]).all()
    assert 0.3 < float(gone[0][0, 0, 0, :10].double().mean()) < 0.7  # not the upper half


def test_an_odd_number_of_pixels_loses_as_many_by_either_convention():
    damage = Damage(torch.full((1, 3, 3), 2.0))
    order, images = torch.arange(9).view(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    first, last = (damage.done(images, order, "noise", convention).flatten() for convention in CONVENTIONS)
    assert first.nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert last.nonzero().flatten().tolist() == [5, 6, 7, 8]


def test_own_prototypes_are_those_of_the_class_or_of_all_classes_that_are_shown():
    class_of = torch.tensor([2, 0, 2, 1])
    assert own_prototypes(torch.tensor([2, 0, 3]), class_of).tolist() == [[0, 2], [1, -1], [-1, -1]]
    several = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]])
    assert own_prototypes(several, class_of).tolist() == [[1, 3], [-1, -1]]
    assert own_prototypes(torch.tensor([3]), class_of).tolist() == [[-1]]


def test_images_of_a_class_without_prototypes_have_no_figures():
    model = model_of("protovae", per_class=1)
    model.keep(torch.tensor([0, 1]))
    found = drops_of(model, images_of(3), torch.tensor([0, 3, 1]), ["prp", "random"], Damage.drawn((1, *SIZE), 0))
    assert found["pairs"].tolist() == [1, 0, 1]
    for key, values in found.items():
        if "average" in key:
            assert values.isnan().tolist() == [False, True, False]


def test_a_picture_is_held_against_its_own_prototype_and_one_for_all_against_each():
    model, images = model_of("protovae"), images_of(4).view(2, 2, 1, *SIZE)
    own = torch.tensor([[3, 1], [0, 7]])
    with torch.no_grad():
        every = model.evidence(images.flatten(0, 1)).similarity.view(2, 2, -1)
        found, alone = likeness_of(model, images, own), likeness_of(model, images[:, :1], own)
    for image in range(2):
        for place, number in enumerate(own[image].tolist()):
            assert float(found[image, place]) == pytest.approx(float(every[image, place, number]), rel=1e-4)
            assert float(alone[image, place]) == pytest.approx(float(every[image, 0, number]), rel=1e-4)


def test_a_share_of_a_dot_product_below_zero_says_nothing_and_no_more_than_all_is_lost():
    before, after = torch.tensor([-1.0, 0.0, 2.0, 4.0]), torch.tensor([-5.0, 1.0, -3.0, 5.0])
    assert average_drop(before, after) == pytest.approx(0.5)
    assert average_increase(before, after) == pytest.approx(0.5)
    assert average_drop(before[:2], after[:2]) != average_drop(before[:2], after[:2])  # not a number


def test_maps_that_a_model_does_not_have_are_left_out_with_a_reason():
    kinds, left_out = kinds_of_maps(model_of("blackbox"), images_of(1))
    assert kinds == ("prp", "random", "edges")
    assert left_out == {"self": "prototypes of blackbox stand for whole images and have no map of places"}
    assert kinds_of_maps(model_of("protopnet"), images_of(1)) == (("prp", "self", "random", "edges"), {})


def test_the_model_and_the_random_state_stay_and_a_seed_gives_the_same():
    model, images, labels = model_of("protopnet"), images_of(4), torch.arange(4)
    before, state = state_digest(model), torch.get_rng_state()
    one, two, other = (
        drops_of(model, images, labels, ["prp", "self", "random"], Damage.drawn((1, *SIZE), seed)) for seed in (0, 0, 1)
    )
    assert state_digest(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(values, two[key]) for key, values in one.items())
    assert any(not torch.equal(values, other[key]) for key, values in one.items())
