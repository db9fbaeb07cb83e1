"""One look at the images that a doctor may see: what wins each, what decides, and how far prototypes are from codes.

For N images, P prototypes and K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from protolens.config import seed_of
from protolens.data import Images, plain_batches, to_float
from protolens.evaluation.interpretation import to_predicted
from protolens.evaluation.transparency import winners
from protolens.models import Evidence, PrototypeModel, evaluation_mode
from protolens.models.kmex import KMEx
from protolens.nn import expanded_distance
from protolens.train import batch_for

PROBES = 2000  # images whose own nearest neighbours are looked for
PRODUCTS, FEWEST = 1 << 37, 200  # multiplications that this may take, some seconds of a core; probes at least


@dataclass(frozen=True)
class Seen:
    """What a model sees in N images of some splits, on the CPU."""

    labels: Tensor  # [N], or [N, K] zeros and ones
    similarity: Tensor  # [N, P]
    wins: Tensor  # [N, P], how much of each image a prototype wins, rows sum to 1, `by` what
    by: str  # "similarity", "places" (those where it is the most similar one), or "contribution"
    leads: Tensor  # [N, P], 1 for the prototype that adds most to the likeliest class, of equal ones a share
    places: Tensor | None  # [N, P], row x width + column where a prototype is found; None without one such place
    grid: tuple[int, int] | None  # height and width of the map of places
    nearest: Tensor | None  # [P], distance of each prototype to the nearest code; None where it has none in code space
    usual_nearest: Tensor | None  # [Q], the same of codes of Q images drawn at random, to those of other images


def stands_among_codes(model: PrototypeModel, evidence: Evidence) -> str | None:
    """How prototypes are compared with codes: by "distance" or "direction"; None where they are rows of a layer."""
    if evidence.distance is not None:
        return "distance"
    return "direction" if isinstance(model, KMEx) else None


@torch.inference_mode()
def see(model: PrototypeModel, splits: Sequence[Images], seed: int) -> Seen:
    """One pass over the splits, without augmentation, in evaluation mode. seed: draws the probes."""
    with evaluation_mode(model):
        first = model.evidence(to_float(splits[0].take(torch.tensor([0])), model.device))
        summed = model.contributions_of_places(first) is not None
        neighbours = Neighbours.begin(model, splits, first, seed)
        columns: list[list[Tensor]] = [[], [], [], [], []]
        for images in splits:
            for batch in plain_batches(images, batch_for(images), model.device):
                found = model.evidence(batch.images)
                if neighbours:
                    neighbours.meet(found.code)
                contributions = to_predicted(model.contributions(found), found.logits)
                row = (
                    batch.labels,
                    found.similarity,
                    contributions,
                    found.logits.argmax(dim=1),
                    _places(found, summed),
                )
                for column, values in zip(columns, row, strict=True):
                    column.append(values.cpu())
    labels, similarity, contributions, predicted, places = (torch.cat(column) for column in columns)
    leads = leading(model, similarity, contributions, predicted)
    # what rows of a layer give has no common scale: the largest one means nothing
    by = "places" if summed else "similarity" if stands_among_codes(model, first) else "contribution"
    return Seen(
        labels=labels,
        similarity=similarity,
        wins={"places": places, "similarity": winners(similarity), "contribution": leads}[by],
        by=by,
        leads=leads,
        places=None if summed or first.maps is None else places,
        grid=None if first.maps is None else (first.maps.shape[2], first.maps.shape[3]),
        nearest=neighbours.of_prototypes() if neighbours else None,
        usual_nearest=neighbours.of_probes() if neighbours else None,
    )


def _places(found: Evidence, summed: bool) -> Tensor:
    """[B, P]: the share of places that each prototype wins where all places count, else where it is found."""
    if found.maps is None:
        return found.similarity.new_zeros(len(found.similarity), 0)
    if not summed:
        return found.maps.flatten(2).argmax(dim=2)
    return F.one_hot(found.maps.flatten(2).argmax(dim=1), found.maps.shape[1]).double().mean(dim=1)


def leading(model: PrototypeModel, similarity: Tensor, contributions: Tensor, predicted: Tensor) -> Tensor:
    """One for the prototype that speaks most for the likeliest class, of equal ones a share: [N, P], rows sum to 1.

    By the lift, what it adds beyond what it adds at its usual similarity; where a head chooses, by all that it adds.
    similarity, contributions: [N, P]; predicted: [N].
    """
    lift = contributions.double()
    if model.linear:
        lift -= similarity.double().mean(dim=0) * model.prototype_weights().detach().cpu().double().T[predicted]
    return winners(lift)


@dataclass
class Neighbours:
    """The smallest distance from each of some vectors to the codes that were met: of Q probes, then of P prototypes.

    A probe is the code of an image, at one place where it has several; the codes of that image do not count for it.
    """

    vectors: Tensor  # [Q + P, D], from their middle
    own: Tensor  # [Q + P], number of the image that a vector is of, -1 for prototypes
    nearest: Tensor  # [Q + P]
    prototypes: int
    turned: bool  # whether directions are compared
    middle: Tensor  # [D], which is subtracted from all: distances stay, and what rounding takes from them shrinks
    met: int = 0

    @classmethod
    def begin(cls, model: PrototypeModel, splits: Sequence[Images], first: Evidence, seed: int) -> "Neighbours | None":
        """Draw the probes; None for prototypes that do not stand among codes. first: the evidence of an image."""
        kind = stands_among_codes(model, first)
        if kind is None:
            return None
        images, each = sum(map(len, splits)), first.code[0].numel()
        count = min(PROBES, images, max(FEWEST, PRODUCTS // (images * each)))
        generator = Generator().manual_seed(seed_of(seed, "probes"))
        chosen = torch.randperm(images, generator=generator)[:count].sort().values
        codes = torch.cat([_flat(model.code(pixels)) for pixels in _taken(model, splits, chosen)])
        place = torch.randint(codes.shape[1], (count,), generator=generator).to(codes.device)
        prototypes = model.prototypes.vectors
        vectors = torch.cat([codes[torch.arange(count, device=codes.device), place], prototypes])
        own = torch.cat([chosen, torch.full((len(prototypes),), -1)]).to(codes.device)
        nearest = torch.full((len(vectors),), torch.inf, device=codes.device)
        turned = kind == "direction"
        vectors = F.normalize(vectors) if turned else vectors
        middle = vectors.mean(dim=0)
        return cls(vectors - middle, own, nearest, len(prototypes), turned, middle)

    def meet(self, code: Tensor) -> None:
        """Compare the next images with all vectors. code: [B, D] or [B, D, h, w]."""
        codes = _flat(code)
        codes = F.normalize(codes, dim=2) if self.turned else codes
        apart = (
            expanded_distance((codes - self.middle).flatten(0, 1), self.vectors).view(*codes.shape[:2], -1).amin(dim=1)
        )
        numbers = torch.arange(self.met, self.met + len(codes), device=codes.device)
        apart.masked_fill_(numbers[:, None] == self.own, torch.inf)
        self.nearest = torch.minimum(self.nearest, apart.amin(dim=0))
        self.met += len(codes)

    def of_probes(self) -> Tensor:
        """Euclidean distances of the probes, [Q] on the CPU; without those that met no other image."""
        found = self.nearest[: -self.prototypes].sqrt().cpu()
        return found[found.isfinite()]

    def of_prototypes(self) -> Tensor:
        """Euclidean distances of the prototypes, [P] on the CPU."""
        return self.nearest[-self.prototypes :].sqrt().cpu()


def _flat(code: Tensor) -> Tensor:
    """Codes with the places of each image in a row: [B, D] or [B, D, h, w] -> [B, L, D]."""
    return code[:, None] if code.ndim == 2 else code.flatten(2).mT


def _taken(model: PrototypeModel, splits: Sequence[Images], chosen: Tensor) -> Iterator[Tensor]:
    """The images with these numbers, counted over all splits, as batches [B, C, H, W]. chosen: in order."""
    start = 0
    for images in splits:
        own = chosen[(chosen >= start) & (chosen < start + len(images))] - start
        for some in own.split(batch_for(images)):
            yield to_float(images.take(some), model.device)
        start += len(images)
