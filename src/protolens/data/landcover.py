"""Aerial tiles with a class for each pixel, cut into windows that show several classes.

DeepGlobe 2018 (Demir et al., arXiv:1805.06561): NAME_sat.jpg beside NAME_mask.png in colours. Dubai (Humans in the Loop
and MBRSC): images/ and masks/ with palettes, whose values classes.json names. A class is a label of a window where it
covers data.label_share of it; all windows of a tile go to one split.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protolens.config import DataConfig
from protolens.data.decode import FORMATS, SUFFIXES, Pixels, UnreadableError, fit, picture_pixels
from protolens.data.images import Annotations, Label, StreamedImages
from protolens.data.reading import read_all, read_split
from protolens.data.source import Source, data_root
from protolens.errors import ProtolensError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

NONE, UNKNOWN = 255, 254  # a pixel without a class, and one whose value stands for nothing
COLOURS = {  # of DeepGlobe, as 4 red + 2 green + blue
    "urban": 0b011, "agriculture": 0b110, "rangeland": 0b101, "forest": 0b010, "water": 0b001, "barren": 0b111,
}  # fmt: skip
BLACK = 0b000  # unknown, which is no label
UNLABELED = "unlabeled"  # what the Dubai set calls that
EACH_TILE = "^[^#]+"
TILE_NUMBER = r"(?i)^(.*?tile ?\d+|[^#]+)"  # nine neighbouring parts make up a tile; a name without number is one
Mask = NDArray[np.uint8]
Convert = Callable[["Picture"], NDArray[Any]]


@dataclass(frozen=True)
class Layout:
    """How a set lies in its folder.

    tiles: photograph and mask of each, paths below the folder; window: usual pixels a side; centred: whether windows
    fill the middle of a tile, else they start at its top left; group: pattern of the windows' names for those that stay
    together; numbers: from a mask's picture to the class of each pixel [H, W], NONE or UNKNOWN.
    """

    classes: tuple[str, ...]
    tiles: list[tuple[str, str]]
    window: int
    centred: bool
    group: str
    numbers: Convert


@dataclass(frozen=True)
class WindowReader:
    """Pixels, label and mask of each window by its number.

    corners: [N, 3] number of the tile, left and top; labels: [N, K] zeros and ones; window: pixels a side in the tile;
    side: after resizing.
    """

    folder: Path
    layout: Layout
    corners: NDArray[np.int64]
    labels: NDArray[np.int64]
    window: int
    bands: int
    side: int

    def __call__(self, row: int) -> tuple[Pixels, Label]:
        """Pixels [C, side, side] and label [K]. Raises ProtolensError when the photograph cannot be read."""
        tile, left, top = self.corners[row].tolist()
        pixels = _kept(self.folder / self.layout.tiles[tile][0], picture_pixels)
        window = pixels[:, top : top + self.window, left : left + self.window]
        return fit(window, self.bands, (self.side, self.side)), self.labels[row]

    def mask(self, row: int) -> Mask:
        """The class of each pixel, [side, side], 255 = none: that of the nearest in the tile."""
        tile, left, top = self.corners[row].tolist()
        numbers = _kept(self.folder / self.layout.tiles[tile][1], self.layout.numbers)
        places = (2 * np.arange(self.side) + 1) * self.window // (2 * self.side)
        return numbers[np.ix_(top + places, left + places)]


def open_landcover(config: DataConfig, name: str) -> Source:
    """The windows of all tiles of a folder, below the data root or absolute, not yet split.

    Raises ProtolensError when the folder has neither layout, and for a mask that is missing, damaged, of another size
    than its photograph, or holds an unknown class.
    """
    folder = data_root(config) / Path(name).expanduser()
    layout = _layout(folder)
    window = config.window or layout.window
    corners, labels, notes = _windows(folder, layout, window, config)
    side = config.size or window
    reader = WindowReader(folder, layout, corners, labels, window, config.bands or 3, side)
    names = [f"{layout.tiles[tile][0]}#xywh={left},{top},{window},{window}" for tile, left, top in corners.tolist()]
    shape = (reader.bands, side, side)
    given = ("training", reader, names, shape, config, len(names), labels.shape[1:])
    images, left_out = read_split(*given, annotations=Annotations(mask=reader.mask))
    if side != window:
        notes += (f"Windows were resized from {window} x {window} to {side} x {side} pixels.",)
    if isinstance(images, StreamedImages):
        need = len(names) * int(np.prod(shape)) / 2**30
        notes += (f"Windows are read from their tiles each time; --data.memory {need + 0.1:.1f} would hold them all.",)
    return Source(layout.classes, {"training": images}, notes + left_out, several=True, group=layout.group)


def _layout(folder: Path) -> Layout:
    """Which of the two layouts the folder has. Raises ProtolensError for others, and for a photograph without mask."""
    photographs = sorted(path.name for path in folder.glob("*_sat.jpg"))
    if photographs:
        tiles = [(name, name.removesuffix("_sat.jpg") + "_mask.png") for name in photographs]
        table = _table({code: number for number, code in enumerate(COLOURS.values())} | {BLACK: NONE})
        layout = Layout(tuple(COLOURS), tiles, 224, True, EACH_TILE, partial(_of_colours, table))
    elif (folder / "classes.json").is_file():
        classes, table = _named_values(folder / "classes.json")
        found = sorted(path for path in folder.glob("images/*") if path.suffix.lower() in SUFFIXES)
        tiles = [(f"images/{path.name}", f"masks/{path.stem}.png") for path in found]
        layout = Layout(classes, tiles, 64, False, TILE_NUMBER, partial(_of_palette, table))
    else:
        raise ProtolensError(
            f"{folder} holds neither *_sat.jpg with *_mask.png (DeepGlobe) nor classes.json, images/ and masks/ (Dubai)"
            "; landcover:FOLDER needs such a folder, below data.root or PROTOLENS_DATA or by its whole path"
        )
    if not layout.tiles:
        raise ProtolensError(f"{folder / 'images'} holds no images; put the photographs of the tiles there")
    for photograph, mask in layout.tiles:
        if not (folder / mask).is_file():
            raise ProtolensError(f"{folder / photograph} has no mask {folder / mask}; add it or remove the photograph")
    return layout


def _named_values(path: Path) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """The classes in the order of their values, and the [256] class of each value, from a file of [value, colour]s."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        values = {int(entry[0]): str(name) for name, entry in entries.items()}
        if len(values) < len(entries) or not all(0 <= value < 256 for value in values):
            raise ValueError("each class needs a value of its own from 0 to 255")
        table = _table(dict.fromkeys(values, NONE))
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise ProtolensError(f'{path} is not of the form {{"water": [4, "#E2A929"], ...}} ({error})') from error
    named = sorted(value for value, name in values.items() if name.lower() != UNLABELED)
    table[named] = range(len(named))
    return tuple(values[value] for value in named), table


