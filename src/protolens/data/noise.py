"""Random numbers that belong to an image: the same for it whatever images stand beside it in a batch."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor

from protolens.config import seed_of


class Draw(Protocol):
    """What draws a tensor of a shape, such as torch.rand or torch.randn."""

    def __call__(self, size: Sequence[int], /, *, generator: Generator) -> Tensor:
        """Draw by a generator."""
        ...


def drawn_for_each(draw: Draw, shape: Sequence[int], images: Iterable[int], seed: int, *names: str | int) -> Tensor:
    """A draw of this shape for each image, [B, *shape] on the CPU. images: B numbers; seed, names: what it is for."""
    generators = (Generator().manual_seed(seed_of(seed, *names, image)) for image in images)
    return torch.stack([draw(shape, generator=generator) for generator in generators])
