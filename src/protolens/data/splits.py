"""Carving one split out of another: by class, reproducible, and never through images that belong together."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protolens.config import seed_of
from protolens.errors import ProtolensError

PASSES = 20  # over the units, at most, to come nearer to the class shares
TINY = 1e-9

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def group_keys(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each image: the first bracket of the pattern in its name, or the whole match if it has none.

    Raises ProtolensError for a bad pattern and for a name that it does not match.
    """
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ProtolensError(f"data.group = {pattern} is no regular expression ({error})") from error
    keys = []
    for name in names:
        found = search(name)
        key = found and found[1 if found.re.groups else 0]
        if key is None:
            raise ProtolensError(f"data.group = {pattern} does not match {name}; it must match the name of every image")
        keys.append(key)
    return keys


def units(*keys: NDArray[np.generic]) -> Integers:
    """Number images so that those linked by an equal key, directly or over others, get the same number.

    keys: one or more [N] arrays, such as pixel digests and groups; returns [N], numbers from 0 on without gaps.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: Integers = np.unique(keys[0], return_inverse=True)[1]
    for key in keys[1:]:
        other: Integers = np.unique(key, return_inverse=True)[1]
        left, right = numbers.max(initial=-1) + 1, other.max(initial=-1) + 1
        links = coo_array((np.ones(len(other), dtype=np.int8), (numbers, left + other)), shape=(left + right,) * 2)
        numbers = connected_components(links, directed=False)[1][numbers]
        numbers = np.unique(numbers, return_inverse=True)[1]
    return numbers.astype(np.int64)


def draw_keys(names: Sequence[str], seed: int, split: str) -> NDArray[np.bytes_]:
    """A random-looking key for each image, [N], from its name alone.

    So neither the order of the files, nor their number, nor a random generator's version changes where an image goes.
    """
    start = hashlib.blake2b(seed_of(seed, split).to_bytes(8, "little"), digest_size=16)

    def key(name: str) -> bytes:
        each = start.copy()
        each.update(name.encode(errors="surrogateescape"))
        return each.digest()

    return np.array([key(name).hex() for name in names], dtype="S32")


def hold_out(
    labels: Integers,
    unit: Integers,
    keys: NDArray[np.bytes_],
    share: float,
    classes: Sequence[str],
    splits: Sequence[str],
) -> Booleans:
    """Which images to hold out, [N]: the share of each class, units as a whole, in the order of the keys.

    labels: [N], or [N, K] where an image can show several classes; unit: [N] of `units`; keys: [N] of `draw_keys`;
    splits: the split held out, then those that are still to come out of the rest; each gets at least one unit of each
    class. Where all units are single images of one class, each class is within one image of its share. Raises
    ProtolensError when a class has too few units, or they cannot be shared out.
    """
    order = np.argsort(keys, kind="stable")
    if labels.ndim == 2:
        return _hold_out_several(labels, unit, order, share, classes, splits)
    sizes = np.bincount(unit)
    rows = np.where(sizes > 1, np.cumsum(sizes > 1) - 1, -1)[unit]  # of the image's unit in the table; -1: a single
    joint = rows >= 0
    table = np.zeros((np.count_nonzero(sizes > 1), len(classes)), dtype=np.int64)
    np.add.at(table, (rows[joint], labels[joint]), 1)
    singles = np.bincount(labels[~joint], minlength=len(classes))
    choice = _Choice(table, singles, share, len(splits) - 1)
    walk = _one_of_each(unit, order)
    choice.settle(rows[walk].tolist(), labels[walk].tolist(), classes, splits)
    held = joint & choice.held[rows] if len(table) else np.zeros(len(labels), dtype=np.bool_)
    for label, wanted in enumerate(choice.singles_wanted().tolist()):
        held[order[(rows[order] < 0) & (labels[order] == label)][:wanted]] = True
    return held


def _hold_out_several(
    labels: Integers, unit: Integers, order: Integers, share: float, classes: Sequence[str], splits: Sequence[str]
) -> Booleans:
    """`hold_out` of images that can show several classes: every unit, a single image too, is a row of the table."""
    every = np.ones((len(labels), 1), dtype=np.int64)  # as if a class that all show: else none without a class goes
    table = np.zeros((unit.max(initial=-1) + 1, len(classes) + 1), dtype=np.int64)
    np.add.at(table, unit, np.hstack([labels, every]))
    choice = _Choice(table, np.zeros(table.shape[1], dtype=np.int64), share, len(splits) - 1)
    rows = unit[_one_of_each(unit, order)].tolist()
    choice.settle(rows, [0] * len(rows), classes, splits)
    held: Booleans = choice.held[unit]
    return held


def _one_of_each(unit: Integers, order: Integers) -> Integers:
    """The first image of each unit, in the order given; that of the lowest key would put large units first."""
    first = np.zeros(len(unit), dtype=np.bool_)
    first[np.unique(unit, return_index=True)[1]] = True
    return order[first[order]]


class _Choice:
    """Which units of several images are held out; the single images then make up what is missing.

    table: [M, K] images of each class in each unit; singles: [K] images that are units of their own; remain: units of
    each class that must not be held out.
    """

    def __init__(self, table: Integers, singles: Integers, share: float, remain: int):
        self.table = table
        self.singles = singles
        self.remain = remain
        self.held = np.zeros(len(table), dtype=np.bool_)
        self.images = table.sum(axis=0) + singles
        self.target = share * self.images
        self.weight = 1 / np.maximum(self.images, 1)

    def settle(self, rows: Sequence[int], labels: Sequence[int], classes: Sequence[str], splits: Sequence[str]) -> None:
        """Choose by the three steps below; rows and labels as `draw` takes them.

        Raises ProtolensError when a class has fewer units than there are splits, or they cannot be shared out.
        """
        units = ((self.table > 0).sum(axis=0) + self.singles).tolist()
        for name, have in zip(classes, units, strict=False):
            if have < len(splits):
                raise ProtolensError(
                    f"class {name} has only {have} image{'s' * (have != 1)} or groups of images to share out, but "
                    f"{', '.join(splits)} need one each; add some or remove the class"
                )
        self.draw(rows, labels)
        self.come_nearer()
        self.reach_every_class(classes, splits)

    def draw(self, rows: Sequence[int], labels: Sequence[int]) -> None:
        """Walk through all units and hold out each that brings the classes nearer to their shares.

        rows: of each unit in the table, -1 for single images, whose class is in labels; they count on the way, so that
        large units are held out as often as small ones.
        """
        sums = np.zeros(len(self.singles))
        for row, label in zip(rows, labels, strict=True) if len(self.table) else ():
            if row < 0:
                sums[label] += sums[label] + 0.5 < self.target[label]
            else:
                unit = self.table[row]
                self.held[row] = (unit * (unit + 2 * (sums - self.target)) * self.weight).sum() < 0
                sums += unit * self.held[row]

    def come_nearer(self) -> None:
        """Move single units over as long as that brings the classes nearer to their shares."""
        sums = self.table[self.held].sum(axis=0)
        for _ in range(PASSES):
            before = self.distance(sums)
            for row, unit in enumerate(self.table):
                after = sums - unit if self.held[row] else sums + unit
                if self.distance(after) < self.distance(sums) - TINY:
                    self.held[row] = not self.held[row]
                    sums = after
            if self.distance(sums) >= before - TINY:
                return

    def reach_every_class(self, classes: Sequence[str], splits: Sequence[str]) -> None:
        """Move units over until each split can have each class. Raises ProtolensError when no move helps."""
        while (lacking := self.lacking(self.held)).any():
            moves = []
            for row in np.flatnonzero(self.table[:, lacking > 0].any(axis=1)):
                held = self.held.copy()
                held[row] = not held[row]
                moves.append((self.lacking(held).sum(), self.distance(self.table[held].sum(axis=0)), row))
            if not moves or min(moves)[0] >= lacking.sum():
                raise ProtolensError(
                    f"class {classes[int(lacking.argmax())]} cannot be in each of {', '.join(splits)} because of "
                    "images that must stay together; choose another data.group or other shares"
                )
            row = min(moves)[2]
            self.held[row] = not self.held[row]

    def distance(self, sums: Integers) -> float:
        """How far the classes are from their shares beyond what single images can make up for.

        sums: [K] images of each class in the units held out; returns a weighted sum of squares.
        """
        over, under = sums - self.target, self.target - self.singles - sums
        return float((np.maximum(np.maximum(over, under), 0) ** 2 * self.weight).sum())

    def lacking(self, held: Booleans) -> Integers:
        """[K]: units that a class lacks, in the held out split and in the rest together, beyond its single images."""
        out, rest = self._units(held)
        lacking: Integers = np.maximum(np.maximum(1 - out, 0) + np.maximum(self.remain - rest, 0) - self.singles, 0)
        return lacking

    def singles_wanted(self) -> Integers:
        """[K]: how many single images of each class to hold out besides."""
        out, rest = self._units(self.held)
        wanted = np.rint(self.target - self.table[self.held].sum(axis=0)).astype(np.int64)
        least, most = np.maximum(1 - out, 0), self.singles - np.maximum(self.remain - rest, 0)
        return np.minimum(np.maximum(wanted, least), most)

    def _units(self, held: Booleans) -> tuple[Integers, Integers]:
        return (self.table[held] > 0).sum(axis=0), (self.table[~held] > 0).sum(axis=0)
