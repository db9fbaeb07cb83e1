import io

import numpy as np
import pytest
from PIL import Image

from protolens.report.patches import read_patch
from protolens.report.pictures import Picture


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Picture(buffer.getvalue())


@pytest.mark.parametrize(
    ("field", "sight"),
    [
        ([0, 0, 30, 20], "the patch can see the whole image"),
        ([0, 5, 15, 15], "the patch can see 25.0\xa0% of the image"),
        ([29, 19, 30, 20], "the patch can see 0.167\xa0% of the image"),
    ],
)
def test_a_patch_says_how_much_of_the_image_it_can_see(picture, field, sight):
    assert read_patch({"box": [3, 4, 9, 7], "field": field}, picture).sight == sight


def test_a_patch_shows_what_is_in_its_box_pixel_for_pixel(picture):
    close = read_patch({"box": [3, 4, 9, 7], "field": [0, 0, 30, 20]}, picture).close
    assert (np.asarray(close.image) == np.asarray(picture.image)[4:7, 3:9]).all()


def test_the_field_is_drawn_only_where_it_is_less_than_the_image(picture):
    assert read_patch({"box": [3, 4, 9, 7], "field": [0, 0, 30, 20]}, picture).field is None
    assert read_patch({"box": [3, 4, 9, 7], "field": [0, 0, 30, 19]}, picture).field == (0, 0, 30, 19)


@pytest.mark.parametrize("origin", [None, {}, {"box": None, "field": None}])
def test_a_prototype_without_a_place_is_no_patch(picture, origin):
    assert read_patch(origin, picture) is None
