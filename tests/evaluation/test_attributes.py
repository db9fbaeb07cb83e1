"""Attributes of images whose thickness, slant and colour are known, and levels that share a population out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.errors import ProtolensError
from protolens.evaluation.attributes import COLOURS, STROKES, VALUES, attributes_of, levels


def stroke(width: int, lean: int = 0, long: int = 20) -> torch.Tensor:
    """A stroke of that width from top to bottom, its foot so many pixels left of its head, [1, 1, 28, 28]."""
    image = torch.zeros(28, 28)
    for row in range(long):
        left = 12 + round(lean * (0.5 - row / (long - 1)))
        image[4 + row, left : left + width] = 1
    return image[None, None]


def of_strokes(image: torch.Tensor) -> dict[str, float]:
    names, values = attributes_of(image)
    assert names == STROKES
    return dict(zip(names, values[0].tolist(), strict=True))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_long_stroke_is_as_thick_as_it_is_wide(width):
    found = of_strokes(stroke(width))
    assert found["thickness"] == pytest.approx(2 * 20 * width / (2 * (20 + width)))
    assert found["brightness"] == pytest.approx(20 * width / 28**2)
    assert found["slant"] == pytest.approx(0, abs=1e-9)
    assert found["aspect"] < 0


def test_a_stroke_leans_by_its_run_over_its_rise_whatever_its_ground():
    for lean in (-6, 6):
        image = stroke(2, lean)
        assert of_strokes(image)["slant"] == pytest.approx(lean / 19, abs=0.02)
        assert of_strokes(1 - image)["slant"] == pytest.approx(of_strokes(image)["slant"])
        assert of_strokes(1 - image)["thickness"] == pytest.approx(of_strokes(image)["thickness"])
    assert of_strokes(stroke(2).mT)["aspect"] == pytest.approx(-of_strokes(stroke(2))["aspect"])


@pytest.mark.parametrize(
    ("colour", "hue"),
    [((1, 0, 0), 0), ((1, 1, 0), torch.pi / 3), ((0, 1, 0), 2 * torch.pi / 3), ((0, 0, 1), -2 * torch.pi / 3)],
)
def test_a_plain_colour_has_its_hue_and_no_detail(colour, hue):
    names, values = attributes_of(torch.tensor(colour).float()[None, :, None, None].expand(1, 3, 8, 8))
    found = dict(zip(names, values[0].tolist(), strict=True))
    assert names == COLOURS
    assert found["hue"] == pytest.approx(hue)
    assert found["saturation"] == pytest.approx(1)
    assert found["detail"] == 0
    assert found["brightness"] == pytest.approx(sum(colour) / 3)


def test_empty_images_have_attributes_and_no_images_have_none():
    assert attributes_of(torch.zeros(2, 1, 8, 8))[1].isfinite().all()
    assert attributes_of(torch.zeros(2, 3, 8, 8))[1].isfinite().all()
    with pytest.raises(ProtolensError, match="images of a metric is empty"):
        attributes_of(torch.zeros(0, 1, 8, 8))


@given(st.integers(0, 2**31), st.integers(1, 5))
def test_levels_hold_as_many_of_the_population_each(seed, attributes):
    values = torch.randn(40 * VALUES, attributes, generator=torch.Generator().manual_seed(seed))
    found = levels(values, values)
    for column in found.T:
        assert column.bincount(minlength=VALUES).tolist() == [40] * VALUES
    order = values[:, 0].argsort()
    assert found[order, 0].tolist() == sorted(found[:, 0].tolist())


def test_an_attribute_that_all_share_has_one_level():
    assert levels(torch.ones(5, 2), torch.ones(9, 2)).unique().numel() == 1
