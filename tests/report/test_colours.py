"""Colours for prototypes and classes, also as colour-blind eyes see them, and the scale of what places add."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protolens.report.colours import (
    AGAINST,
    CLASSES,
    FOR,
    OTHERS,
    PROTOTYPES,
    adds_to_colours,
    numbers_to_colours,
    rgb,
    scale_colours,
)

# Machado, Oliveira, Fernandes 2009: linear RGB as eyes without green, and without red, cones see it
WITHOUT_GREEN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
WITHOUT_RED = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def lab(colour: str, eyes: list[list[float]]) -> np.ndarray:
    """CIELAB of a colour for some eyes, under D65."""
    share = np.array(rgb(colour)) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(eyes @ linear, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    ("eyes", "least"), [(np.eye(3), 18), (WITHOUT_GREEN, 11), (WITHOUT_RED, 11)], ids=["most", "green", "red"]
)
def test_any_two_colours_are_told_apart_by_any_eyes(eyes, least):
    assert len(PROTOTYPES) >= 20
    seen = [lab(colour, np.asarray(eyes)) for colour in (*PROTOTYPES, *CLASSES, OTHERS)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= least


def test_a_number_beyond_the_colours_is_grey():
    found = numbers_to_colours(np.array([[0, 1], [2, 255]], dtype=np.uint8), ["#010203", "#040506"])
    assert found.tolist() == [[[1, 2, 3], [4, 5, 6]], [[119, 119, 119]] * 2]


@given(st.floats(-3, 3), st.floats(0.1, 2))
def test_blue_is_for_orange_against_and_white_nothing(adds, largest):
    (found,) = adds_to_colours(np.array([[adds]]), largest)[0].tolist()
    share = max(-1.0, min(1.0, adds / largest))
    end = rgb(FOR if share > 0 else AGAINST)
    assert found == pytest.approx([255 + abs(share) * (side - 255) for side in end], abs=0.51)


def test_the_legend_goes_from_against_over_white_to_for():
    found = scale_colours()
    assert (found[0], found[len(found) // 2], found[-1]) == (AGAINST, "#ffffff", FOR)
    assert adds_to_colours(np.zeros((1, 1)), 0.0).tolist() == [[[255, 255, 255]]]
