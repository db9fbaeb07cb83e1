import io

import numpy as np
from PIL import Image

from protolens.report.figures import GAP, SIDE, Cell, Line, draw, in_lines, shortened, text_width
from protolens.report.pictures import Picture


def picture(seed: int, bands: int = 1) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 200, (8, 8, bands), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels).save(buffer, "PNG")
    return Picture(buffer.getvalue())


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_every_picture_stands_in_the_figure_pixel_for_pixel():
    pictures = [picture(seed, bands=3) for seed in range(5)]
    sheet = opened(draw(in_lines([Cell(each) for each in pictures], columns=3)))
    for number, each in enumerate(pictures):
        top, left = GAP + number // 3 * (SIDE + GAP), GAP + number % 3 * (SIDE + GAP)
        assert (sheet[top : top + SIDE, left : left + SIDE] == np.asarray(each.at(SIDE))).all()


def test_a_figure_is_the_same_each_time():
    rows = [Line([Cell(picture(0), ("four", "12 images"))], "input")]
    assert draw(rows) == draw(rows)


def test_words_are_written_below_a_picture():
    plain = opened(draw([Line([Cell(picture(0))])]))
    named = opened(draw([Line([Cell(picture(0), ("four",))])]))
    below = named[GAP + SIDE : GAP + SIDE + 26]
    assert named.shape[0] > plain.shape[0]
    assert below.min() < 100


def test_a_class_name_is_no_formula_and_an_unknown_letter_no_failure(recwarn):
    assert draw([Line([Cell(picture(0), ("$\\frac{", "猫"))])]).startswith(b"\x89PNG")
    assert not recwarn.list


def test_words_are_cut_to_their_width():
    cut = shortened("a class with a very long name", 120)
    assert cut.endswith("…")
    assert text_width(cut) <= 120
    assert shortened("cat", 120) == "cat"
