"""Figures for a paper: rows of pictures with words beside and below, as PNG files with exact pixels."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protolens.report.pictures import Box, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 160  # longer side of a picture, in pixels
TEXT = 20  # height of words, in pixels
LINE = 26  # from one line of words to the next
GAP = 16  # between pictures
LABEL = 240  # most that words at the left of a row may take
DPI = 200
POINTS = 72 / DPI  # in a pixel
INK, MUTED = "#111111", "#555555"
BOX, CASING = "#ffd400", "#000000"  # a line around a box, and its edges, to be seen on any picture


@dataclass(frozen=True)
class Cell:
    """A picture and the lines below it."""

    picture: Picture
    words: tuple[str, ...] = ()
    box: Box | None = None  # framed in the picture


@dataclass(frozen=True)
class Line:
    """A row of cells and the word at its left."""

    cells: Sequence[Cell]
    word: str = ""


def draw(rows: Sequence[Line]) -> bytes:
    """Rows of pictures on a common grid as a PNG file. Words that are too long for their place are cut."""
    import matplotlib

    # class names are no formulas; a character that the font lacks is drawn as a box
    with matplotlib.rc_context({"text.parse_math": False, "font.family": "DejaVu Sans"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        sheet = _Sheet(rows)
        top = GAP
        for row in rows:
            sheet.line(row, top)
            top += sheet.step(row)
        return sheet.png()


class _Sheet:
    """White paper on which pictures and words are put, in pixels from the upper left corner."""

    def __init__(self, rows: Sequence[Line]):
        from matplotlib.figure import Figure

        sizes = [cell.picture.shown(SIDE) for row in rows for cell in row.cells]
        named = any(cell.words for row in rows for cell in row.cells)
        self.cell = max([size.width for size in sizes] + [SIDE] * named)
        self.tall = max(size.height for size in sizes)
        words = min(LABEL, max(text_width(row.word) for row in rows))
        self.left = round(words) + 2 * GAP if words else GAP
        self.width = self.left + max(len(row.cells) for row in rows) * (self.cell + GAP)
        self.height = GAP + sum(self.step(row) for row in rows)
        self.figure = Figure((self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")

    def step(self, row: Line) -> int:
        """Height of a row with the gap below it."""
        return self.tall + LINE * max((len(cell.words) for cell in row.cells), default=0) + GAP

    def line(self, row: Line, top: int) -> None:
        """Put a row of pictures and its words."""
        self.write(row.word, GAP, top + self.tall / 2, LABEL, MUTED, "left")
        for column, cell in enumerate(row.cells):
            centre = self.left + column * (self.cell + GAP) + self.cell // 2
            self.paste(cell, centre, top)
            for number, words in enumerate(cell.words):
                y = top + self.tall + (number + 0.7) * LINE
                self.write(words, centre, y, self.cell + GAP / 2, MUTED if number else INK, "center")

    def paste(self, cell: Cell, centre: int, top: int) -> None:
        """Put a picture, its pixels as whole squares, with its box."""
        import numpy as np

        image = framed(cell.picture, cell.box) if cell.box else cell.picture.at(SIDE)
        left, bottom = centre - image.width // 2, self.height - top - image.height
        self.figure.figimage(np.asarray(image), left, bottom, origin="upper")

    def write(self, words: str, x: float, y: float, width: float, colour: str, align: str) -> None:
        """Put words, centred at the height y."""
        place = (x / self.width, 1 - y / self.height)
        look: dict[str, Any] = {"fontsize": TEXT * POINTS, "color": colour, "ha": align, "va": "center"}
        self.figure.text(*place, shortened(words, width), **look)

    def png(self) -> bytes:
        """The sheet as a file that is the same each time."""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
        return file.getvalue()


def framed(picture: Picture, box: Box) -> "Image":
    """The picture with a line around a box; at the edge of the picture the line lies inside."""
    from PIL import ImageDraw

    image, frame = picture.at(SIDE), picture.frame(box, SIDE)
    drawing = ImageDraw.Draw(image)
    for colour, width, out in ((CASING, 6, 5), (BOX, 3, 3)):
        left, top = (max(5 - out, round(side) - out) for side in (frame.x, frame.y))
        right = min(image.width - 6 + out, round(frame.x + frame.width) - 1 + out)
        bottom = min(image.height - 6 + out, round(frame.y + frame.height) - 1 + out)
        drawing.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=width)
    return image


def text_width(words: str) -> float:
    """Width of words in pixels, not less than it is."""
    from matplotlib.textpath import TextPath

    # the corners of the letters' curves enclose them; their true extent takes long to find
    return float(TextPath((0, 0), words, size=TEXT).vertices[:, 0].max()) if words.strip() else 0.0


def shortened(words: str, width: float) -> str:
    """Words that are cut to a width in pixels, with an ellipsis where they were cut."""
    whole = text_width(words)
    if whole <= width:
        return words
    words = words[: int(len(words) * width / whole) + 2]
    while words and text_width(f"{words}…") > width:
        words = words[:-1]
    return f"{words.rstrip()}…"


def in_lines(cells: Sequence[Cell], columns: int = 10) -> list[Line]:
    """Cells in rows of so many."""
    return [Line(cells[first : first + columns]) for first in range(0, len(cells), columns)]
