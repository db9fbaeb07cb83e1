"""A table of labels beside the images of a folder: labels.csv, for images that can show several classes."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protolens.errors import ProtolensError

TABLE = "labels.csv"
SPLIT = "split"  # the column that says it
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MARKS = {"0": 0, "1": 1}
Labels = Sequence[int] | NDArray[np.int64]
Row = tuple[str, str, list[int]]


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    names: of each split, paths below the root; labels: beside them, [N] class numbers, or [N, K] zeros and ones if
    `several`.
    """

    classes: tuple[str, ...]
    names: Mapping[str, list[str]]
    labels: Mapping[str, Labels]
    notes: tuple[str, ...]
    several: bool = False


def list_table(root: Path) -> Listing:
    """The images that root/labels.csv names: first column their path below root, one column a class with 0 or 1.

    A column `split` may say training, validation or test. Raises ProtolensError with the line of whatever is wrong.
    """
    path = root / TABLE
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            classes, split_column = _columns(next(lines, []), path)
            rows = list(_rows(lines, path, len(classes), split_column))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProtolensError(f"{path} cannot be read ({error}); save it as a table of commas in UTF-8") from error
    if not rows:
        raise ProtolensError(f"{path} names no images; add a line for each")
    names: dict[str, list[str]] = {}
    labels: dict[str, list[list[int]]] = {}
    for split, name, marks in rows:
        names.setdefault(split, []).append(name)
        labels.setdefault(split, []).append(marks)
    if "training" not in names:
        raise ProtolensError(f"{path} has no line whose {SPLIT} is training; a classifier needs some")
    return Listing(
        classes, names, {split: np.array(marks, dtype=np.int64) for split, marks in labels.items()}, (), several=True
    )


def _columns(header: Sequence[str], path: Path) -> tuple[tuple[str, ...], int | None]:
    """The classes, and the number of the split column among the columns after the first, if there is one."""
    names = [name.strip() for name in header[1:]]
    split_column = next((number for number, name in enumerate(names) if name.lower() == SPLIT), None)
    classes = tuple(name for number, name in enumerate(names) if number != split_column)
    if not classes:
        raise ProtolensError(f"{path} line 1 names no classes; it needs the file's column, then one a class, by commas")
    for number, name in enumerate(classes):
        if not name or name in classes[:number]:
            wrong = f"names {name} twice" if name else "has a column without a name"
            raise ProtolensError(f"{path} line 1 {wrong}; give each class a name of its own")
    return classes, split_column


def _rows(lines: Iterator[list[str]], path: Path, classes: int, split_column: int | None) -> Iterator[Row]:
    """Split, name and [K] zeros and ones of each line. lines: of csv.reader, after the header."""
    seen: dict[str, int] = {}
    columns = 1 + classes + (split_column is not None)
    for line in lines:
        if not any(cell.strip() for cell in line):
            continue
        number = lines.line_num  # type: ignore[attr-defined]
        where = f"{path} line {number}"
        if len(line) != columns:
            raise ProtolensError(f"{where} has {len(line)} columns instead of {columns}; mend it")
        name, *cells = (cell.strip() for cell in line)
        split = "training"
        if split_column is not None:
            word = cells.pop(split_column)
            split = SPLIT_WORDS.get(word.lower(), "")
            if not split:
                raise ProtolensError(f"{where} has the {SPLIT} {word!r}; write training, validation or test")
        if name in seen:
            raise ProtolensError(f"{where} names {name} again, which line {seen[name]} has already; remove one of them")
        if not (path.parent / name).is_file():
            raise ProtolensError(f"{where} names {name!r}, but there is no such file in {path.parent}; mend the path")
        for cell in cells:
            if cell not in MARKS:
                raise ProtolensError(f"{where} has {cell!r} for a class; write 0 or 1")
        seen[name] = number
        yield split, name, [MARKS[cell] for cell in cells]
