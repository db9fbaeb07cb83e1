"""Prototypes at places against slow loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.nn import log_ratio, nearest_places, own_distances, percentile_boxes, slots_of, upsampled


@st.composite
def places(draw):
    """Codes [B, D, h, w] and prototypes [P, D]."""
    batch, depth, height, width, prototypes = (draw(st.integers(1, 4)) for _ in range(5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    codes = torch.rand(batch, depth, height, width, generator=generator)
    return codes, torch.rand(prototypes, depth, generator=generator)


def slow_distance(codes, prototypes):
    """[B, P, h, w], by loops in double precision."""
    batch, _, height, width = codes.shape
    distance = torch.zeros(batch, len(prototypes), height, width, dtype=torch.float64)
    for b in range(batch):
        for p in range(len(prototypes)):
            for row in range(height):
                for column in range(width):
                    difference = codes[b, :, row, column].double() - prototypes[p].double()
                    distance[b, p, row, column] = (difference * difference).sum()
    return distance


@given(places())
def test_the_nearest_place_and_its_distance_are_those_of_a_loop(case):
    codes, prototypes = case
    slow = slow_distance(codes, prototypes)
    nearest = nearest_places(codes, prototypes)
    torch.testing.assert_close(nearest.maps.double(), slow, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(nearest.distance.double(), slow.amin(dim=(2, 3)), atol=1e-6, rtol=1e-4)
    there = slow.flatten(2).gather(2, nearest.place[:, :, None])[:, :, 0]
    torch.testing.assert_close(there, slow.amin(dim=(2, 3)), atol=1e-6, rtol=1e-4)


def test_the_distance_of_a_prototype_to_its_own_patch_is_exactly_zero():
    codes = torch.rand(3, 128, 7, 7, generator=torch.Generator().manual_seed(1))
    nearest = nearest_places(codes, codes[:, :, 4, 2].clone())
    assert nearest.distance.diagonal().tolist() == [0, 0, 0]
    assert nearest.place.diagonal().tolist() == [30, 30, 30]
    assert log_ratio(nearest.distance.diagonal()).tolist() == pytest.approx([9.21034] * 3)


def test_distances_keep_full_precision_inside_autocast_and_take_halves_as_they_are():
    codes, prototypes = torch.rand(3, 8, 4, 4), torch.rand(5, 8)
    exact = nearest_places(codes, prototypes)
    half = codes.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        for found, wanted in ((nearest_places(codes, prototypes), exact), (nearest_places(half, prototypes), None)):
            wanted = wanted or nearest_places(half.float(), prototypes)
            assert all(map(torch.equal, found, wanted))
            assert found.distance.dtype == torch.float32


def test_the_gradient_is_that_of_the_smallest_distance():
    generator = torch.Generator().manual_seed(2)
    codes = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    prototypes = torch.rand(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    fast = torch.autograd.grad(nearest_places(codes, prototypes).distance.square().sum(), (codes, prototypes))
    differences = codes[:, None] - prototypes[:, :, None, None]
    slow = torch.autograd.grad(differences.square().sum(dim=2).amin(dim=(2, 3)).square().sum(), (codes, prototypes))
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, theirs)


@given(places(), st.integers(1, 3), st.data())
def test_distances_to_the_own_class_are_those_of_all_prototypes_of_that_class(case, classes, data):
    codes, prototypes = case
    class_of = torch.tensor(
        data.draw(st.lists(st.integers(0, classes - 1), min_size=len(prototypes), max_size=len(prototypes)))
    )
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=len(codes), max_size=len(codes))))
    slots = slots_of(class_of, classes)
    own = own_distances(codes, labels, prototypes, slots)
    slow = slow_distance(codes, prototypes).flatten(2)
    for b, label in enumerate(labels.tolist()):
        members = [p for p, k in enumerate(class_of.tolist()) if k == label]
        assert [p for p in slots[label].tolist() if p >= 0] == members
        for column, p in enumerate(members):
            torch.testing.assert_close(own[b, column].double(), slow[b, p], atol=1e-5, rtol=1e-4)
        assert own[b, len(members) :].isinf().all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000), st.sampled_from([0.0, 0.5, 0.95]))
def test_a_box_spans_the_rows_and_columns_that_hold_a_pixel_above_the_percentile(height, width, seed, share):
    import numpy as np

    maps = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    for image, box in zip(maps.double().numpy(), percentile_boxes(maps, share).tolist(), strict=True):
        rows, columns = np.nonzero(image >= np.percentile(image, 100 * share))
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_constant_map_has_a_box_of_the_whole_image():
    assert percentile_boxes(torch.zeros(2, 5, 6)).tolist() == [[0, 0, 6, 5]] * 2


def test_an_upsampled_map_keeps_its_shape_in_front_and_a_constant_one_its_value():
    large = upsampled(torch.full((2, 3, 4, 5), 0.25), (28, 30))
    assert large.shape == (2, 3, 28, 30)
    torch.testing.assert_close(large, torch.full_like(large, 0.25))
