"""Pixels that go in the order of a map, against loops, SciPy's filter and a solved system of equations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn

from protolens.evaluation.degradation import (
    NEIGHBOURS,
    aopc,
    area,
    blurred,
    inpainted,
    of_class,
    ranks,
    replaced,
    said_when_kept,
    said_when_removed,
    top,
)


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3), nn.Softmax(1)).eval()


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99), st.booleans())
@settings(max_examples=40)
def test_ranks_are_an_order_from_high_to_low(images, height, width, seed, equal):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(images, height, width, generator=generator)
    maps = maps.round() if equal else maps
    order = ranks(maps, seed)
    for own, places in zip(maps.flatten(1), order.flatten(1), strict=True):
        assert sorted(places.tolist()) == list(range(height * width))
        in_order = own[places.argsort()].tolist()
        assert in_order == sorted(own.tolist(), reverse=True)
    assert torch.equal(ranks(maps[-1:], seed), order[-1:])


def test_equal_pixels_come_in_no_order_of_place():
    kept = top(torch.zeros(1, 20, 20), 0.5)
    assert int(kept.sum()) == 200
    assert 60 < int(kept[0, :10].sum()) < 140
    assert torch.equal(top(torch.arange(10.0).view(1, 2, 5), 0.3)[0].nonzero(), torch.tensor([[1, 2], [1, 3], [1, 4]]))


@pytest.mark.parametrize("filling", ["salt-and-pepper", "black", "mean", "blur", "inpaint"])
def test_kept_pixels_stay_and_the_others_do_not(filling):
    images, kept = torch.rand(3, 2, 8, 9), torch.rand(3, 8, 9) < 0.4
    found = replaced(images, kept, filling, seed=2)
    there = kept[:, None].expand_as(images)
    assert torch.equal(found[there], images[there])
    assert not torch.isclose(found[~there], images[~there]).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, replaced(images, kept, filling, seed=2))
    if filling == "salt-and-pepper":
        assert set(found[~there].tolist()) == {0.0, 1.0}
        lost = ~kept[:, None]
        assert torch.equal(found[:, :1][lost], found[:, 1:][lost])
    if filling == "mean":
        for image in range(3):
            for band in range(2):
                assert found[image, band][~kept[image]].unique().tolist() == [
                    pytest.approx(images[image, band].mean().item())
                ]


def test_blurred_is_scipy_s_gaussian_filter():
    images = torch.rand(2, 3, 17, 20)
    expected = ndimage.gaussian_filter(images.double().numpy(), (0, 0, 1.7, 1.7), mode="nearest")
    np.testing.assert_allclose(blurred(images, 1.7), expected, rtol=1e-5, atol=1e-6)


def solved(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The equations of the paper, one unknown pixel after the other."""
    height, width = kept.shape
    unknown = [tuple(place) for place in np.argwhere(~kept)]
    number = {place: row for row, place in enumerate(unknown)}
    left, right = np.zeros((len(unknown), len(unknown))), np.zeros(len(unknown))
    for (y, x), row in number.items():
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                weight, place = NEIGHBOURS[dy + 1][dx + 1], (y + dy, x + dx)
                if not (0 <= place[0] < height and 0 <= place[1] < width):
                    continue
                left[row, row] += weight
                if place in number:
                    left[row, number[place]] -= weight
                else:
                    right[row] += weight * image[place]
    result = image.copy()
    result[~kept] = np.linalg.solve(left, right)
    return result


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_inpainting_solves_the_equations_of_its_paper(share):
    generator = torch.Generator().manual_seed(0)
    images, kept = torch.rand(3, 2, 9, 8, generator=generator), torch.rand(3, 9, 8, generator=generator) < share
    found = inpainted(images, kept, noise=0.0, tolerance=1e-6)
    for image in range(3):
        for band in range(2):
            expected = solved(images[image, band].double().numpy(), kept[image].numpy())
            np.testing.assert_allclose(found[image, band], expected, atol=1e-3)


def test_inpainting_with_all_or_nothing_kept():
    images = torch.rand(2, 1, 5, 5)
    kept = torch.tensor([True, False])[:, None, None].expand(2, 5, 5)
    found = inpainted(images, kept, noise=0.0)
    assert torch.equal(found[0], images[0])
    torch.testing.assert_close(found[1], images[1].mean().expand(1, 5, 5))


def slowly_said(network: nn.Module, image: Tensor, order: Tensor, count: int, hidden: Tensor, target: int) -> float:
    seen = image.clone()
    for y in range(8):
        for x in range(8):
            if order[y, x] >= count:
                seen[:, y, x] = hidden[:, y, x]
    return float(network(seen[None])[0, target])


def test_curves_and_aopc_are_their_definitions():
    network, images, maps = classifier(), torch.rand(3, 2, 8, 8), torch.randn(3, 8, 8)
    order, targets, shares = ranks(maps), torch.tensor([2, 0, 1]), [0.0, 0.25, 0.5, 1.0]
    removed = of_class(said_when_removed(network, images, order, shares, "mean"), targets)
    kept = of_class(said_when_kept(network, images, order, shares, "blur"), targets)
    falls = aopc(shares, removed, most=0.5)
    for row in range(3):
        mean = images[row].mean(dim=(1, 2), keepdim=True).expand(2, 8, 8)
        soft = blurred(images[[row]], 0.8)[0]
        target = int(targets[row])
        lowest_first = 63 - order[row]
        expected = [slowly_said(network, images[row], lowest_first, 64 - round(64 * s), mean, target) for s in shares]
        assert removed[:, row].tolist() == pytest.approx(expected, rel=1e-4)
        inserted = [slowly_said(network, images[row], order[row], round(64 * s), soft, target) for s in shares]
        assert kept[:, row].tolist() == pytest.approx(inserted, rel=1e-4)
        first, second, third, _ = expected
        mean_fall = ((first - first + first - second) / 2 + (first - second + first - third) / 2) / 2
        assert float(falls[row]) == pytest.approx(mean_fall, rel=1e-3, abs=1e-6)


def test_accuracy_falls_as_pixels_go_and_an_area_is_the_trapezoid_s():
    images = (torch.rand(40, 1, 8, 8) < 0.1).float()
    images[20:, :, 3:5, 3:5] = 1.0
    labels = (torch.arange(40) >= 20).long()

    def answer(seen: Tensor) -> Tensor:
        bright = seen[:, 0, 3:5, 3:5].mean(dim=(1, 2))
        return torch.stack([1 - bright, bright], dim=1)

    middle = torch.zeros(40, 8, 8)
    middle[:, 3:5, 3:5] = 1.0
    shares = [0.0, 4 / 64, 0.5, 1.0]
    said = [said_when_kept(answer, images, ranks(maps), shares, "black").argmax(dim=2) for maps in (middle, -middle)]
    good, bad = ((classes == labels).double().mean(dim=1).tolist() for classes in said)
    assert good == [0.5, 1.0, 1.0, 1.0]
    assert bad == [0.5, 0.5, 0.5, 1.0]
    assert float(area([0.0, 0.25, 1.0], torch.tensor([1.0, 0.5, 0.0]))) == pytest.approx(0.25 * 0.75 + 0.75 * 0.25)
