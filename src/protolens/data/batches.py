"""Batches of floats for training and for evaluation, the same for the same seeds."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from protolens.config import Augmentation, seed_of
from protolens.data.augment import augment
from protolens.data.images import Images
from protolens.errors import ProtolensError


@dataclass(frozen=True)
class Batch:
    """images: [B, C, H, W] float32 in [0, 1]; labels: [B] int64, or [B, K] int64 zeros and ones where an image can show
    several classes; weights: [B] of each image in the loss, or None.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None


def to_float(images: Tensor, device: torch.device | str) -> Tensor:
    """uint8 images as float32 in [0, 1] on the device. images: [B, C, H, W]; returns the same shape."""
    # bytes travel four times faster than floats: copy first
    return images.to(device).to(torch.float32).div_(255)


def training_batches(
    images: Images,
    batch: int,
    order: Generator,
    augmentation: Augmentation,
    seed: int,
    device: torch.device | str,
    class_weight: Tensor | None = None,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
) -> Iterator[Batch]:
    """One epoch: all images in a random order, in ceil(N / batch) nearly equal batches, augmented.

    batch: images a step over all `world` processes; order: CPU generator that draws the order, in the same state in
    each process; seed: of this epoch's augmentation, from which each step and rank derives its own; class_weight: [K],
    only for images of one class each, or None; start: first step to yield, so that an epoch entered in its middle goes
    on with the same batches.
    """
    shuffled = torch.randperm(len(images), generator=order)
    steps = shuffled.tensor_split(max(1, -(-len(images) // batch)))
    parts = [step.tensor_split(world)[rank] for step in steps[start:]]
    weight = None if class_weight is None else class_weight.to(device)
    generator = Generator(device)
    for step, (part, pixels) in enumerate(zip(parts, images.batches(parts), strict=True), start):
        generator.manual_seed(seed_of(seed, step, rank))
        labels = images.labels[part].to(device)
        floats = augment(to_float(pixels, device), augmentation, generator)
        yield Batch(floats, labels, None if weight is None else weight[labels])


def plain_batches(
    images: Images, batch: int, device: torch.device | str, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """All images in order, `batch` at a time, not augmented; each rank gets one contiguous slice of them."""
    mine = torch.arange(len(images)).tensor_split(world)[rank]
    parts = mine.split(batch) if len(mine) else ()
    for part, pixels in zip(parts, images.batches(parts), strict=True):
        yield Batch(to_float(pixels, device), images.labels[part].to(device))


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weight n / (K * n_k) of each class k, so that all classes count alike (scikit-learn's "balanced").

    labels: [N] int64; returns [K] float32; a class without images weighs as if it had one. Raises ProtolensError for
    labels of several classes an image: there no weight of an image can do that.
    """
    if labels.ndim > 1:
        raise ProtolensError("images that show several classes cannot be weighted by class; leave class weights out")
    counts = labels.bincount(minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts)
