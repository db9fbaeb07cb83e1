"""What a set brings before it is split, and where its files are looked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from protolens.config import DataConfig
from protolens.data.decode import Pixels, UnreadableError, fit, to_bands
from protolens.data.images import Images, MemoryImages
from protolens.data.progress import progress
from protolens.errors import ProtolensError


@dataclass(frozen=True)
class Source:
    """A set as it comes.

    parts: "training" always (all images, if the set is not split), "validation" and "test" if it brings them;
    mirror: why a mirrored image would be wrong ("a mirrored digit is another sign"), empty where it is fine; several:
    whether an image can show several classes; group: a regular expression on names that holds unless data.group is set,
    empty where any image may go to any split.
    """

    classes: tuple[str, ...]
    parts: dict[str, Images]
    notes: tuple[str, ...] = ()
    mirror: str = field(default="", kw_only=True)
    several: bool = field(default=False, kw_only=True)
    group: str = field(default="", kw_only=True)


def data_root(config: DataConfig) -> Path:
    """The folder of the data files: data.root, else $PROTOLENS_DATA, else ~/.cache/protolens."""
    return Path(config.root or os.environ.get("PROTOLENS_DATA") or "~/.cache/protolens").expanduser()


def images_of_array(
    split: str, pixels: Pixels, labels: NDArray[np.integer], names: Sequence[str], config: DataConfig
) -> MemoryImages:
    """A split of a set that lies in memory anyway, with data.size and data.bands applied.

    pixels: [N, C, H, W]; labels: [N] or [N, K]. Raises ProtolensError when the bands cannot be converted.
    """
    bands, size = config.bands or pixels.shape[1], (config.size, config.size) if config.size else pixels.shape[2:]
    try:
        if size == pixels.shape[2:]:
            fitted = to_bands(pixels, bands)
        else:
            fitted = np.empty((len(pixels), bands, *size), dtype=np.uint8)
            for row, image in enumerate(progress(pixels, len(pixels), f"resizing {split} images")):
                fitted[row] = fit(image, bands, size)
    except UnreadableError as reason:
        raise ProtolensError(f"{config.name} cannot be used with data.bands = {bands} ({reason})") from reason
    return MemoryImages(split, torch.from_numpy(fitted), torch.from_numpy(labels.astype(np.int64)), names)


def resized_note(config: DataConfig, have: tuple[int, int]) -> tuple[str, ...]:
    """The sentence about resizing, or none. have: height and width before."""
    if config.size is None or have == (config.size, config.size):
        return ()
    return (f"Images were resized from {have[0]} x {have[1]} to {config.size} x {config.size} pixels.",)
