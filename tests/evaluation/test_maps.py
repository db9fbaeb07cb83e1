"""Figures of maps against SciPy, captum and their definitions."""

import math
from math import hypot

import captum.metrics
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from protolens.attribution import attribute
from protolens.evaluation.maps import (
    complexity,
    infidelity,
    max_sensitivity,
    mean_ranks,
    overlap,
    pointing_at_parts,
    pointing_game,
    randomised,
    spearman,
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)),
    ).eval()


@st.composite
def pairs_of_maps(draw):
    images, height, width = draw(st.integers(1, 4)), draw(st.integers(2, 6)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    maps = torch.randn(2, images, height, width, generator=generator)
    return tuple(maps.round() if draw(st.booleans()) else maps)


@given(pairs_of_maps())
@settings(max_examples=50)
def test_ranks_and_their_correlation_are_scipy_s(pair):
    first, second = pair
    expected = stats.rankdata(first.flatten(1).numpy(), axis=1)
    np.testing.assert_allclose(mean_ranks(first.flatten(1)), expected)
    for a, b, found in zip(first, second, spearman(first, second).tolist(), strict=True):
        if len(a.unique()) == 1 or len(b.unique()) == 1:
            assert math.isnan(found)
        else:
            assert found == pytest.approx(stats.spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-9)
    for changed in (3 * first + 2, first**3):
        torch.testing.assert_close(spearman(changed, second), spearman(first, second), equal_nan=True)


@given(pairs_of_maps())
def test_overlap_is_the_share_of_common_highest_pixels(pair):
    first, second = (maps + 1e-3 * torch.rand(maps.shape) for maps in pair)
    count = round(0.2 * first[0].numel())
    for a, b, found in zip(first, second, overlap(first, second).tolist(), strict=True):
        highest = [set(each.flatten().argsort(descending=True)[:count].tolist()) for each in (a, b)]
        assert found == pytest.approx(len(highest[0] & highest[1]) / max(count, 1))
    assert overlap(torch.zeros(1, 50, 50), torch.zeros(1, 50, 50)).item() == pytest.approx(0.2, abs=0.05)


@given(pairs_of_maps())
def test_complexity_is_an_entropy(pair):
    for own, found in zip(pair[0], complexity(pair[0]).tolist(), strict=True):
        size = own.abs().flatten().double().numpy()
        assert found == pytest.approx(stats.entropy(size) if size.sum() else math.log(own.numel()), abs=1e-9)


def test_complexity_has_its_ends_at_one_pixel_and_at_all():
    maps = torch.zeros(3, 4, 5)
    maps[0, 2, 2], maps[1] = -7.0, 2.0
    assert complexity(maps).tolist() == pytest.approx([0.0, math.log(20), math.log(20)])


def test_sensitivity_is_the_largest_relative_change_over_the_samples():
    images, seen = torch.rand(3, 1, 6, 6) * 0.5 + 0.25, []

    def explain(given: Tensor) -> Tensor:
        seen.append(given.clone())
        return given[:, 0] ** 2

    found = max_sensitivity(explain, images, radius=0.1, samples=4, seed=2)
    whole, changed = seen[0], seen[1:]
    assert len(changed) == 4
    assert all((other - whole).abs().max() <= 0.1 + 1e-6 for other in changed)
    assert all((other - whole).abs().max() > 0.08 for other in changed)
    for row in range(3):
        length = float((whole[row] ** 2).norm())
        expected = max(float((other[row] ** 2 - whole[row] ** 2).norm()) / length for other in changed)
        assert float(found[row]) == pytest.approx(expected, rel=1e-5)
    assert max_sensitivity(lambda given: torch.ones(len(given), 6, 6), images).tolist() == [0.0] * 3


def test_the_sensitivity_of_a_map_of_zeros_is_undefined():
    images = torch.rand(2, 1, 6, 6)
    found = max_sensitivity(lambda seen: seen[:, 0] * (images[:, 0] > 2), images)
    assert found.isnan().all()


def test_infidelity_is_captum_s_with_the_best_scale():
    model, images, targets = network(), torch.rand(3, 1, 8, 8), torch.tensor([0, 3, 1])
    maps, noise = attribute(model, images, targets, "integrated-gradients"), []

    def answer(given: Tensor) -> Tensor:
        noise.append(images - given)
        return model(given)

    found = infidelity(answer, images, maps, targets, samples=30, seed=1)
    steps = iter(noise[1:])

    def perturb(given: Tensor) -> tuple[Tensor, Tensor]:
        moved = next(steps)
        return moved, given - moved

    asked = {"n_perturb_samples": 30, "max_examples_per_batch": 3, "normalize": True}
    theirs = captum.metrics.infidelity(model, perturb, images, maps[:, None], target=targets, **asked)
    changes = [(model(images) - model(images - moved)).gather(1, targets[:, None])[:, 0] for moved in noise[1:]]
    usual = torch.stack(changes).square().mean(dim=0)
    torch.testing.assert_close(found, (theirs / usual).double().detach(), rtol=1e-3, atol=1e-5)
    zero = infidelity(model, images, torch.zeros(3, 8, 8), targets)
    assert zero.tolist() == pytest.approx([1.0] * 3)


def test_a_linear_model_is_told_exactly_by_its_weights():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    images, targets = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    assert infidelity(model, images, model[1].weight.detach().view(2, 8, 8), targets).max() < 1e-8


def test_randomised_copies_shuffle_layers_from_the_output_down():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed = set()
    for name, copy in randomised(model, seed=1):
        changed.add(name)
        for key, value in copy.state_dict().items():
            if key.rpartition(".")[0] in changed:
                assert torch.equal(value.flatten().sort().values, before[key].flatten().sort().values)
                assert value.numel() < 5 or not torch.equal(value, before[key])
            else:
                assert torch.equal(value, before[key])
    assert changed == {"0", "2", "6"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [name for name, _ in randomised(model)] == ["6", "2", "0"]


def test_gradients_change_with_the_weights_and_edges_do_not():
    model, images = network(), torch.rand(4, 1, 12, 12)
    for method, depends in (("integrated-gradients", True), ("edges", False)):
        own = attribute(model, images, 0, method)
        last = [attribute(copy, images, 0, method) for _, copy in randomised(model)][-1]
        assert (spearman(own, last).mean() < 0.9) == depends


def test_the_pointing_game_looks_at_the_highest_pixel():
    maps = torch.zeros(5, 8, 10)
    maps[0, 3, 4] = maps[1, 3, 4] = maps[2, 3, 4] = 1.0
    maps[3, 0, 0] = maps[3, 7, 9] = 1.0
    boxes = torch.tensor([[4, 3, 6, 5], [5, 3, 6, 5], [4, 4, 4, 4], [0, 0, 5, 5], [0, 0, 5, 8]])
    assert pointing_game(maps, boxes).tolist() == [1.0, 0.0, 0.0, 0.5, 0.5]
    assert pointing_game(maps, boxes, tolerance=1).tolist()[:3] == [1.0, 1.0, 0.0]


def test_pointing_at_parts_is_the_distance_to_the_nearest_one_that_is_seen():
    generator = torch.Generator().manual_seed(0)
    maps, parts = torch.rand(40, 9, 11, generator=generator), 10 * torch.rand(40, 3, 2, generator=generator)
    parts[torch.rand(40, 3, generator=generator) < 0.4] = torch.nan
    parts[0] = torch.nan
    found = pointing_at_parts(maps, parts, 2.0)
    for row in range(40):
        y, x = divmod(int(maps[row].argmax()), 11)
        seen = [part for part in parts[row].tolist() if part[0] == part[0]]
        near = any(hypot(x + 0.5 - px, y + 0.5 - py) <= 2 for px, py in seen)
        assert found[row].isnan() if not seen else bool(found[row]) == near
    assert found[0].isnan()
    assert 0 < float(found.nanmean()) < 1
