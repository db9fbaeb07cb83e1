"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011) in its official layout, each bird cut to its bounding box, or whole.

The folder holds images.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt, classes.txt and images/;
where it holds parts/part_locs.txt as well, boxes and parts are known to those who ask for them, by the names that
parts/parts.txt gives.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protolens.config import DataConfig
from protolens.data.decode import FORMATS, Pixels, picture_pixels, resized, to_bands
from protolens.data.images import NOTHING_KNOWN, Annotations, Images
from protolens.data.reading import read_split
from protolens.data.source import Source, data_root
from protolens.errors import ProtolensError

FOLDERS = ("CUB_200_2011", "CUB_50")  # the official one, and its first 50 classes
SIDE = 224  # pixels, when data.size says nothing
WHOLE = "whole"
Box = tuple[float, float, float, float]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class BirdReader:
    """Pixels and label of each bird by its number. names: paths below folder/images; boxes: left, top, width, height.

    The edges of a box are rounded to whole pixels and clipped to the image; what lies inside is resized to a square
    of `side` pixels, whatever its shape, as ProtoPNet does. whole: the same of the whole photograph. parts: of each
    bird [Q, 2], x and y in the photograph, not a number where unseen.
    """

    folder: Path
    names: list[str]
    labels: list[int]
    boxes: list[Box]
    bands: int
    side: int
    whole: bool = False
    parts: list[Points] = field(default_factory=list)

    def __call__(self, row: int) -> tuple[Pixels, int]:
        """Pixels [C, side, side] and label. Raises ProtolensError for an unreadable file and a box without area."""
        from PIL import Image

        path = self.folder / "images" / self.names[row]
        try:
            with Image.open(path, formats=FORMATS) as picture:
                pixels = to_bands(picture_pixels(picture), self.bands)
        except Exception as reason:  # decoders raise anything at all on damaged files
            raise ProtolensError(f"{path} cannot be read ({reason})") from reason
        height, width = pixels.shape[1:]
        left, top, right, bottom = (0, 0, width, height) if self.whole else self._box(row, width, height)
        return resized(pixels[:, top:bottom, left:right], (self.side, self.side)), self.labels[row]

    def _box(self, row: int, width: int, height: int) -> tuple[int, int, int, int]:
        across, down, box_width, box_height = self.boxes[row]
        left, right = _clipped(across, box_width, width)
        top, bottom = _clipped(down, box_height, height)
        if left >= right or top >= bottom:
            path = self.folder / "images" / self.names[row]
            raise ProtolensError(
                f"{path} has the box {self.boxes[row]}, which has no area inside its {width} x {height} pixels; mend "
                "its left, top, width and height in bounding_boxes.txt"
            )
        return left, top, right, bottom

    def marks(self, row: int) -> tuple[Points, Points]:
        """The box [4] and the parts [Q, 2] of a bird, in pixels of what `__call__` gives."""
        from PIL import Image

        with Image.open(self.folder / "images" / self.names[row], formats=FORMATS) as picture:
            width, height = picture.size
        box = self._box(row, width, height)
        left, top, right, bottom = (0, 0, width, height) if self.whole else box
        scale = np.array([self.side / (right - left), self.side / (bottom - top)], dtype=np.float32)
        shift = np.array([left, top], dtype=np.float32)
        corners = (np.array(box, dtype=np.float32).reshape(2, 2) - shift) * scale
        return corners.reshape(4), (self.parts[row] - shift) * scale


