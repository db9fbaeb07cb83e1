"""What follows a stage: projection onto training patches, pruning of mixed prototypes, elimination of unused ones.

And what may come before the first: prototypes scattered over training patches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from protolens.data import Images, plain_batches, to_float
from protolens.models import PrototypeModel, evaluation_mode
from protolens.nn import own_distances, slots_of
from protolens.train.tracing import trace
from protolens.train.validation import batch_for


@dataclass
class Patches:
    """For each of P prototypes the n nearest patches found so far, nearest first: [P, n] each."""

    distance: Tensor  # squared Euclidean, inf where there is none
    image: Tensor  # position in the split
    place: Tensor  # row x width + column

    @classmethod
    def none(cls, prototypes: int, count: int, device: torch.device) -> "Patches":
        """Nothing found yet."""
        empty = torch.zeros(prototypes, count, dtype=torch.long, device=device)
        return cls(torch.full((prototypes, count), torch.inf, device=device), empty, empty)

    def merge(self, distance: Tensor, image: Tensor, place: Tensor) -> None:
        """Take candidates in, [P, m] each; of equal distances the one found first stays in front."""
        columns = ((self.distance, distance), (self.image, image), (self.place, place))
        every = [torch.cat(pair, dim=1) for pair in columns]
        order = every[0].argsort(dim=1, stable=True)[:, : self.distance.shape[1]]
        self.distance, self.image, self.place = (values.gather(1, order) for values in every)


@torch.no_grad()
def project(model: PrototypeModel, images: Images, *, distinct: bool = False) -> dict[str, object]:
    """Move each prototype onto the code of the nearest training patch of its class (ProtoPNet, sec. 2.3).

    In evaluation mode and without augmentation; a code without places is one patch. distinct: no two prototypes on one
    patch, the lower number chooses first. A prototype whose class has no image, or no patch left, stays where it is.
    """
    most = int(torch.bincount(model.class_of()).max()) if distinct else 1
    return move_to_patches(model, images, *choose(nearest_patches(model, images, most), distinct))


@torch.no_grad()
def scatter(model: PrototypeModel, images: Images) -> dict[str, object]:
    """Move each prototype onto the code of a random place of a random training image of its class.

    A start near the data, for codes of a pretrained backbone: between random prototypes and them all distances are
    alike. The caller seeds torch's global generator.
    """
    chosen = []
    for k in model.class_of().tolist():
        members = (images.labels == k).nonzero().flatten()
        chosen.append(int(members[torch.randint(len(members), ())]) if len(members) else -1)
    places = codes_at_places(model, to_float(images.take(torch.tensor([0])), model.device))[0, 0].numel()
    return move_to_patches(model, images, torch.tensor(chosen), torch.randint(places, (len(chosen),)))


def move_to_patches(model: PrototypeModel, images: Images, image: Tensor, place: Tensor) -> dict[str, object]:
    """Give each prototype the code of a place of an image, and say how far they moved.

    image, place: [P] on the CPU; a prototype with image -1 stays where it is.
    """
    vectors, targets = model.prototypes.vectors, []
    found = (image >= 0).nonzero().flatten()
    for some in found.split(batch_for(images)):
        codes = codes_at_places(model, to_float(images.take(image[some]), model.device))
        targets.append(codes.flatten(2)[torch.arange(len(some)), :, place[some].to(codes.device)])
    target, rows = torch.cat(targets), found.to(vectors.device)
    moved = (target - vectors[rows]).norm(dim=1)
    vectors[rows] = target
    taken = set(zip(image[found].tolist(), place[found].tolist(), strict=True))
    return {"projected": len(found), "patches": len(taken), "mean_move": float(moved.mean())}


def codes_at_places(model: PrototypeModel, images: Tensor) -> Tensor:
    """Codes as maps [B, D, h, w]; a model without places has maps of one."""
    with evaluation_mode(model):
        code = model.evidence(images).code
    return code if code.ndim == 4 else code[:, :, None, None]


def nearest_patches(model: PrototypeModel, images: Images, count: int = 1) -> Patches:
    """The `count` nearest patches of each prototype among the images of its class."""
    vectors, class_of = model.prototypes.vectors, model.class_of()
    slots = slots_of(class_of, len(model.task.classes))
    found = Patches.none(len(vectors), count, vectors.device)
    seen = 0
    for batch in plain_batches(images, batch_for(images), model.device):
        look(found, codes_at_places(model, batch.images), batch.labels, vectors, slots, seen)
        seen += len(batch.labels)
    return found


def look(found: Patches, codes: Tensor, labels: Tensor, prototypes: Tensor, slots: Tensor, seen: int) -> None:
    """Take the nearest patches of a batch in.

    codes: [B, D, h, w]; labels: [B]; slots: [K, M], of `slots_of`; seen: images before this batch.
    """
    count = found.distance.shape[1]
    distance, place = smallest(own_distances(codes, labels, prototypes, slots), count)
    # from a table of own prototypes [B, M, n] to one of all of them [P, B n]; empty slots go to a row that is cut off
    own = slots[labels]
    shape = (len(prototypes) + 1, *distance.shape[::2])
    rows, images = own.where(own >= 0, len(prototypes)), torch.arange(len(own), device=own.device)[:, None]
    wide, places = distance.new_full(shape, torch.inf), place.new_zeros(shape)
    wide[rows, images], places[rows, images] = distance, place
    best, column = smallest(wide[:-1].flatten(1), count)
    found.merge(best, column // distance.shape[2] + seen, places[:-1].flatten(1).gather(1, column))


def smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The smallest values of the last dimension and where they are, [..., min(count, n)] each."""
    if count == 1:  # several times faster
        return values.min(dim=-1, keepdim=True)
    return values.topk(min(count, values.shape[-1]), dim=-1, largest=False)