def _table(of: dict[int, int]) -> NDArray[np.uint8]:
    """[256]: the class of each value, UNKNOWN for the others."""
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    table[list(of)] = list(of.values())
    return table


def _of_colours(table: NDArray[np.uint8], picture: "Picture") -> Mask:
    """Each band counts as full from 128 on: compressed masks have colours in between."""
    full = np.asarray(picture.convert("RGB")) >> 7
    return table[4 * full[:, :, 0] + 2 * full[:, :, 1] + full[:, :, 2]]


def _of_palette(table: NDArray[np.uint8], picture: "Picture") -> Mask:
    if picture.mode not in ("P", "L"):
        raise UnreadableError(f"its pixels are {picture.mode} colours, not numbers of classes")
    return table[np.asarray(picture)]


def _read(path: Path, read: Convert) -> NDArray[Any]:
    """What `read` makes of a picture file. Raises ProtolensError when it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as picture:
            return read(picture)
    except Exception as reason:  # decoders raise anything at all on damaged files
        raise ProtolensError(f"{path} cannot be read ({reason})") from reason


def _kept(path: Path, read: Convert) -> NDArray[Any]:
    """The same, but the last few are kept, for windows come tile by tile."""
    with _reading:
        return _last_few(path, path.stat().st_mtime_ns if path.exists() else 0, read)


_reading = threading.Lock()  # threads that want one tile wait for it, instead of each decoding it


@lru_cache(maxsize=4)  # photographs and masks of two tiles: where one ends, threads are in both
def _last_few(path: Path, changed: int, read: Convert) -> NDArray[Any]:  # noqa: ARG001  another file if changed
    return _read(path, read)


def _windows(
    folder: Path, layout: Layout, window: int, config: DataConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """All windows that have a label: corners [N, 3], labels [N, K], and sentences. Each mask is read once."""
    corners: list[NDArray[np.int64]] = [np.empty((0, 3), dtype=np.int64)] * len(layout.tiles)
    labels = [np.empty((0, len(layout.classes)), dtype=np.int64)] * len(layout.tiles)

    def look(tile: int) -> None:
        photograph, mask = (folder / name for name in layout.tiles[tile])
        numbers = _mask(photograph, mask, layout.numbers)
        places, counts = count_classes(numbers, window, len(layout.classes), layout.centred)
        corners[tile] = np.insert(places, 0, tile, axis=1)
        labels[tile] = (counts / window**2 >= config.label_share).astype(np.int64)

    notes = tuple(read_all(look, len(layout.tiles), "reading masks", config).values())
    all_corners, all_labels = np.concatenate(corners), np.concatenate(labels)
    if len(all_corners) == 0:
        raise ProtolensError(
            f"{config.name} has no tile of {window} x {window} pixels or more; set a smaller data.window"
        )
    kept = np.flatnonzero(all_labels.any(axis=1))
    share = f"{config.label_share:.3g} of a window"
    if len(kept) == 0:
        raise ProtolensError(f"{config.name} has no class that covers {share}; set a smaller data.label_share")
    notes += (
        f"Tiles were cut into {len(all_labels):,} windows of {window} x {window} pixels; a class that covers {share} "
        "or more is one of its labels.",
    )
    if without := len(all_labels) - len(kept):
        notes += (
            f"{without:,} window{'s' * (without > 1)} without a label {'were' if without > 1 else 'was'} left out.",
        )
    return all_corners[kept], all_labels[kept], notes


def count_classes(
    numbers: Mask, window: int, classes: int, centred: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows that fill a tile side by side, row by row: left and top [n, 2], and pixels of each class [n, K].

    numbers: [H, W]; what is left over at the edges is shared out to both sides if `centred`, else cut at right and
    bottom.
    """
    rows, columns = numbers.shape[0] // window, numbers.shape[1] // window
    spare = [side % window // 2 if centred else 0 for side in numbers.shape]
    inside = numbers[spare[0] : spare[0] + rows * window, spare[1] : spare[1] + columns * window]
    blocks = inside.reshape(rows, window, columns, window)
    counts = [np.count_nonzero(blocks == number, axis=(1, 3)).ravel() for number in range(classes)]
    top, left = np.mgrid[:rows, :columns].reshape(2, -1) * window
    return np.stack([left + spare[1], top + spare[0]], axis=1), np.stack(counts, axis=1)


def _mask(photograph: Path, path: Path, read: Convert) -> Mask:
    """The class of each pixel of a tile, [H, W]. Raises ProtolensError for a mask that is not right."""
    from PIL import Image

    numbers = _read(path, read)
    height, width = numbers.shape
    have = _read(photograph, _size).tolist()
    if have != [width, height]:
        raise ProtolensError(f"{photograph} has {have[0]} x {have[1]} pixels, but {path} {width} x {height}")
    if (unknown := np.argwhere(numbers == UNKNOWN)).size:
        row, column = unknown[0].tolist()
        with Image.open(path, formats=FORMATS) as picture:
            value = picture.getpixel((column, row))
        raise ProtolensError(f"{path} has {value} at row {row}, column {column}, which stands for no class")
    return numbers


def _size(picture: "Picture") -> NDArray[Any]:
    """Width and height, without decoding."""
    return np.array(picture.size)
