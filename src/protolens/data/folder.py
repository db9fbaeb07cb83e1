"""A folder of photographs as a data set.

It holds one folder a class, or train/, val/ and test/ with such folders inside, or labels.csv beside the images.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from protolens.config import DataConfig
from protolens.data.decode import SUFFIXES, Pixels, UnreadableError, count_bands, decode, quiet_decoders
from protolens.data.images import Label
from protolens.data.progress import progress
from protolens.data.reading import read_split
from protolens.data.source import Source
from protolens.data.table import SPLIT_WORDS, TABLE, Labels, Listing, list_table
from protolens.errors import ProtolensError

SIDE = 64  # pixels, when data.size says nothing
KINDS = "PNG, JPEG, TIFF, PPM, BMP or WebP"
NO_CONTENT = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})  # hidden ones, such as .DS_Store, are skipped anyway


@dataclass(frozen=True)
class FileReader:
    """Pixels and label of each file by its number. names: paths below root; size: height and width."""

    root: Path
    names: list[str]
    labels: Labels
    bands: int
    size: tuple[int, int]

    def __call__(self, row: int) -> tuple[Pixels, Label]:
        """Pixels [C, H, W] and label. Raises ProtolensError when the file cannot be read."""
        path = self.root / self.names[row]
        try:
            return decode(path, self.bands, self.size), self.labels[row]
        except UnreadableError as reason:
            raise ProtolensError(f"{path} cannot be read ({reason})") from reason


def open_folder(config: DataConfig, path: str) -> Source:
    """The set under `path`. Raises ProtolensError, a sentence for each thing that can be wrong with it."""
    root = Path(path).expanduser()
    return _source(root, list_table(root) if (root / TABLE).is_file() else list_folder(root), config)


def open_pictures(config: DataConfig, path: str) -> Source:
    """As `open_folder`, for images that are only looked at: they may lie in the folder itself, and have no classes."""
    root = Path(path).expanduser()
    if not root.is_dir() or (root / TABLE).is_file() or _folders(root):
        return open_folder(config, path)
    images, others = _files(root)
    if not images:
        raise ProtolensError(f"{root} holds no images; put {KINDS} files there")
    names = [image.name for image in images]
    listing = Listing((), {"training": names}, {"training": [0] * len(names)}, _left_out(others))
    return _source(root, listing, config)


def _source(root: Path, listing: Listing, config: DataConfig) -> Source:
    side = config.size or SIDE
    notes = [*listing.notes, f"Images were cut to their centred square and resized to {side} x {side} pixels."]
    bands, converted = (config.bands, 0) if config.bands else _usual_bands(root, listing.names["training"])
    if converted:
        notes.append(f"Most training images have {bands} bands; {converted:,} with others were converted.")
    total = sum(map(len, listing.names.values()))
    parts = {}
    label_shape = (len(listing.classes),) if listing.several else ()
    for split, names in listing.names.items():
        reader = FileReader(root, names, listing.labels[split], bands, (side, side))
        parts[split], left_out = read_split(split, reader, names, (bands, side, side), config, total, label_shape)
        notes += left_out
    return Source(listing.classes, parts, tuple(notes), several=listing.several)


def list_folder(root: Path) -> Listing:
    """The classes and image files of a folder. Raises ProtolensError when it does not look like a set of images."""
    splits, notes = _split_folders(root)
    classes = tuple(folder.name for folder in _folders(splits["training"]))
    names: dict[str, list[str]] = {split: [] for split in splits}
    labels: dict[str, list[int]] = {split: [] for split in splits}
    empty, others = [], Counter[str]()
    for split, folder in splits.items():
        for inside in _folders(folder):
            if inside.name not in classes:
                raise ProtolensError(f"{inside} is a class without images in {splits['training']}; put some there")
            images, other = _files(inside)
            others.update(other)
            empty += [inside] if not images else []
            names[split] += [image.relative_to(root).as_posix() for image in images]
            labels[split] += [classes.index(inside.name)] * len(images)
    if not any(names.values()):
        raise ProtolensError(f"{root} holds no images; it needs one folder a class with {KINDS} files inside")
    if empty:
        raise ProtolensError(f"{empty[0]} holds no images; put {KINDS} files there or remove the folder")
    return Listing(classes, names, labels, (*notes, *_left_out(others)))


def _left_out(others: Counter[str]) -> tuple[str, ...]:
    """The sentence about files that are no images, by suffix, or none."""
    if not others:
        return ()
    kinds = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items()))
    return (f"Files that are no {KINDS} images were left out: {kinds}.",)


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each split that the set brings, "training" always, and a sentence about folders beside them."""
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise ProtolensError(f"{root} {state}; folder:PATH needs a folder that holds one folder a class")
    inside = _folders(root)
    if not inside:
        raise ProtolensError(f"{root} holds no folders; put the images of each class into a folder of its own")
    splits: dict[str, Path] = {}
    for folder in inside:
        split = SPLIT_WORDS.get(folder.name.lower())
        if split in splits:
            raise ProtolensError(f"{splits[split]} and {folder} both stand for {split}; merge them or rename one")
        if split and _folders(folder):  # else it is a class that is called "train"
            splits[split] = folder
    if "training" in splits:
        beside = [folder.name for folder in inside if folder not in splits.values()]
        notes = [f"Folders beside the splits were left out: {', '.join(beside)}."] if beside else []
        return splits, notes
    if splits:
        raise ProtolensError(f"{next(iter(splits.values()))} is there but {root / 'train'} is not; name it train")
    return {"training": root}, []


def _folders(folder: Path) -> list[Path]:
    found = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted(entry for entry in found if not entry.name.startswith(".") and entry.name not in NO_CONTENT)


def _files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Image files below a folder, sorted, and how many others there are by suffix."""
    images, others = [], Counter[str]()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in NO_CONTENT]
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in SUFFIXES and not name.startswith("."):
                images.append(Path(place) / name)
            elif name not in NO_CONTENT and not name.startswith("."):
                others[suffix] += 1
    return sorted(images), others


def _usual_bands(root: Path, names: Iterable[str]) -> tuple[int, int]:
    """The band count that most files have, and how many have another. Files that cannot be read do not count."""
    counts = Counter[int]()
    paths = [root / name for name in names]
    with quiet_decoders():
        for path in progress(paths, len(paths), "looking at bands"):
            try:
                counts[count_bands(path)] += 1
            except UnreadableError:
                continue  # named when it is read
    usual = counts.most_common(1)[0][0] if counts else 3
    return usual, counts.total() - counts[usual]