def choose(near: Patches, distinct: bool) -> tuple[Tensor, Tensor]:
    """Image and place for each prototype, [P] each on the CPU; the image is -1 where no patch is left."""
    taken: set[tuple[int, int]] = set()
    chosen = []
    for distances, images, places in zip(near.distance.tolist(), near.image.tolist(), near.place.tolist(), strict=True):
        candidates = zip(distances, images, places, strict=True)
        free = ((i, p) for d, i, p in candidates if d < float("inf") and not (distinct and (i, p) in taken))
        patch = next(free, (-1, 0))
        taken.add(patch)
        chosen.append(patch)
    image, place = torch.tensor(chosen).T
    return image, place


@torch.no_grad()
def prune(model: PrototypeModel, images: Images, *, nearest: int = 6, least: int = 3) -> dict[str, object]:
    """Drop prototypes of whose `nearest` nearest images fewer than `least` have their class (ProtoPNet, sec. 2.5).

    An image counts once, by its most similar patch. A class never loses its last prototype: its purest one stays.
    """
    similar = nearest_images(model, images, nearest)
    class_of = model.class_of().cpu()
    own = (images.labels[similar] == class_of[:, None]).sum(dim=1)
    return _drop(model, own >= least, own)


def nearest_images(model: PrototypeModel, images: Images, count: int) -> Tensor:
    """The images most similar to each prototype, over all classes, the most similar first: [P, count] on the CPU."""
    count = min(count, len(images))
    prototypes = len(model.prototypes)
    found = Patches.none(prototypes, count, model.device)
    seen = 0
    with evaluation_mode(model):
        for batch in plain_batches(images, batch_for(images), model.device):
            unlike = -model.evidence(batch.images).similarity.T
            best, column = smallest(unlike, count)
            found.merge(best, column + seen, column)
            seen += len(batch.labels)
    return found.image.cpu()


def eliminate(model: PrototypeModel, images: Images) -> dict[str, object]:
    """Drop prototypes that are the most similar one of no training image: they have left the data (Pantypes, sec. 5).

    A class never loses its last prototype: the one nearest to an image stays.
    """
    found = trace(model, images)
    return _drop(model, found.images > 0, found.similarity)


def _drop(model: PrototypeModel, stays: Tensor, rank: Tensor) -> dict[str, object]:
    class_of = model.class_of().cpu()
    for k in class_of.unique().tolist():
        members = (class_of == k).nonzero().flatten()
        if not stays[members].any():
            stays[members[rank[members].argmax()]] = True
    model.keep(stays.nonzero().flatten().to(model.device))
    return {"dropped": (~stays).nonzero().flatten().tolist(), "left": int(stays.sum())}
