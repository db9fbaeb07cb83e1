"""Reading many images once: into memory where they fit, else for their digests, with every bad file found then."""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import torch

from protolens.config import DataConfig
from protolens.data.decode import quiet_decoders
from protolens.data.images import (
    HASH_BYTES,
    NOTHING_KNOWN,
    Annotations,
    Images,
    MemoryImages,
    Reader,
    StreamedImages,
    hash_pixels,
)
from protolens.data.progress import progress
from protolens.errors import ProtolensError

READ_AT_ONCE = 256
GIB = 2**30


def read_split(
    split: str,
    reader: Reader,
    names: Sequence[str],
    shape: tuple[int, int, int],
    config: DataConfig,
    total: int,
    label_shape: tuple[int, ...] = (),
    annotations: Annotations = NOTHING_KNOWN,
) -> tuple[Images, tuple[str, ...]]:
    """All images of a split, and a sentence for each that was left out as unreadable.

    names: one for each of the reader's numbers; shape: C, H, W; total: images of all splits together, which decides
    whether they are held in memory; label_shape: () for one class an image, (K,) for several. Raises ProtolensError at
    the first unreadable one, unless config.skip_unreadable.
    """
    held = total * int(np.prod(shape)) <= config.memory * GIB
    pixels = np.empty((len(names), *shape) if held else 0, dtype=np.uint8)
    hashes = np.empty(0 if held else len(names), dtype=f"V{HASH_BYTES}")
    labels = np.zeros((len(names), *label_shape), dtype=np.int64)

    def keep(row: int) -> None:
        image, labels[row] = reader(row)
        if held:
            pixels[row] = image
        else:
            hashes[row] = hash_pixels(image[None])[0]

    left_out = read_all(keep, len(names), f"reading {split} images", config)
    classes = torch.from_numpy(labels)
    images: Images
    if held:
        images = MemoryImages(split, torch.from_numpy(pixels), classes, names, annotations=annotations)
    else:
        images = StreamedImages(
            split, reader, classes, names, shape, config.workers, hashes=hashes, annotations=annotations
        )
    if left_out:
        rows = [row for row in range(len(names)) if row not in left_out]
        images = images.subset(split, torch.tensor(rows, dtype=torch.int64))
    return images, tuple(dict.fromkeys(left_out.values()))  # one sentence for a file, whatever was cut out of it


def read_all(work: Callable[[int], None], count: int, about: str, config: DataConfig) -> dict[int, str]:
    """Do `work` for the numbers below `count` in threads; a sentence for each number left out as unreadable.

    Raises ProtolensError at the first unreadable one, unless config.skip_unreadable.
    """
    left_out = {}
    with quiet_decoders(), closing(_failures(work, count, about)) as failures:
        for row, problem in failures:
            if not config.skip_unreadable:
                raise ProtolensError(f"{problem}; --skip-unreadable leaves such files out") from problem
            left_out[row] = f"{problem}, so it was left out."
    return left_out


def _failures(work: Callable[[int], None], count: int, about: str) -> Generator[tuple[int, ProtolensError], None, None]:
    """Do `work` for the numbers below `count` in threads; the numbers that failed, in order, and why."""

    def attempt(row: int) -> ProtolensError | None:
        try:
            work(row)
        except ProtolensError as problem:
            return problem
        return None

    def outcomes() -> Iterator[ProtolensError | None]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, count, READ_AT_ONCE):  # not all at once: an error or Ctrl-C ends it soon
                yield from pool.map(attempt, range(start, min(start + READ_AT_ONCE, count)))

    for row, problem in enumerate(progress(outcomes(), count, about)):
        if problem is not None:
            yield row, problem
