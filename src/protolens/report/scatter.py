"""Codes and prototypes as points of a plane: a picture for the page, and the same as a PNG file."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import cos, hypot, pi, sin
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE, EDGE = 320, 12  # of the picture, as wide as a small telephone, and what stays free at its edges
DOT, STAR, SQUARE = 3.5, 7.0, 4.0  # width of a dot, outer radius of a star, half the side of a square
# of middling lightness, to be seen on white and on black; after ten classes they come again
COLOURS = ("#3b7ddd", "#e07b00", "#2a9d5c", "#c8509b", "#8a6d3b", "#7a5cd6", "#0fa3b1", "#a89800", "#d64545", "#7f8790")
LETTERS, ROOM = 10, 16  # of a class name in the picture, and how far its middle is from others and from stars
REACH = 0.5  # of the codes: so far built-in prototypes are drawn from zero
Point = tuple[float, float]


@dataclass(frozen=True)
class Scatter:
    """Points in the pixels of the picture, by class; y points down."""

    classes: tuple[str, ...]
    dots: tuple[tuple[Point, ...], ...]  # of images of each class
    stars: tuple[Point, ...]  # the built-in prototype of each class
    squares: tuple[tuple[Point, ...], ...]  # prototypes of each class
    origin: Point | None  # where zero is, for pictures that keep dot products
    longer: float  # how many times as long as they are the built-in prototypes are drawn

    @property
    def few(self) -> bool:
        """Whether every class has a colour of its own."""
        return len(self.classes) <= len(COLOURS)

    @property
    def named(self) -> list[tuple[str, Point]]:
        """Names of classes that stand in the picture: in the middle of a class's dots, where there is room."""
        taken, placed = list(self.stars), []
        for name, dots in zip(self.classes, self.dots, strict=True):
            if not self.few or not dots or len(name) > LETTERS:
                continue
            x, y = (round(fmean(column), 1) for column in zip(*dots, strict=True))
            if all(hypot(x - other, y - beside) > ROOM for other, beside in taken):
                taken.append((x, y))
                placed.append((name, (x, y)))
        return placed

    def colour(self, number: int) -> str:
        """Of a class."""
        return COLOURS[number % len(COLOURS)]

    def path(self, number: int) -> str:
        """The dots of a class as lines of no length, which round ends make dots."""
        return "".join(f"M{x:g} {y:g}h0" for x, y in self.dots[number])


def make_scatter(
    found: Mapping[str, Any], classes: Sequence[str], of_codes: Sequence[int], of_prototypes: Sequence[int], zero: bool
) -> Scatter:
    """The picture of a map in built_in.json.

    of_codes, of_prototypes: the class of each; zero: the plane goes through zero, and is to keep dot products. There
    all built-in prototypes are drawn so many times as long that they can be seen: that changes no order.
    """
    codes, stars, squares = (
        list(zip(found[k]["x"], found[k]["y"], strict=True)) for k in ("codes", "built_in", "prototypes")
    )
    longer = stretch(codes, stars) if zero else 1.0
    stars = [(longer * x, longer * y) for x, y in stars]
    place = to_pixels([*codes, *stars, *squares, *([(0.0, 0.0)] if zero else [])])

    def by_class(points: Sequence[Point], of: Sequence[int]) -> tuple[tuple[Point, ...], ...]:
        return tuple(
            tuple(place(*point) for point in compress(points, [j == k for j in of])) for k in range(len(classes))
        )

    return Scatter(
        tuple(classes),
        by_class(codes, of_codes),
        tuple(place(*star) for star in stars),
        by_class(squares, of_prototypes),
        place(0.0, 0.0) if zero else None,
        longer,
    )


def stretch(codes: Sequence[Point], stars: Sequence[Point]) -> float:
    """By how much stars have to be longer to reach half as far as the codes, with two digits."""
    far, near = (max(hypot(*point) for point in points) for points in (codes, stars))
    return float(f"{REACH * far / near:.2g}") if far and near else 1.0


def to_pixels(points: Sequence[Point]) -> "Place":
    """The same scale for both axes, so that all of the points fill the picture."""
    xs, ys = zip(*points, strict=True)
    scale = (SIDE - 2 * EDGE) / (max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0)
    return Place(scale, (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)


@dataclass(frozen=True)
class Place:
    """From a plane to the pixels of the picture."""

    scale: float
    x: float
    y: float

    def __call__(self, x: float, y: float) -> Point:
        """The pixels of a point, with a decimal."""
        return round(SIDE / 2 + self.scale * (x - self.x), 1), round(SIDE / 2 - self.scale * (y - self.y), 1)


def star(points: int = 5, inner: float = 0.45) -> str:
    """The outline of a star around zero, as an SVG path."""
    corners = []
    for number in range(2 * points):
        radius, angle = STAR * (inner if number % 2 else 1.0), pi * number / points
        corners.append(f"{radius * sin(angle):.2f} {-radius * cos(angle):.2f}")
    return f"M{'L'.join(corners)}Z"


def draw_scatters(pictures: Sequence[tuple[str, Scatter]]) -> bytes:
    """Pictures side by side with titles and one legend, as a PNG file that is the same each time."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(4.6 * len(pictures), 5.4), dpi=200, facecolor="white", layout="constrained")
        grid = figure.subplots(1, len(pictures), squeeze=False)[0]
        for axes, (title, scatter) in zip(grid, pictures, strict=True):
            _draw(axes, scatter)
            axes.set_title(
                title + (f", built-in prototypes {times(scatter)}" if scatter.longer != 1 else ""), fontsize=10
            )
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()


def _draw(axes: "Axes", scatter: Scatter) -> None:
    axes.set(xlim=(0, SIDE), ylim=(SIDE, 0), aspect="equal", xticks=[], yticks=[])
    outline: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.6, "zorder": 3}
    for number, name in enumerate(scatter.classes):
        colour, dots, squares = scatter.colour(number), scatter.dots[number], scatter.squares[number]
        axes.scatter(*_columns(dots), s=4, color=colour, alpha=0.5, linewidth=0)
        axes.scatter([], [], s=30, marker="s", color=colour, label=name if scatter.few else None)
        axes.scatter(*_columns(squares), s=26, marker="s", color=colour, **outline)
        x, y = scatter.stars[number]
        if scatter.origin:
            axes.plot([scatter.origin[0], x], [scatter.origin[1], y], color=colour, linewidth=0.8, zorder=2)
        axes.scatter([x], [y], s=70, marker="*", color=colour, **outline)
    for name, (x, y) in scatter.named:
        axes.text(x, y, name, ha="center", va="center", fontweight="bold", zorder=2.5)
    for marker, words in (("*", "built-in prototypes"), ("s", "prototypes of the run")):
        axes.scatter([], [], s=40, marker=marker, color="white", label=words, **outline)


def times(scatter: Scatter) -> str:
    """How long built-in prototypes are drawn, in words."""
    return f"drawn {scatter.longer:g} times as long"


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
