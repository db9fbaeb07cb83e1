import io
from math import hypot

import numpy as np
import pytest
from PIL import Image

from protolens.report.scatter import COLOURS, EDGE, SIDE, draw_scatters, make_scatter, star

FOUND = {
    "codes": {"x": [10.0, 8.0, 9.0, 6.0], "y": [0.0, 6.0, -5.0, 1.0]},
    "built_in": {"x": [0.3, -0.4], "y": [0.4, 0.0]},
    "prototypes": {"x": [9.0, 7.0, 8.0], "y": [1.0, 3.0, -4.0]},
}


def scatter(zero: bool, classes: tuple[str, ...] = ("cat", "dog")):
    return make_scatter(FOUND, classes, [0, 1, 0, 1], [0, 1, 1], zero)


def test_points_keep_their_class_and_both_axes_one_scale():
    drawn = scatter(zero=False)
    assert [len(dots) for dots in drawn.dots] == [2, 2]
    assert [len(squares) for squares in drawn.squares] == [1, 2]
    assert drawn.origin is None
    assert drawn.longer == 1
    points = [(10, 0), (9, -5), (8, 6), (6, 1), (9, 1), (7, 3), (8, -4), (0.3, 0.4), (-0.4, 0)]
    pixels = [*drawn.dots[0], *drawn.dots[1], *drawn.squares[0], *drawn.squares[1], *drawn.stars]
    scale = (SIDE - 2 * EDGE) / 11
    for (x, y), (a, b), (u, v), (c, d) in zip(points, points[1:], pixels, pixels[1:], strict=False):
        assert (c - u, v - d) == pytest.approx((scale * (a - x), scale * (b - y)), abs=0.21)
    assert all(EDGE - 0.1 <= side <= SIDE - EDGE + 0.1 for pixel in pixels for side in pixel)


def test_where_dot_products_are_kept_built_in_prototypes_are_lengthened_from_zero_all_alike():
    drawn = scatter(zero=True)
    assert drawn.longer == 10  # the codes reach 10, these 0.5, and half as far is enough
    (x, y), scale = drawn.origin, (drawn.dots[0][0][0] - drawn.origin[0]) / 10
    lengths = [hypot(u - x, v - y) / scale for u, v in drawn.stars]
    assert lengths == pytest.approx([5, 4], abs=0.02)


def test_a_name_stands_only_where_there_is_room_and_every_class_has_a_colour():
    apart = {"codes": {"x": [0.0, 10.0], "y": [0.0, 0.0]}, "built_in": {"x": [5, 5], "y": [9, 9]}}
    apart["prototypes"] = {"x": [5.0], "y": [4.0]}
    assert [name for name, _ in make_scatter(apart, ("cat", "dog"), [0, 1], [0], False).named] == ["cat", "dog"]
    close = apart | {"codes": {"x": [0.0, 0.1], "y": [0.0, 0.0]}}
    assert [name for name, _ in make_scatter(close, ("cat", "dog"), [0, 1], [0], False).named] == ["cat"]
    assert make_scatter(apart, ("Donaudampfschiff", "b"), [0, 1], [0], False).named[0][0] == "b"
    many = apart | {"built_in": {"x": [5.0] * 11, "y": [9.0] * 11}}
    crowd = make_scatter(many, tuple("abcdefghijk"), [0, 1], [0], False)
    assert not crowd.few
    assert crowd.named == []
    assert crowd.colour(10) == crowd.colour(0) == COLOURS[0]


def test_points_that_all_coincide_are_in_the_middle():
    one = {"x": [0.0], "y": [0.0]}
    for zero in (False, True):
        drawn = make_scatter(dict.fromkeys(FOUND, one), ("cat",), [0], [0], zero)
        assert drawn.stars == ((SIDE / 2, SIDE / 2),)
        assert drawn.longer == 1


def test_the_figure_is_the_same_each_time_and_shows_each_class_in_its_colour():
    pictures = [
        ("By distance", scatter(zero=False)),
        ("By dot product", scatter(zero=True, classes=("$\\frac{", "dog"))),
    ]
    content = draw_scatters(pictures)
    assert content == draw_scatters(pictures)
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).reshape(-1, 3)
    for colour in COLOURS[:2]:
        assert (pixels == tuple(bytes.fromhex(colour[1:]))).all(axis=1).sum() > 200


def test_a_star_has_five_points():
    corners = [tuple(map(float, corner.split())) for corner in star().strip("MZ").split("L")]
    radii = [hypot(*corner) for corner in corners]
    assert len(corners) == 10
    assert all(radii[number] == pytest.approx(7.0 if number % 2 == 0 else 3.15, abs=0.02) for number in range(10))