def open_cub(config: DataConfig, cut: str = "") -> Source:
    """The birds below the data root, with their official split.

    cut: "whole" for photographs as they are, else birds in their boxes. Raises ProtolensError when there is no such
    folder, when its tables or its images are incomplete, and at the first image that cannot be read.
    """
    if cut not in ("", WHOLE):
        raise ProtolensError(
            f"data.name = {config.name}: write cub for birds in their boxes, cub:{WHOLE} for photographs"
        )
    folder = _find(data_root(config))
    paths = _table(folder / "images.txt")
    split_of = _table(folder / "train_test_split.txt", paths)
    class_of = _table(folder / "image_class_labels.txt", paths)
    box_of = _table(folder / "bounding_boxes.txt", paths)
    classes = _table(folder / "classes.txt", class_of.values())
    _refuse_missing(folder, paths.values())
    order = list(classes)
    side, bands = config.size or SIDE, config.bands or 3
    parts: dict[str, Images] = {}
    what = "Photographs were" if cut else "Birds were cut to their bounding box and"
    notes: tuple[str, ...] = (f"{what} resized to {side} x {side} pixels.",)
    points = _points(folder / "parts" / "part_locs.txt", paths)
    called = _part_names(folder / "parts" / "parts.txt", len(next(iter(points.values())))) if points else ()
    for split, word in (("training", "1"), ("test", "0")):
        rows = [row for row in paths if split_of[row] == word]
        names = [paths[row] for row in rows]
        labels = [order.index(class_of[row]) for row in rows]
        boxes = [_box(box_of[row], folder / "bounding_boxes.txt") for row in rows]
        own = [points[row] for row in rows] if points else []
        reader = BirdReader(folder, names, labels, boxes, bands, side, bool(cut), own)
        known = Annotations(marks=reader.marks, parts=called) if points else NOTHING_KNOWN
        shape = (bands, side, side)
        parts[split], left_out = read_split(split, reader, names, shape, config, len(paths), annotations=known)
        notes += left_out
    return Source(tuple(map(_class_name, classes.values())), parts, notes)


def _find(root: Path) -> Path:
    for folder in (root, *(root / name for name in FOLDERS)):
        if (folder / "images.txt").is_file():
            return folder
    raise ProtolensError(
        f"cub: neither {root} nor {' or '.join(FOLDERS)} in it holds an images.txt (data.root or PROTOLENS_DATA name "
        "that folder); get CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011"
    )


def _table(path: Path, needed: Iterable[str] = ()) -> dict[str, str]:
    """What follows the number on each line, by that number. Raises ProtolensError when a needed one is not there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProtolensError(f"{path} cannot be read ({error}); unpack CUB_200_2011.tgz again") from error
    pairs = (line.strip().partition(" ") for line in lines if line.strip())
    table = {number: rest for number, _, rest in pairs}
    for number in needed:
        if not table.get(number):
            raise ProtolensError(f"{path} has no line for number {number}; unpack CUB_200_2011.tgz again")
    return table


def _refuse_missing(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (folder / "images" / name).is_file():
            raise ProtolensError(
                f"{folder / 'images' / name} does not exist but images.txt lists it; unpack CUB_200_2011.tgz again"
            )


def _box(text: str, path: Path) -> Box:
    try:
        left, top, width, height = map(float, text.split())
    except ValueError:
        raise ProtolensError(f"{path} holds {text!r} instead of left, top, width and height; mend that line") from None
    return left, top, width, height


def _points(path: Path, images: Iterable[str]) -> dict[str, Points]:
    """Where the parts of each image are, [Q, 2]; nothing without the file. Raises ProtolensError if it is damaged."""
    if not path.exists():
        return {}
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        count = max(int(row[1]) for row in rows)
        points = {image: np.full((count, 2), np.nan, dtype=np.float32) for image in images}
        for image, part, x, y, seen in rows:
            if int(seen) and image in points:
                points[image][int(part) - 1] = float(x), float(y)
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise ProtolensError(f"{path} cannot be read ({error}); unpack CUB_200_2011.tgz again") from error
    return points


def _part_names(path: Path, count: int) -> tuple[str, ...]:
    """What so many parts are called; their numbers where no file says it. Raises ProtolensError if it lacks one."""
    numbers = [str(number) for number in range(1, count + 1)]
    table = _table(path, numbers) if path.exists() else {number: f"part {number}" for number in numbers}
    return tuple(table[number] for number in numbers)


def _clipped(start: float, length: float, end: int) -> tuple[int, int]:
    """First pixel, and the one after the last."""
    return max(0, round(start)), min(end, round(start + length))


def _class_name(folder: str) -> str:
    """Name of a bird: "001.Black_footed_Albatross" is the black footed albatross."""
    return folder.partition(".")[2].replace("_", " ")
