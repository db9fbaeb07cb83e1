"""Regions that a model is not shown: what takes their place, and what they may be."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.config import Task
from protolens.errors import ProtolensError
from protolens.models import build_model, stage_names
from protolens.nn import Hidden, medians


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_the_filling_is_the_lower_median_of_all_pixels_of_a_band(bands, images, side, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (images, bands, side, side), generator=generator, dtype=torch.uint8)
    expected = np.quantile(pixels.numpy(), 0.5, axis=(0, 2, 3), method="inverted_cdf")
    found = medians((pixels / 255).split(2))
    assert (found * 255).round().tolist() == expected.tolist()
    hidden = Hidden([(0, 0, 1, 1)], bands, (side, side))
    hidden.learn((pixels / 255).split(2))
    assert torch.equal(hidden.fill, found)


def test_pixels_in_any_of_the_boxes_become_the_filling_and_all_others_stay():
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    layer = Hidden([(1, 0, 3, 2), (2, 1, 7, 3)], 3, (5, 7))
    layer.fill.copy_(torch.tensor([2.0, 3.0, 4.0]))
    found = layer(images)
    for row in range(5):
        for column in range(7):
            inside = (1 <= column < 3 and row < 2) or (column >= 2 and 1 <= row < 3)
            expected = layer.fill.expand(2, 3) if inside else images[:, :, row, column]
            assert torch.equal(found[:, :, row, column], expected)


@pytest.mark.parametrize("box", [(0, 0, 8, 6), (0, 0, 7, 5), (3, 0, 3, 2), (4, 0, 3, 2), (0, 2, 3, 2), (-1, 0, 3, 2)])
def test_an_empty_region_and_one_beyond_the_image_are_refused(box):
    said = ",".join(map(str, box))
    sentence = f"{said} is no region of images of 7 x 4 pixels; write left,top,right,bottom with left < right <= 7"
    with pytest.raises(ProtolensError, match=re.escape(sentence)):
        Hidden([box], 1, (4, 7))


def test_a_region_is_a_setting_of_any_model_and_need_not_lie_in_small_images_to_be_read():
    chosen = {"name": "prototypedl", "hide": [[0, 100, 64, 128]]}
    assert stage_names(chosen) == ["train"]
    model = build_model(chosen, Task(("a", "b"), 1, 128, 64), 0)
    assert model.hidden.visible.sum() == 100 * 64
    assert build_model({"name": "prototypedl"}, Task(("a", "b"), 1, 32, 32), 0).hidden is None
