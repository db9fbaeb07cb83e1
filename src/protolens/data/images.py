"""One split of a data set: its images by number, in memory or read from files, with a fingerprint of each."""

import hashlib
import math
import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
Reader = Callable[[int], tuple[NDArray[np.uint8], int]]
"""Pixels [C, H, W] and label of the image with this number; raises ProtolensError. Pickled to worker processes."""


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

    name: "training", "validation" or "test"; labels: [N] int64; names: what a person calls each image, "train/31204"
    for number 31204 of an official file or a path below the folder; shape: bands, height, width.
    """

    def __init__(
        self,
        name: str,
        labels: Tensor,
        names: Sequence[str],
        shape: tuple[int, int, int],
        hashes: Hashes | None = None,
    ):
        self.name = name
        self.labels = labels
        self.names = names
        self.shape = shape
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
        return {"labels": self.labels[rows], "names": names, "hashes": self.hashes[rows.numpy()]}


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
    ):
        bands, height, width = pixels.shape[1:]
        super().__init__(name, labels, names, (bands, height, width), hashes)
        self.pixels = pixels
        self.rows = rows

    def take(self, indices: Tensor) -> Tensor:
        """The images with these numbers. indices: [B] int64 on the CPU; returns uint8 [B, C, H, W]."""
        rows = indices if self.rows is None else self.rows[indices]
        # by numpy: torch splits even small copies over all cores, which takes 300 times longer where they are busy
        return torch.from_numpy(self.pixels.numpy().take(rows.numpy(), axis=0))

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, a [B] tensor of numbers, in order: its images as uint8 [B, C, H, W]."""
        return map(self.take, parts)

    def subset(self, name: str, rows: Tensor) -> Self:
        """The images with these numbers as a split of their own, on the same pixels. rows: [M] int64."""
        below = rows if self.rows is None else self.rows[rows]
        return type(self)(name, self.pixels, rows=below, **self._part(rows))


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
    ):
        super().__init__(name, labels, names, shape, hashes)
        self.reader = reader
        self.workers = workers
        self.rows = torch.arange(len(labels)) if rows is None else rows

    def take(self, indices: Tensor) -> Tensor:
        """The images with these numbers, read in threads. indices: [B] int64 on the CPU; returns uint8 [B, C, H, W]."""
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda row: self.reader(row)[0], self.rows[indices].tolist()))
        return _stack(images, self.shape)

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, a [B] tensor of numbers, in order: its images as uint8 [B, C, H, W], read by processes."""
        loader = DataLoader(
            _Items(self.reader, self.shape),
            batch_sampler=(self.rows[part].tolist() for part in parts),
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
        part = self._part(rows)
        return type(self)(name, self.reader, shape=self.shape, workers=self.workers, rows=self.rows[rows], **part)


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
