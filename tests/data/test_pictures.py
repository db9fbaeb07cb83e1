"""Pictures of tensors, opened again."""

import io

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from protolens.data.pictures import HEAT, to_png, with_heat


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(("bands", "shown"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_a_picture_shows_one_band_as_grey_and_three_as_colour(bands, shown):
    image = torch.randint(0, 256, (bands, 6, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = np.atleast_3d(opened(to_png(image)))
    assert (pixels == image[:shown].permute(1, 2, 0).numpy()).all()


def test_floats_are_rounded_to_the_nearest_level_and_clipped():
    image = torch.tensor([[[-0.2, 0.0, 0.5, 0.999, 1.7]]])
    assert opened(to_png(image)).tolist() == [[0, 0, 128, 255, 255]]


def test_heat_is_laid_over_the_image_from_its_least_to_its_most():
    generator = torch.Generator().manual_seed(0)
    image, heat = torch.rand(3, 5, 7, generator=generator), 40 * torch.rand(5, 7, generator=generator) - 3
    found = with_heat(image, heat)
    viridis = colormaps["viridis"]
    for row in range(5):
        for column in range(7):
            share = float((heat[row, column] - heat.min()) / (heat.max() - heat.min()))
            colour = 255 * np.array(viridis(share)[:3])
            below = np.round(255 * image[:, row, column].numpy())
            expected = (1 - HEAT) * below + HEAT * colour
            # viridis has 256 levels, of which a neighbour may be met by rounding
            assert np.abs(found[:, row, column].numpy() - expected).max() <= 2.5


def test_a_constant_map_is_the_colour_of_the_least_everywhere_and_no_error():
    found = with_heat(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.full((4, 4), 7.0))
    assert found.flatten(1).unique(dim=1).shape[1] == 1
    assert found[:, 0, 0].tolist() == [round(HEAT * 255 * value) for value in colormaps["viridis"](0.0)[:3]]
