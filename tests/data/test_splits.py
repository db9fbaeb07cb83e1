"""Carving a split: by class, the same for the same names, never through a group."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protolens.data.splits import draw_keys, group_keys, hold_out, units
from protolens.errors import ProtolensError

CLASSES = ("a", "b", "c", "d")


def held_out(labels, unit=None, share=0.2, splits=("test", "training"), seed=0) -> np.ndarray:
    labels = np.array(labels)
    unit = np.arange(len(labels)) if unit is None else np.unique(unit, return_inverse=True)[1]
    classes = CLASSES[: labels.max() + 1]
    return hold_out(labels, unit, draw_keys([str(i) for i in range(len(labels))], seed, "test"), share, classes, splits)


@given(st.lists(st.integers(3, 60), min_size=2, max_size=4), st.floats(0.01, 0.9), st.integers(0, 99))
@settings(deadline=None)
def test_single_images_are_held_out_within_one_of_each_class_share(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    held = held_out(labels, share=share, seed=seed)
    for label, count in enumerate(counts):
        out = held[labels == label].sum()
        assert abs(out - share * count) <= 1 or out in (1, count - 1)
        assert 1 <= out < count


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=60),
    st.floats(0.05, 0.6),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=300)
def test_units_stay_whole_and_every_class_is_on_both_sides_unless_refused(images, share, seed):
    labels, unit = (np.array(column) for column in zip(*images, strict=True))
    labels = np.unique(labels, return_inverse=True)[1]
    try:
        held = held_out(labels, unit, share, seed=seed)
    except ProtolensError:
        return  # which is right about it: the next test
    for group in set(unit.tolist()):
        assert len(set(held[unit == group].tolist())) == 1
    for label in set(labels.tolist()):
        assert set(held[labels == label].tolist()) == {True, False}


def test_a_split_exists_whenever_one_can_be_found_for_two_classes_by_enumeration():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        labels, unit = generator.integers(0, 2, 10), generator.integers(0, 5, 10)
        labels[:2], groups = (0, 1), np.unique(unit)
        sides = ((choice >> np.arange(len(groups)) & 1).astype(bool) for choice in range(2 ** len(groups)))
        ways = [side[np.searchsorted(groups, unit)] for side in sides]
        possible = any(all(0 < held[labels == k].sum() < (labels == k).sum() for k in (0, 1)) for held in ways)
        try:
            held_out(labels, unit)
            assert possible
            found += 1
        except ProtolensError:
            assert not possible
    assert 20 < found < 200


def test_groups_come_as_near_to_the_class_shares_as_single_moves_can():
    generator = np.random.default_rng(1)
    for seed in range(20):
        unit = generator.integers(0, 40, 600)
        labels = (generator.integers(0, 3, 40)[unit] + (generator.random(600) < 0.2)) % 3
        held = held_out(labels, unit, seed=seed)
        shares = [held[labels == k].mean() for k in range(3)]
        assert shares == pytest.approx([0.2] * 3, abs=0.05)


def test_large_groups_are_held_out_as_often_as_small_ones():
    unit = np.concatenate([np.repeat(np.arange(10), 10), np.arange(10, 110)])
    labels = np.arange(200) % 2
    drawn = sum(held_out(labels, unit, seed=seed)[:100].sum() for seed in range(40))
    assert drawn / (40 * 100) == pytest.approx(0.2, abs=0.05)


def test_the_same_names_go_to_the_same_side_whatever_their_order():
    labels = np.arange(90) % 3
    names = [f"x/{i}.png" for i in range(90)]
    order = np.random.default_rng(0).permutation(90)
    keys = draw_keys(names, 7, "test")
    held = hold_out(labels, np.arange(90), keys, 0.3, CLASSES[:3], ("test", "training"))
    shuffled = hold_out(labels[order], np.arange(90), keys[order], 0.3, CLASSES[:3], ("test", "training"))
    assert np.array_equal(shuffled, held[order])


def test_another_seed_or_split_draws_another_side():
    names = [str(i) for i in range(50)]
    drawn = [draw_keys(names, 0, "test"), draw_keys(names, 1, "test"), draw_keys(names, 0, "validation")]
    assert all((a != b).all() for a, b in pairwise(drawn))
    assert (draw_keys(names, 0, "test") == drawn[0]).all()


def test_names_that_are_no_unicode_have_a_key():
    assert len(draw_keys(["caf\udce9.png"], 0, "test")) == 1


def test_enough_stays_behind_for_the_splits_to_come():
    held = held_out([0] * 3 + [1] * 30, share=0.9, splits=("test", "validation", "training"))
    assert held[:3].sum() == 1
    assert held[3:].sum() == 27


def test_a_class_in_one_group_only_is_a_sentence():
    with pytest.raises(
        ProtolensError, match="class b has only 1 image or groups of images to share out, but test, training"
    ):
        held_out([0, 0, 1, 1], [0, 1, 2, 2])


def test_groups_that_cannot_be_parted_for_all_classes_are_a_sentence():
    # every class has two groups, but each pair of classes shares one: with three classes one side lacks one
    labels, unit = [0, 1, 1, 2, 2, 0], [0, 0, 1, 1, 2, 2]
    with pytest.raises(
        ProtolensError, match="cannot be in each of test, training because of images that must stay together"
    ):
        held_out(labels, unit)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25))
def test_units_are_the_connected_parts(keys):
    pixels, groups = (np.array([f"k{key}" for key in column]) for column in zip(*keys, strict=True))
    numbers = units(pixels, groups)
    parts = [{i} for i in range(len(keys))]
    for i in range(len(keys)):
        for j in range(i):
            if pixels[i] == pixels[j] or groups[i] == groups[j]:
                left, right = (next(part for part in parts if k in part) for k in (i, j))
                if left is not right:
                    parts = [part for part in parts if part not in (left, right)] + [left | right]
    found = {frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers.tolist())}
    assert found == {frozenset(part) for part in parts}
    assert sorted(set(numbers.tolist())) == list(range(len(parts)))


def test_units_of_one_key_are_its_values():
    assert Counter(units(np.array([b"x", b"y", b"x"], dtype="V1")).tolist()) == {0: 2, 1: 1}


def test_a_group_is_the_first_bracket_or_the_whole_match():
    names = ["a/p12_1.png", "b/p7_2.png"]
    assert group_keys(names, r"p(\d+)_(\d)") == ["12", "7"]
    assert group_keys(names, r"p\d+") == ["p12", "p7"]


def test_a_bracket_that_takes_no_part_in_the_match_is_no_group():
    with pytest.raises(ProtolensError, match=r"does not match b\.png"):
        group_keys(["a.png", "b.png"], r"(a)?")


def test_a_bad_pattern_is_a_sentence():
    with pytest.raises(ProtolensError, match=r"data.group = p\(\\d is no regular expression \(missing \)"):
        group_keys(["a"], r"p(\d")


# ---- images that show several classes


def held_of_several(labels, unit=None, share=0.2, splits=("test", "training"), seed=0) -> np.ndarray:
    unit = np.arange(len(labels)) if unit is None else np.unique(unit, return_inverse=True)[1]
    keys = draw_keys([str(i) for i in range(len(labels))], seed, "test")
    return hold_out(labels, unit, keys, share, CLASSES[: labels.shape[1]], splits)


def drawn_labels(generator: np.random.Generator, count: int) -> np.ndarray:
    return (generator.random((count, 4)) < (0.5, 0.3, 0.1, 0.04)).astype(np.int64)


def test_single_images_of_several_classes_come_near_to_every_share_and_so_do_those_without_any():
    generator = np.random.default_rng(0)
    for seed in range(10):
        labels = drawn_labels(generator, 1000)
        held = held_of_several(labels, seed=seed)
        assert held.mean() == pytest.approx(0.2, abs=0.01)
        assert [held[labels[:, k] == 1].mean() for k in range(4)] == pytest.approx([0.2] * 4, abs=0.03)
        assert held[labels.sum(axis=1) == 0].mean() == pytest.approx(0.2, abs=0.06)


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 2)), st.integers(0, 9)), min_size=1, max_size=40),
    st.floats(0.05, 0.6),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_units_of_several_classes_stay_whole_and_every_class_is_on_both_sides_unless_refused(images, share, seed):
    labels = np.array([[int(k in shown) for k in range(3)] for shown, _ in images])
    unit = np.array([number for _, number in images])
    try:
        held = held_of_several(labels, unit, share, seed=seed)
    except ProtolensError:
        return  # which is right about it: the next test
    for group in set(unit.tolist()):
        assert len(set(held[unit == group].tolist())) == 1
    for k in range(3):
        assert set(held[labels[:, k] == 1].tolist()) == {True, False}


def test_images_of_several_classes_are_split_whenever_two_classes_can_be_by_enumeration():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        labels, unit = generator.integers(0, 2, (8, 2)), generator.integers(0, 5, 8)
        groups = np.unique(unit)
        sides = ((choice >> np.arange(len(groups)) & 1).astype(bool) for choice in range(2 ** len(groups)))
        ways = [side[np.searchsorted(groups, unit)] for side in sides]
        possible = any(all(0 < labels[held, k].sum() < labels[:, k].sum() for k in (0, 1)) for held in ways)
        try:
            held_of_several(labels, unit)
            assert possible
            found += 1
        except ProtolensError:
            assert not possible
    assert 20 < found < 200


def test_several_classes_in_too_few_groups_are_a_sentence():
    labels = np.array([[1, 0], [1, 1], [1, 1]])
    with pytest.raises(ProtolensError, match="class b has only 1 image or groups of images to share out"):
        held_of_several(labels, [0, 1, 1])


def test_the_same_names_of_several_classes_go_to_the_same_side_whatever_their_order():
    labels = drawn_labels(np.random.default_rng(2), 90)
    keys, order = draw_keys([f"x/{i}.png" for i in range(90)], 7, "test"), np.random.default_rng(0).permutation(90)
    held = hold_out(labels, np.arange(90), keys, 0.3, CLASSES, ("test", "training"))
    shuffled = hold_out(labels[order], order, keys[order], 0.3, CLASSES, ("test", "training"))
    assert np.array_equal(shuffled, held[order])
