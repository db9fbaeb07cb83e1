"""Where each prototype stands among the training images: who is nearest, who uses it, how near an image usually is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.data import Images, plain_batches, to_float
from protolens.data.pictures import to_png
from protolens.files import write_bytes, write_json
from protolens.models import PrototypeModel, Provenance, evaluation_mode
from protolens.nn import locate, receptive_boxes
from protolens.train.classes import classes_shown, in_words
from protolens.train.validation import batch_for


@dataclass(frozen=True)
class Trace:
    """One pass over a split, for P prototypes and K classes."""

    nearest: Tensor  # [P], index of the image most similar to each prototype
    similarity: Tensor  # [P], how similar that image is
    images: Tensor  # [P], images to which the prototype is the most similar one
    uses: Tensor  # [P, K], those of them that show a class
    usual: Tensor  # [P], mean similarity over all images
    distance: Tensor | None  # [P], from each prototype to the nearest code, for models that measure one


@torch.inference_mode()
def trace(model: PrototypeModel, images: Images, see: Callable[[Tensor, Tensor], None] | None = None) -> Trace:
    """Compare every image of a split with every prototype, without augmentation, in evaluation mode.

    see: is shown the codes and labels of each batch too.
    """
    prototypes, classes = len(model.prototypes), len(model.task.classes)
    nearest = torch.zeros(prototypes, dtype=torch.long, device=model.device)
    similarity = torch.full((prototypes,), -torch.inf, device=model.device)
    users = torch.zeros(prototypes, dtype=torch.long, device=model.device)
    uses = torch.zeros(prototypes, classes, dtype=torch.long, device=model.device)
    total = torch.zeros(prototypes, dtype=torch.float64, device=model.device)
    distance = torch.full((prototypes,), torch.inf, device=model.device)
    seen = 0
    with evaluation_mode(model):
        for batch in plain_batches(images, batch_for(images), model.device):
            evidence = model.evidence(batch.images)
            if see is not None:
                see(evidence.code, batch.labels)
            like = evidence.similarity
            if evidence.distance is not None:
                distance = torch.minimum(distance, evidence.distance.amin(dim=0))
            best, index = like.max(dim=0)
            nearest = torch.where(best > similarity, index + seen, nearest)
            similarity = torch.maximum(best, similarity)
            closest = like.argmax(dim=1)
            users += torch.bincount(closest, minlength=prototypes)
            uses.index_add_(0, closest, classes_shown(batch.labels, classes).long())
            total += like.sum(dim=0, dtype=torch.float64)
            seen += len(batch.labels)
    usual = (total / seen).float()
    known = distance.cpu() if bool(distance.isfinite().all()) else None
    return Trace(nearest.cpu(), similarity.cpu(), users.cpu(), uses.cpu(), usual.cpu(), known)


def whereabouts(model: PrototypeModel, images: Images) -> dict[str, Any]:
    """For each prototype: images to which it is the most similar one, its norm, and its distance to the nearest code.

    A line of history.jsonl, to follow used and unused prototypes over epochs (Pantypes, sec. 5).
    """
    found = trace(model, images)
    return {
        "uses": found.images.tolist(),
        "norm": model.prototypes.vectors.detach().norm(dim=1).tolist(),
        "distance": None if found.distance is None else found.distance.tolist(),
    }


def provenance(model: PrototypeModel, found: Trace, images: Images) -> list[Provenance | None]:
    """The training image that stands for each prototype, and its place there if it has one."""
    classes = model.task.classes
    shown = classes_shown(images.labels[found.nearest], len(classes))
    rows = zip(found.nearest.tolist(), shown, found.similarity.tolist(), places(model, found, images), strict=True)
    return [
        Provenance(images.name, index, images.names[index], in_words(own, classes), like, **where)
        for index, own, like, where in rows
    ]


@torch.inference_mode()
def places(model: PrototypeModel, found: Trace, images: Images) -> list[dict[str, Any]]:
    """For each prototype its place in its nearest image, with both boxes; nothing for models without places."""
    network = model.network_of_places()
    if network is None:
        return [{} for _ in found.nearest]
    fields = receptive_boxes(network, model.task.bands, model.task.size)
    where: list[dict[str, Any]] = []
    for some in torch.arange(len(found.nearest)).split(batch_for(images)):
        maps = model.evidence(to_float(images.take(found.nearest[some]), model.device)).maps
        assert maps is not None
        own = maps[torch.arange(len(some)), some.to(maps.device)].cpu()
        where += [
            {"place": place, "box": box, "field": tuple(fields[place].tolist())}
            for place, box in locate(own, model.task.size)
        ]
    return where


def write_prototypes(folder: Path, model: PrototypeModel, found: Trace, images: Images, digest: str) -> None:
    """Write prototypes.json, and for each prototype its nearest training image and, with a decoder, its picture."""
    with torch.inference_mode():
        decoded = model.decode_prototypes()
    nearest = images.take(found.nearest)
    entries = []
    for number in range(len(model.prototypes)):
        image = f"prototypes/{number:04d}-nearest.png"
        picture = f"prototypes/{number:04d}.png" if decoded is not None else None
        write_bytes(folder / image, to_png(nearest[number]))
        if decoded is not None:
            write_bytes(folder / f"prototypes/{number:04d}.png", to_png(decoded[number]))
        entries.append(_describe(model, found, number) | {"image": image, "decoded": picture})
    write_json(folder / "prototypes.json", {"model": digest, "data": images.digest, "prototypes": entries})


def _describe(model: PrototypeModel, found: Trace, number: int) -> dict[str, Any]:
    classes, uses = model.task.classes, found.uses[number]
    origin, count = model.provenance[number], int(found.images[number])
    return {
        "prototype": number,
        "class": classes[int(model.class_of()[number])],
        "weights": model.prototype_weights()[number].tolist(),
        "images": count,
        "uses": uses.tolist(),
        "purity": float(uses.max()) / count if count else None,
        "most_used_by": classes[int(uses.argmax())] if uses.any() else None,
        "usual_similarity": float(found.usual[number]),
        "nearest_distance": None if found.distance is None else float(found.distance[number]),
        "provenance": origin and vars(origin),
    }
