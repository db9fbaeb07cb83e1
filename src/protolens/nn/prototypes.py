"""Prototypes as vectors in the space of codes, how far a code is from each, and how alike that makes them."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from protolens.nn.precision import in_full_precision

EPSILON = 1e-4  # of the log ratio in the code of ProtoPNet, ProtoVAE and Pantypes


@in_full_precision
def squared_euclidean(code: Tensor, prototypes: Tensor) -> Tensor:
    """Squared Euclidean distance of each code to each prototype. [B, D], [P, D] -> [B, P].

    Differences are taken before squaring, so the result is never negative, as the expanded form can be.
    """
    return (code[:, None] - prototypes).square().sum(dim=2)


@in_full_precision
def euclidean(code: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distance of each code to each prototype. [B, D], [P, D] -> [B, P]; its gradient at 0 is 0."""
    return torch.linalg.vector_norm(code[:, None] - prototypes, dim=2)


def log_ratio(distance: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Similarity log((d + 1) / (d + epsilon)) of a distance, of any shape: log(1 / epsilon) at 0 (ProtoPNet, sec. 2.1).

    ProtoPNet puts the squared Euclidean distance in, the code of ProtoVAE and Pantypes the Euclidean one.
    """
    return torch.log((distance + 1) / (distance + epsilon))


@runtime_checkable
class HoldsPrototypes(Protocol):
    """A part of a model that has something for each prototype."""

    def keep(self, kept: Tensor) -> None:
        """Drop what belongs to all prototypes but these. kept: positions, [Q]."""


@runtime_checkable
class SpeaksForClasses(Protocol):
    """A part of a model that says for which class a prototype speaks."""

    def move(self, prototype: int, own: int, to: int, /) -> None:
        """What it has of this prototype for its own class and for another one changes places."""


class VectorPrototypes(nn.Module):
    """P free vectors in the code space, `vectors` [P, D]: Xavier-uniform at the start."""

    def __init__(self, prototypes: int, features: int):
        super().__init__()
        self.vectors = nn.Parameter(nn.init.xavier_uniform_(torch.empty(prototypes, features)))

    def __len__(self) -> int:
        return len(self.vectors)

    def keep(self, kept: Tensor) -> None:
        """Drop all vectors but these. kept: [Q]."""
        self.vectors = kept_part(self.vectors, kept)


class ClassPrototypes(VectorPrototypes):
    """Vectors of classes, those of a class side by side; `class_of` [P] is the class of each.

    per_class: how many each class has, or a number for each of them. `slots` [K, M] is the table of `slots_of`.
    """

    class_of: Tensor
    slots: Tensor

    def __init__(self, per_class: int | Sequence[int], classes: int, features: int):
        counts = torch.tensor(per_class).expand(classes)
        super().__init__(int(counts.sum()), features)
        self.register_buffer("class_of", torch.arange(classes).repeat_interleave(counts))
        # follows from class_of, so that no file holds it; a forward pass that made it could not be exported
        self.register_buffer("slots", slots_of(self.class_of, classes), persistent=False)

    def keep(self, kept: Tensor) -> None:
        """Drop all vectors but these. kept: [Q]."""
        super().keep(kept)
        self.class_of = self.class_of[kept]
        self.slots = slots_of(self.class_of, len(self.slots))

    def _load_from_state_dict(self, *given: Any, **named: Any) -> None:
        super()._load_from_state_dict(*given, **named)
        self.slots = slots_of(self.class_of, len(self.slots))

    def move(self, prototype: int, _own: int, to: int, /) -> None:
        """Give a prototype to another class; those of a class need not stand side by side any more."""
        self.class_of[prototype] = to
        self.slots = slots_of(self.class_of, len(self.slots))


def kept_part(parameter: Tensor, kept: Tensor, dim: int = 0) -> nn.Parameter:
    """A new parameter of these rows, or of what else `dim` counts. kept: [Q]."""
    return nn.Parameter(parameter.detach().index_select(dim, kept), requires_grad=parameter.requires_grad)


def slots_of(class_of: Tensor, classes: int) -> Tensor:
    """The prototypes of each class as a table [K, M], M being the most that a class has, filled up with -1.

    class_of: [P], the class of each prototype.
    """
    counts = torch.bincount(class_of, minlength=classes)
    columns = torch.arange(max(1, int(counts.max())), device=class_of.device)
    slots = class_of.new_full((classes, len(columns)), -1)
    return slots.masked_scatter(columns < counts[:, None], class_of.argsort(stable=True))
