"""Maps as pictures: colours by prototype, one scale, and sums that are sums."""

import numpy as np
import pytest

from protolens.errors import ProtolensError
from protolens.report.colours import CLASSES, OTHERS, PROTOTYPES, rgb
from protolens.report.painter import Painter, Seen, swatch

SIZE = (11, 8)  # width and height of the image
ADDS = np.array([[0.5, -0.25, 0.0], [0.25, 0.0, 1.0]])
NUMBERS = np.array([[0, 1, 1], [2, 3, 1]])


def painted(seen: Seen, prototypes: int = 4, logit: float = 1.5):
    painter = Painter({"it": seen, "other": Seen(NUMBERS, 2 * ADDS)}, prototypes, ["cat", "dog"])
    return painter, painter.paint("it", swatch("#000000").crop((0, 0, *SIZE)), logit)


def test_each_pixel_has_the_colour_of_the_place_above_it():
    _, maps = painted(Seen(NUMBERS, ADDS))
    assert maps.prototypes.image.size == maps.adds.image.size == SIZE
    for row in range(8):
        for column in range(11):
            place = NUMBERS[int((row + 0.5) * 2 / 8), int((column + 0.5) * 3 / 11)]
            assert maps.prototypes.image.getpixel((column, row)) == rgb(PROTOTYPES[place])
    assert maps.mask is None
    assert [(named.colour, named.words) for named in maps.most] == [
        (PROTOTYPES[1], "1: 50.0\N{NO-BREAK SPACE}%"),
        *((PROTOTYPES[number], f"{number}: 16.7\N{NO-BREAK SPACE}%") for number in (0, 2, 3)),
    ]


def test_all_images_have_one_scale_and_the_sum_is_told():
    painter, maps = painted(Seen(NUMBERS, ADDS))
    assert painter.scale["low"] == "\N{MINUS SIGN}2.00"
    assert painter.scale["high"] == "+2.00"
    assert maps.sum == "+1.50"
    (red, green, blue), full = maps.adds.image.getpixel((10, 7)), rgb("#0b6fb3")
    assert (red, green, blue) == tuple(round((255 + side) / 2) for side in full)  # 1 of 2


def test_a_mask_has_the_colours_of_classes_and_grey_where_there_is_none():
    mask = np.array([[0, 1, 1, 255]] * 4, dtype=np.uint8)
    _, maps = painted(Seen(NUMBERS, ADDS, mask))
    assert [maps.mask.image.getpixel((column, 0)) for column in (0, 10)] == [rgb(CLASSES[0]), rgb(OTHERS)]
    assert [named.words for named in maps.classes] == ["dog 50.0\N{NO-BREAK SPACE}%", "cat 25.0\N{NO-BREAK SPACE}%"]


def test_of_many_prototypes_the_most_common_have_colours():
    painter, maps = painted(Seen(np.array([[70, 71, 71], [90, 90, 90]]), ADDS), prototypes=100)
    assert {0, 1, 2, 3, 70, 71, 90} <= set(painter.coloured)
    assert len(painter.coloured) == len(PROTOTYPES)
    assert painter.colour_of(99) == OTHERS
    assert [named.words.split(":")[0] for named in maps.most] == ["90", "71", "70"]


def test_a_sum_that_is_none_is_refused():
    with pytest.raises(ProtolensError, match="what places add sums to 1.5 and not to the logit 1.6; explain the image"):
        painted(Seen(NUMBERS, ADDS), logit=1.6)
