"""A data set ready for use: three splits that share no image, and the task they set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from protolens.config import DataConfig, Task
from protolens.data.catalog import open_source
from protolens.data.images import Images
from protolens.data.leakage import Leak, guard
from protolens.data.source import Source
from protolens.data.splits import draw_keys, group_keys, hold_out, units
from protolens.errors import ProtolensError


@dataclass(frozen=True)
class DataSet:
    """name: as in data.name; leaks: images that stood in two splits, and what was done; notes: sentences to report."""

    name: str
    task: Task
    training: Images
    validation: Images
    test: Images
    leaks: tuple[Leak, ...]
    notes: tuple[str, ...]

    @property
    def digests(self) -> dict[str, str]:
        """The fingerprint of each split: SHA-256 over its image digests and labels."""
        return {images.name: images.digest for images in (self.training, self.validation, self.test)}


def open_data(config: DataConfig) -> DataSet:
    """Open a set by its name, split what it does not bring split, and look for images that stand in two splits.

    Raises ProtolensError when the set is unknown, missing, damaged, cannot be split, or leaks (data.leakage).
    """
    source = open_source(config)
    _refuse_unfit(source, config)
    parts, notes = _carve(source, config)
    parts, leaks = _guard(parts, _group(source, config), config)
    notes += _missing_classes(parts, source.classes, config)
    notes += _leak_notes(leaks)
    bands, height, width = parts["training"].shape
    task = Task(source.classes, bands, height, width, source.several)
    return DataSet(config.name, task, parts["training"], parts["validation"], parts["test"], leaks, notes)


def _refuse_unfit(source: Source, config: DataConfig) -> None:
    if config.augment.flip and source.mirror:
        raise ProtolensError(f"data.augment.flip is not for {config.name}: {source.mirror}; set it to false")
    if len(source.classes) < 2:
        only = source.classes[0] if source.classes else "none"
        raise ProtolensError(f"{config.name} has one class only ({only}); a classifier needs two or more")
    for images in source.parts.values():
        if len(images) == 0:
            raise ProtolensError(f"{config.name} has no images for {images.name}; add some")
        shape, end = ((len(source.classes),), 2) if source.several else ((), len(source.classes))
        if images.labels.shape[1:] != shape or int(images.labels.min()) < 0 or int(images.labels.max()) >= end:
            raise ProtolensError(f"{config.name} has {images.name} labels outside of its {len(source.classes)} classes")


def _carve(source: Source, config: DataConfig) -> tuple[dict[str, Images], tuple[str, ...]]:
    """All three splits, the missing ones out of training: the test first. And a sentence about each."""
    parts, notes = dict(source.parts), source.notes
    missing = [split for split in ("test", "validation") if split not in parts]
    for place, split in enumerate(missing):
        share = config.test if split == "test" else config.validation
        whole = parts["training"]
        splits = [*missing[place:], "training"]
        held = _held_out(whole, share, splits, source, config)
        parts["training"] = whole.subset("training", torch.from_numpy(np.flatnonzero(~held)))
        parts[split] = whole.subset(split, torch.from_numpy(np.flatnonzero(held)))
        notes += (
            f"{split.capitalize()} is {len(parts[split]):,} of {len(whole):,} training images, about {share:.3g} of "
            f"each class, drawn by data.split_seed = {config.split_seed}.",
        )
    own = [split for split in ("training", "validation", "test") if split in source.parts]
    if len(own) > 1:
        notes += (f"The set itself brings {' and '.join(own)}.",)
    return parts, notes


def _group(source: Source, config: DataConfig) -> str | None:
    """The pattern in names that tells which images belong together, the set's own unless data.group is set."""
    return config.group if config.group is not None else source.group or None


def _held_out(
    whole: Images, share: float, splits: Sequence[str], source: Source, config: DataConfig
) -> NDArray[np.bool_]:
    """Which images go to the first of the splits: copies of a picture, and groups, stay on one side. Returns [N]."""
    together: list[NDArray[np.generic]] = [whole.hashes]
    if (group := _group(source, config)) is not None:
        together.append(np.array(group_keys(whole.names, group)))
    keys = draw_keys(whole.names, config.split_seed, splits[0])
    try:
        return hold_out(whole.labels.numpy(), units(*together), keys, share, source.classes, splits)
    except ProtolensError as error:
        raise ProtolensError(f"{config.name}: {error}") from error


def _guard(
    parts: dict[str, Images], group: str | None, config: DataConfig
) -> tuple[dict[str, Images], tuple[Leak, ...]]:
    """The splits and what was found in two of them: equal pixels, equal groups. Raises ProtolensError on "stop"."""
    digests = {split: [digest.hex() for digest in images.hashes.tolist()] for split, images in parts.items()}
    parts, leaks = guard(parts, digests, "pixels", config.leakage, config.name)
    if group is None:
        return parts, leaks
    groups = {split: group_keys(images.names, group) for split, images in parts.items()}
    parts, parted = guard(parts, groups, "group", config.leakage, config.name)
    return parts, leaks + parted


def _missing_classes(parts: Mapping[str, Images], classes: tuple[str, ...], config: DataConfig) -> tuple[str, ...]:
    """A sentence for each split without some class. Raises ProtolensError when it is the training split."""
    notes: tuple[str, ...] = ()
    for split, images in parts.items():
        shown = images.labels.any(dim=0) if images.labels.ndim == 2 else images.labels.bincount(minlength=len(classes))
        absent = [name for name, some in zip(classes, shown.tolist(), strict=True) if not some]
        if len(images) == 0 or (absent and split == "training"):
            lost = "at all" if len(images) == 0 else f"of class {absent[0]}"
            raise ProtolensError(f"{config.name} has no {split} images {lost} left; add some, or choose another set")
        if absent:
            notes += (f"No {split} image shows {', '.join(absent)}.",)
    return notes


def _leak_notes(leaks: Sequence[Leak]) -> tuple[str, ...]:
    """A sentence for each pair of splits that share images, and what was done about it."""
    found: dict[tuple[str, str, str, str], set[str]] = {}
    for leak in leaks:
        found.setdefault((leak.first_split, leak.second_split, leak.why, leak.action), set()).add(leak.first)
    return tuple(
        f"{len(names):,} {first} image{'s have' if len(names) > 1 else ' has'} the same {why} as {second} images and "
        f"{'were' if len(names) > 1 else 'was'} {action}."
        for (first, second, why, action), names in found.items()
    )
