"""Codes in a plane, so that people can see them: for distances and for dot products the linear plane that keeps most.

Both are fitted on codes; prototypes are put into the plane of the codes and do not bend it.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch
from scipy.linalg import eigh
from torch import Tensor

from protolens.errors import ProtolensError

DISTINCT = 1e-12  # of the squared lengths: below it vectors all lie at the origin


@dataclass(frozen=True)
class Plane:
    """An origin [D] in the space of codes and two axes [2, D] of length 1 at right angles, both in float64."""

    origin: Tensor
    axes: Tensor

    def place(self, vectors: Tensor) -> Tensor:
        """Where vectors fall when they drop onto the plane. [N, D] -> [N, 2]."""
        return (vectors.double() - self.origin) @ self.axes.T

    def kept(self, vectors: Tensor) -> float:
        """The share of the vectors' squared distances from the origin that the plane keeps; 1 if all lie there."""
        whole = float((vectors.double() - self.origin).square().sum())
        return float(self.place(vectors).square().sum()) / whole if whole > DISTINCT else 1.0


def plane_of_distances(codes: Tensor) -> Plane:
    """The plane through the mean that keeps most of the squared distances between codes: PCA. codes: [N, D]."""
    mean = codes.double().mean(dim=0)
    return Plane(mean, main_axes(codes.double() - mean))


def plane_of_dot_products(codes: Tensor) -> Plane:
    """The plane through zero whose dot products differ least from those of the codes: an SVD without centring.

    No other two numbers a code give a table of dot products with a smaller sum of squared differences (Eckart, Young
    1936; classical scaling of the Gram matrix). codes: [N, D].
    """
    return Plane(torch.zeros(codes.shape[1], dtype=torch.float64), main_axes(codes.double()))


def main_axes(vectors: Tensor) -> Tensor:
    """The two directions that hold most of the vectors' squared lengths, [N, D] -> [2, D]; the first holds most.

    The largest entry of each is positive, so that a picture does not turn over. Of vectors of one number the second
    axis is zero.
    """
    features = vectors.shape[1]
    _, found = eigh((vectors.T @ vectors).numpy(), subset_by_index=[max(0, features - 2), features - 1])
    axes = torch.zeros(2, features, dtype=torch.float64)
    axes[: found.shape[1]] = torch.from_numpy(found[:, ::-1].T.copy())
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return axes * torch.where(largest < 0, -1.0, 1.0)


def bent_plane(
    codes: Tensor, others: Tensor, metric: Literal["euclidean", "cosine"], seed: int
) -> tuple[Tensor, Tensor]:
    """UMAP of the codes, and others put into it afterwards: [N, D], [M, D] -> [N, 2], [M, 2].

    McInnes, Healy, Melville: UMAP, arXiv:1802.03426. For dot products the metric is cosine: a dot product alone tells
    no neighbours, since long codes would be the neighbours of all.
    """
    found = open_umap().UMAP(n_components=2, metric=metric, random_state=seed % 2**32, n_jobs=1).fit(codes.numpy())
    return torch.from_numpy(found.embedding_).double(), torch.from_numpy(found.transform(others.numpy())).double()


def open_umap() -> ModuleType:
    """The package umap. Raises ProtolensError where it is not installed."""
    try:
        import umap
    except ImportError:
        raise ProtolensError("train.map_of_codes = umap needs the extra: pip install 'protolens[umap]'") from None
    return umap
