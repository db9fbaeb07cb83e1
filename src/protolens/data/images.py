"""One split of a data set: its images by number, in memory or read from files, with a fingerprint of each."""

import hashlib
import math
import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from protolens.errors import ProtolensError

HASH_BYTES = 16
HASHED_AT_ONCE = 128
Hashes = NDArray[np.void]
Label = int | NDArray[np.int64]
"""Number of the class, or for a set with several classes an image [K] zeros and ones."""
Reader = Callable[[int], tuple[NDArray[np.uint8], Label]]
"""Pixels [C, H, W] and label of the image with this number; raises ProtolensError. Pickled to worker processes."""
MaskReader = Callable[[int], NDArray[np.uint8]]
"""Class of each pixel, [H, W], of the image with this number, 255 = none; raises ProtolensError."""
MarkReader = Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""The object's box, [4] as left, top, right, bottom, and its parts, [Q, 2] as x, y, not a number where unseen."""


@dataclass(frozen=True)
class Annotations:
    """What is known of the places in images, by the reader's numbers, in pixels of the images as they are read."""

    mask: MaskReader | None = None
    marks: MarkReader | None = None
    parts: tuple[str, ...] = ()  # names of the parts that marks tell, in their order


NOTHING_KNOWN = Annotations()


def hash_pixels(images: NDArray[np.uint8]) -> Hashes:
    """A 16-byte BLAKE2b digest of each image's pixels and shape. images: [N, C, H, W]; returns [N]."""
    empty = hashlib.blake2b(repr(images.shape[1:]).encode(), digest_size=HASH_BYTES)

    def digest(pixels: NDArray[np.uint8]) -> bytes:
        each = empty.copy()
        each.update(pixels.data)
        return each.digest()

    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    return np.frombuffer(b"".join(map(digest, rows)), dtype=f"V{HASH_BYTES}")


