"""Prototypes as vectors in the space of codes, and how far a code is from each."""

import torch
from torch import Tensor, nn


def squared_euclidean(code: Tensor, prototypes: Tensor) -> Tensor:
    """Squared Euclidean distance of each code to each prototype. [B, D], [P, D] -> [B, P].

    Differences are taken before squaring, so the result is never negative, as the expanded form can be.
    """
    return (code[:, None] - prototypes).square().sum(dim=2)


def euclidean(code: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distance of each code to each prototype. [B, D], [P, D] -> [B, P]; its gradient at 0 is 0."""
    return torch.linalg.vector_norm(code[:, None] - prototypes, dim=2)


class VectorPrototypes(nn.Module):
    """P free vectors in the code space, `vectors` [P, D]: Xavier-uniform at the start."""

    def __init__(self, prototypes: int, features: int):
        super().__init__()
        self.vectors = nn.Parameter(nn.init.xavier_uniform_(torch.empty(prototypes, features)))

    def __len__(self) -> int:
        return len(self.vectors)
