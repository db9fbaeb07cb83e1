"""The contract that every model of the family fulfils.

image -> encoder -> code -> similarity to prototypes -> transparent head -> logits
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from protolens.config import Stage, Task
from protolens.data import Batch
from protolens.nn import VectorPrototypes


@dataclass
class Evidence:
    """All that a decision rests on, for a batch of B images, P prototypes and K classes."""

    logits: Tensor  # [B, K]
    similarity: Tensor  # [B, P], larger is more alike
    code: Tensor  # [B, D]
    distance: Tensor | None = None  # [B, P], for models that measure one
    maps: Tensor | None = None  # [B, P, h, w], similarity at each place, for prototypes that stand at places

    def cpu(self) -> Self:
        """The same on the CPU, without a graph."""
        values = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        return replace(self, **{name: value.detach().cpu() for name, value in values if value is not None})


@dataclass(frozen=True)
class Provenance:
    """The training image that stands for a prototype, and the box of the prototype in it, if it has one."""

    split: str
    index: int  # position in the split
    name: str  # what people call the image
    label: str
    similarity: float
    box: tuple[int, int, int, int] | None = None  # left, top, right, bottom in pixels


class PrototypeModel(nn.Module, ABC):
    """An image classifier that decides by its similarity to prototypes.

    Images are floats [B, C, H, W] in [0, 1]. A subclass fills the slots, and says what it has seen (`evidence`), what
    a unit of similarity adds to each logit (`prototype_weights`), what it learns from (`losses`), and when (`stages`).
    """

    name: ClassVar[str]  # set by @register
    prototypes: VectorPrototypes

    def __init__(self, settings: Any, task: Task):
        super().__init__()
        self.settings = settings
        self.task = task
        self.provenance: list[Provenance | None] = []

    @abstractmethod
    def evidence(self, images: Tensor) -> Evidence:
        """[B, C, H, W] -> Evidence."""

    @abstractmethod
    def prototype_weights(self) -> Tensor:
        """What one unit of similarity to each prototype adds to each logit, [P, K]."""

    @abstractmethod
    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        """Unweighted scalar loss terms by name; the stage holds their weights. epoch counts from 0 in the stage."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The calendar of training."""

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, K]."""
        return self.evidence(images).logits

    def bias(self) -> Tensor:
        """What the logits are without any prototype, [K]."""
        return self.prototype_weights().new_zeros(len(self.task.classes))

    def class_of(self) -> Tensor:
        """The class that each prototype speaks for most, [P]."""
        return self.prototype_weights().argmax(dim=1)

    def contributions(self, evidence: Evidence) -> Tensor:
        """What each prototype adds to each logit, [B, P, K]: with the bias, their sum over prototypes is the logits."""
        return evidence.similarity[:, :, None] * self.prototype_weights()

    def decode(self, code: Tensor) -> Tensor | None:
        """Pictures of codes, [B, D] -> [B, C, H, W] in [0, 1]; None for a model without a decoder."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.parameters()).device
