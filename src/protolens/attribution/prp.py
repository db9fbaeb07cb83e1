"""Relevance of prototypes: what in the image makes it like one, or speaks for a class by all of them.

Gautam, Höhne, Hansen, Jenssen, Kampffmeyer: This looks more like that, Pattern Recognition 2023, arXiv:2108.12204.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from protolens.attribution.lrp import start
from protolens.attribution.rules import STABILISER, stabilised
from protolens.models import Evidence, PrototypeModel
from protolens.nn import log_ratio

DEFAULT = "epsilon-plus-box"


def prp(model: PrototypeModel, images: Tensor, prototypes: Sequence[int], composite: str = DEFAULT) -> Tensor:
    """Relevance of every pixel and band for the similarity to each prototype: [B, Q, C, H, W].

    images: [B, C, H, W] in [0, 1]; prototypes: which, Q of them. The similarity is divided among the numbers of the
    code by `channel_shares`, where prototypes stand at places at those that it comes from, and goes on by the rules of
    the composite. Of a model whose similarity is minus a distance `likeness` is divided instead.
    """
    return prp_of_own(model, images, torch.tensor(list(prototypes)).expand(len(images), -1), composite)


def prp_of_own(model: PrototypeModel, images: Tensor, own: Tensor, composite: str = DEFAULT) -> Tensor:
    """The same for other prototypes of each image, all images at once: [B, Q, C, H, W]. own: [B, Q], which."""
    reading = Reading(model, images, composite)
    similarity = reading.evidence.similarity
    divided = likeness(reading.evidence)
    amount = torch.ones_like(similarity)
    if divided is not similarity:
        amount = divided / similarity.clamp_max(-STABILISER)
    return torch.stack([reading.relevance_of(each, amount) for each in own.to(images.device).T], dim=1)


def likeness(evidence: Evidence) -> Tensor:
    """The similarity, of which pixels can have shares, [B, P].

    Where it is minus a distance d, which no pixel speaks for, log((d + 1) / (d + epsilon)) takes its place: above zero
    and in the same order.
    """
    if evidence.distance is None or (evidence.similarity > 0).any():
        return evidence.similarity
    return log_ratio(evidence.distance)


def class_relevance(model: PrototypeModel, images: Tensor, targets: Tensor, composite: str = DEFAULT) -> Tensor:
    """Relevance of every pixel and band for what all prototypes add to the logit of a class: [B, C, H, W].

    targets: [B], the class of each image. Where whole codes are compared by distance, `brought_nearer` divides what is
    added; else `channel_shares`.
    """
    reading = Reading(model, images, composite)
    weights = model.weights_for(reading.evidence)[torch.arange(len(images)), :, targets].detach()
    with torch.no_grad():
        by_distance = reading.code.ndim == 2 and reading.evidence.distance is not None
        reference = model.alike(torch.zeros_like(reading.code[:1])) if by_distance else None
    if reference is None:
        return reading.relevance(weights)
    gained = weights * (reading.evidence.similarity - reference)
    return reading.flow.relevance(reading.code, brought_nearer(reading.code.detach(), model.prototypes.vectors, gained))


class Reading:
    """A model that has looked at images, and from whose prototypes relevance can go back to the pixels."""

    def __init__(self, model: PrototypeModel, images: Tensor, composite: str):
        self.model = model
        with torch.no_grad():
            self.evidence = model.evidence(images)
            with start(images, composite) as self.flow:
                code = model.code(self.flow.images)
            self.code = self.flow.carried(code)

    @torch.no_grad()
    def relevance(self, weights: Tensor) -> Tensor:
        """For the sum of similarities times weights [B, P], which are seldom all above zero: [B, C, H, W]."""
        code, vectors = self.code.detach(), self.model.prototypes.vectors
        places = self.model.similarity_of_places(self.evidence)
        total = torch.zeros_like(code)
        for number in weights.any(dim=0).nonzero().flatten().tolist():
            shares = channel_shares(code, vectors[number], near=self.evidence.distance is not None)
            part = (self.evidence.similarity if places is None else places)[:, number, None]
            weight = weights[:, number].view(-1, *[1] * (code.ndim - 1))
            total += weight * part * shares
        return self.flow.relevance(self.code, total)

    @torch.no_grad()
    def relevance_of(self, numbers: Tensor, amount: Tensor) -> Tensor:
        """For the similarity of each image to a prototype of its own, by an amount: [B, C, H, W].

        numbers: [B], which prototype; amount: [B, P], what similarities are multiplied by.
        """
        code, vectors = self.code.detach(), self.model.prototypes.vectors
        places, rows = self.model.similarity_of_places(self.evidence), torch.arange(len(numbers), device=code.device)
        shares = channel_shares(code, vectors[numbers], near=self.evidence.distance is not None)
        part = (self.evidence.similarity if places is None else places)[rows, numbers, None]
        weight = amount[rows, numbers].view(-1, *[1] * (code.ndim - 1))
        return self.flow.relevance(self.code, weight * part * shares)


@torch.no_grad()
def brought_nearer(code: Tensor, vectors: Tensor, gained: Tensor) -> Tensor:
    """What each number of a code gains over a code of zeros: [B, D], whose sum over D is that of gained over P.

    code: [B, D]; vectors: [P, D]; gained: [B, P], what the similarity to each prototype adds beyond that of a code of
    zeros. A number brings z (2 p - z) of the squared distance that the code is nearer; it has that share of what is
    gained. The rescale rule (Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685, sec. 3.5.1) for a distance.
    """
    nearer = 2 * code @ vectors.T - code.square().sum(dim=1, keepdim=True)
    rate = gained / stabilised(nearer, STABILISER)
    return code * (2 * rate @ vectors - code * rate.sum(dim=1, keepdim=True))


def channel_shares(code: Tensor, vector: Tensor, *, near: bool) -> Tensor:
    """How much of the similarity each number of the code makes; sums to 1 over the D of them, but for the stabiliser.

    code: [B, D, ...]; vector: [D], or [B, D]; returns [B, D, ...]. near: for similarity by distance, in proportion to
    1 / ((z - p)^4 + 1e-12), so that the nearest numbers count; else, for the dot product, to z p.
    """
    vector = vector.view(*vector.shape, *[1] * (code.ndim - 2))
    parts = 1 / ((code - vector) ** 4 + 1e-12) if near else code * vector
    return parts / stabilised(parts.sum(dim=1, keepdim=True), 0.0 if near else STABILISER)
