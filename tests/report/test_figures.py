import io

import numpy as np
import pytest
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


@pytest.mark.parametrize("box", [(2, 3, 5, 6), (0, 0, 2, 2), (6, 0, 8, 8), (3, 3, 4, 4)])
def test_a_box_is_framed_and_nothing_in_it_is_hidden_but_at_the_edge_of_the_picture(box):
    each = picture(1, bands=3)
    sheet = opened(draw([Line([Cell(each, box=box)])]))[GAP : GAP + SIDE, GAP : GAP + SIDE].astype(int)
    plain, step = np.asarray(each.at(SIDE)), SIDE // 8
    left, top, right, bottom = (side * step for side in box)
    edge = 6  # as wide as the line, which lies inside at the edge of the picture
    rows, columns = (slice(max(low, edge), min(high, SIDE - edge)) for low, high in ((top, bottom), (left, right)))
    assert (sheet[rows, columns] == plain[rows, columns]).all()
    changed_rows, changed_columns = np.nonzero((sheet != plain).any(axis=2))
    found = (changed_columns.min(), changed_rows.min(), changed_columns.max() + 1, changed_rows.max() + 1)
    expected = (max(0, left - edge), max(0, top - edge), min(SIDE, right + edge), min(SIDE, bottom + edge))
    assert found == pytest.approx(expected, abs=1)
