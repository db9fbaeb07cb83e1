import base64
import io

import numpy as np
import pytest
from PIL import Image

from protolens.errors import ProtolensError
from protolens.report.pictures import LARGEST, OUTSIDE, THUMBNAIL, Album, Picture, Shown


def png(width: int, height: int, value: int | None = None) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    if value is not None:
        pixels[:] = value
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize("side", [1, 8, 28, 32, 64, 96])
def test_a_small_picture_is_shown_in_whole_multiples_of_its_pixels(side):
    shown = Picture(png(side, side)).shown(112)
    assert shown.hard
    assert shown.width % side == 0


def test_a_photograph_is_reduced_and_keeps_its_shape():
    assert Picture(png(400, 200)).shown(112) == Shown(112, 56, hard=False)


def test_enlarging_repeats_pixels_and_blurs_nothing():
    picture = Picture(png(8, 8))
    expected = np.asarray(picture.image).repeat(20, axis=0).repeat(20, axis=1)
    assert (np.asarray(picture.at(160))[:, :, 0] == expected).all()


def test_a_page_holds_small_pictures_as_they_are_and_large_ones_reduced():
    small, large = Picture(png(28, 28)), Picture(png(600, 300))
    assert base64.b64decode(small.uri.split(",")[1]) == small.content
    assert decoded(large.uri).size == (LARGEST, LARGEST // 2)
    assert decoded(large.thumbnail).size == (THUMBNAIL, THUMBNAIL // 2)


def test_a_picture_of_one_value_is_blank():
    assert Picture(png(8, 8, value=0)).blank
    assert not Picture(png(8, 8)).blank


def test_a_missing_picture_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ProtolensError) as error:
        Album(tmp_path).open("prototypes/0003.png", "train again")
    assert str(error.value) == f"the picture {tmp_path}/prototypes/0003.png is missing; train again"


@pytest.mark.parametrize("content", [b"", b"no picture", png(28, 28)[:90]])
def test_a_damaged_picture_is_named_with_what_to_do(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ProtolensError, match=r"^the picture .*/a\.png cannot be read \(.+\); train again$"):
        Album(tmp_path).open("a.png", "train again")


def test_a_picture_outside_of_the_run_is_not_read(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(8, 8))
    (tmp_path / "run").mkdir()
    with pytest.raises(ProtolensError, match="lies outside of the run folder"):
        Album(tmp_path / "run").open("../secret.png", "train again")


@pytest.mark.parametrize(("side", "target"), [(8, 112), (28, 64), (400, 96)])
def test_a_line_around_a_box_lies_just_outside_of_it(side, target):
    picture = Picture(png(side, side // 2))
    shown, box = picture.shown(target), (side // 4, 0, side // 2, side // 8)
    frame, scale = picture.frame(box, target), shown.width / side
    assert (frame.x + OUTSIDE, frame.y + OUTSIDE) == pytest.approx((box[0] * scale, 0), abs=0.01)
    assert frame.width - 2 * OUTSIDE == pytest.approx((box[2] - box[0]) * scale, abs=0.01)
    assert frame.height - 2 * OUTSIDE == pytest.approx((box[3] - box[1]) * scale, abs=0.01)