class Images(ABC):
    """The images of one split with their labels.

    name: "training", "validation" or "test"; labels: [N] int64, or [N, K] int64 zeros and ones where an image can show
    several classes; names: what a person calls each image, "train/31204" for number 31204 of an official file or a path
    below the folder; shape: bands, height, width; rows: numbers of these images in the pixels or the reader, None = all
    in order; annotations: where more is known than labels.
    """

    def __init__(
        self,
        name: str,
        labels: Tensor,
        names: Sequence[str],
        shape: tuple[int, int, int],
        rows: Tensor | None = None,
        hashes: Hashes | None = None,
        annotations: Annotations = NOTHING_KNOWN,
    ):
        self.name = name
        self.labels = labels
        self.names = names
        self.shape = shape
        self.rows = rows
        self.annotations = annotations
        self._known_hashes = hashes

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def take(self, indices: Tensor) -> Tensor:
        """The images with these numbers. indices: [B] int64 on the CPU; returns uint8 [B, C, H, W]."""

    @abstractmethod
    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, a [B] tensor of numbers, in order: its images as uint8 [B, C, H, W]."""

    @abstractmethod
    def subset(self, name: str, rows: Tensor) -> Self:
        """The images with these numbers as a split of their own. rows: [M] int64."""

    @property
    def has_masks(self) -> bool:
        """Whether the class of each pixel is known."""
        return self.annotations.mask is not None

    def masks(self, indices: Tensor) -> Tensor:
        """The class of each pixel of the images with these numbers, 255 = none.

        indices: [B] int64 on the CPU; returns uint8 [B, H, W]. Raises ProtolensError where there are no masks, or one
        cannot be read any more.
        """
        read = self.annotations.mask
        if read is None:
            raise ProtolensError(f"the {self.name} images have no masks; sets of landcover:FOLDER have them")
        masks = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)
        rows = self._below(indices).numpy()
        for place in np.argsort(rows, kind="stable").tolist():  # neighbours lie in one file
            masks[place] = read(int(rows[place]))
        return torch.from_numpy(masks)

    @property
    def has_marks(self) -> bool:
        """Whether the box and the parts of what is shown are known."""
        return self.annotations.marks is not None

    def marks(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, 4], as left, top, right, bottom, and parts [B, Q, 2], as x, y, of the images with these numbers.

        In pixels of the images as `take` gives them; a part that is not seen is not a number. Raises ProtolensError
        where none are known.
        """
        read = self.annotations.marks
        if read is None:
            raise ProtolensError(f"of the {self.name} images no boxes and parts are known; the set cub has them")
        boxes, points = zip(*(read(row) for row in self._below(indices).tolist()), strict=True)
        return torch.from_numpy(np.stack(boxes)), torch.from_numpy(np.stack(points))

    @property
    def part_names(self) -> tuple[str, ...]:
        """What people call the parts that `marks` tells, in their order."""
        return self.annotations.parts

    def _below(self, indices: Tensor) -> Tensor:
        """Numbers in the pixels or the reader of the images with these numbers: [B] -> [B]."""
        return indices if self.rows is None else self.rows[indices]

    @cached_property
    def hashes(self) -> Hashes:
        """A 16-byte digest of each image's pixels at the model's size, [N]; made in one pass when first asked for."""
        if self._known_hashes is not None:
            return self._known_hashes
        parts = torch.arange(len(self)).split(HASHED_AT_ONCE)
        return np.concatenate([hash_pixels(batch.numpy()) for batch in self.batches(parts)])

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over image digests and labels, in order: the same images in the same order give the same."""
        labels = self.labels.numpy().astype("<i8")
        return hashlib.sha256(self.hashes.tobytes() + labels.tobytes()).hexdigest()

    def _part(self, rows: Tensor) -> dict[str, Any]:
        """What any kind of subset takes over."""
        names = [self.names[row] for row in rows.tolist()]
        return {
            "labels": self.labels[rows],
            "names": names,
            "rows": self._below(rows),
            "hashes": self.hashes[rows.numpy()],
            "annotations": self.annotations,
        }


class MemoryImages(Images):
    """Images in one uint8 tensor [M, C, H, W]; `rows`, if given, are the split's own, so that splits share pixels."""

    def __init__(
        self,
        name: str,
        pixels: Tensor,
        labels: Tensor,
        names: Sequence[str],
        rows: Tensor | None = None,
        hashes: Hashes | None = None,
        annotations: Annotations = NOTHING_KNOWN,
    ):
        bands, height, width = pixels.shape[1:]
        super().__init__(name, labels, names, (bands, height, width), rows, hashes, annotations)
        self.pixels = pixels

    def take(self, indices: Tensor) -> Tensor:
        """The images with these numbers. indices: [B] int64 on the CPU; returns uint8 [B, C, H, W]."""
        # by numpy: torch splits even small copies over all cores, which takes 300 times longer where they are busy
        return torch.from_numpy(self.pixels.numpy().take(self._below(indices).numpy(), axis=0))

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, a [B] tensor of numbers, in order: its images as uint8 [B, C, H, W]."""
        return map(self.take, parts)

    def subset(self, name: str, rows: Tensor) -> Self:
        """The images with these numbers as a split of their own, on the same pixels. rows: [M] int64."""
        return type(self)(name, self.pixels, **self._part(rows))


class StreamedImages(Images):
    """Images that are decoded and resized when asked for; `rows` are the reader's numbers of this split."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        labels: Tensor,
        names: Sequence[str],
        shape: tuple[int, int, int],
        workers: int = 0,
        rows: Tensor | None = None,
        hashes: Hashes | None = None,
        annotations: Annotations = NOTHING_KNOWN,
    ):
        super().__init__(name, labels, names, shape, rows, hashes, annotations)
        self.reader = reader
        self.workers = workers

    def take(self, indices: Tensor) -> Tensor:
        """The images with these numbers, read in threads. indices: [B] int64 on the CPU; returns uint8 [B, C, H, W]."""
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda row: self.reader(row)[0], self._below(indices).tolist()))
        return _stack(images, self.shape)

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, a [B] tensor of numbers, in order: its images as uint8 [B, C, H, W], read by processes."""
        loader = DataLoader(
            _Items(self.reader, self.shape),
            batch_sampler=(self._below(part).tolist() for part in parts),
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=_prepare_worker,
            generator=torch.Generator(),  # else the loader draws from the global state
        )
        for batch in loader:
            if isinstance(batch, ProtolensError):
                raise batch
            yield batch

    def subset(self, name: str, rows: Tensor) -> Self:
        """The images with these numbers as a split of their own. rows: [M] int64."""
        return type(self)(name, self.reader, shape=self.shape, workers=self.workers, **self._part(rows))


class _Items(Dataset[Any]):
    """Whole batches for a loader's worker. An error comes back as a value: raised there, it would carry a traceback."""

    def __init__(self, reader: Reader, shape: tuple[int, int, int]):
        self.reader = reader
        self.shape = shape

    def __getitems__(self, rows: list[int]) -> Tensor | ProtolensError:
        try:
            return _stack([self.reader(row)[0] for row in rows], self.shape)
        except ProtolensError as error:
            return error


def _stack(images: list[NDArray[np.uint8]], shape: tuple[int, int, int]) -> Tensor:
    return torch.from_numpy(np.stack(images)) if images else torch.empty((0, *shape), dtype=torch.uint8)


def _as_it_is(batch: Any) -> Any:
    return batch


def _prepare_worker(worker: int) -> None:  # noqa: ARG001  torch passes the worker's number
    warnings.filterwarnings("ignore", module="PIL")  # what it remarks was heard when all files were read first
    # Ctrl-C reaches the whole process group; the main process alone decides what happens then
    signal.signal(signal.SIGINT, signal.SIG_IGN)
