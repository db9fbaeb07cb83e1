"""Terms that keep prototypes apart, and in reach of images.

prototypes: [P, D]; class_of: [P], the class of each. Classes may have different numbers of prototypes; one without any
does not count.
"""

import math

import torch
from torch import Tensor

from protolens.nn.precision import in_full_precision
from protolens.nn.prototypes import slots_of

JITTER = 1e-10  # added to the diagonal of a Gram matrix, as a share of its mean
SMALLEST = 1e-30  # added, too: all prototypes may be zero
LARGEST = 1e3  # of 1 / volume, beyond which it goes on with the log; in training it stays below 0.1


@in_full_precision
def orthonormality(prototypes: Tensor, class_of: Tensor, squared: bool = False) -> Tensor:
    """Mean over classes of the Frobenius norm ||C C^T - I||, with C the prototypes minus their mean (ProtoVAE).

    The published code takes the norm, the paper its square.
    """
    vectors, there = by_class(prototypes, class_of)
    centre = vectors.sum(dim=1, keepdim=True) / there.sum(dim=1)[:, None, None]
    centred = (vectors - centre) * there[:, :, None]
    error = (centred @ centred.mT - torch.diag_embed(there.to(vectors.dtype))).flatten(1)
    norm = error.square().sum(dim=1) if squared else torch.linalg.vector_norm(error, dim=1)
    return norm.mean()


def inverse_volume(prototypes: Tensor, class_of: Tensor, scale: float = 1.0) -> Tensor:
    """Mean over classes of 1 / sqrt(det(scale * V V^T)), with V the prototypes of the class, [M, D] (Pantypes).

    At the volumes of training its gradient is next to nothing: a barrier against collapse. Beyond 1000 it grows with
    the log of itself, so that it and its gradient are finite for equal prototypes and for more of them than features.
    """
    excess = -log_volumes(prototypes, class_of, scale) - math.log(LARGEST)
    return (LARGEST * (excess.clamp_max(0).exp() + excess.clamp_min(0))).mean().to(prototypes)


def negative_log_volume(prototypes: Tensor, class_of: Tensor, scale: float = 1.0) -> Tensor:
    """Mean over classes of -log sqrt(det(scale * V V^T)): the same aim by a gradient that does not fade."""
    return -log_volumes(prototypes, class_of, scale).mean().to(prototypes)


def log_volumes(prototypes: Tensor, class_of: Tensor, scale: float = 1.0) -> Tensor:
    """log sqrt(det(scale * V V^T)) of each class that has prototypes, V: [M, D]. Returns float64, finite for any V.

    20 prototypes of N(0, 1) with 512 features have a determinant of 1e54, too much for float32; the log has not.
    """
    if prototypes.device.type == "mps":  # which has no float64
        prototypes, class_of = prototypes.cpu(), class_of.cpu()
    vectors, there = by_class(prototypes.double(), class_of)
    gram = scale * vectors @ vectors.mT
    counts = there.sum(dim=1, keepdim=True)
    jitter = JITTER * gram.detach().diagonal(dim1=1, dim2=2).sum(dim=1, keepdim=True) / counts
    # a place without a prototype gets a one: the determinant stays that of the others
    diagonal = torch.where(there, jitter + SMALLEST, 1.0)
    factor, _ = torch.linalg.cholesky_ex(gram + torch.diag_embed(diagonal))
    return factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)


def distance_beyond(distance: Tensor, margin: float) -> Tensor:
    """Mean over prototypes of what the distance to the nearest code of the batch exceeds the margin. distance: [B, P].

    Pulls back a prototype that has left all codes, and leaves the others alone.
    """
    return (distance.amin(dim=0) - margin).clamp_min(0).mean()


def by_class(prototypes: Tensor, class_of: Tensor) -> tuple[Tensor, Tensor]:
    """Prototypes by class, filled up with zeros: [K, M, D], and which places hold one: [K, M].

    K counts the classes that have a prototype, M is the largest number of prototypes of one.
    """
    slots = slots_of(class_of, int(class_of.max()) + 1)
    slots = slots[(slots >= 0).any(dim=1)]
    there = slots >= 0
    return prototypes[slots].masked_fill(~there[:, :, None], 0), there
