"""Pictures of a model's doubt: own images that it refused, mistakes that it was sure of, strangers that it answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from protolens.data import Images
from protolens.data.pictures import to_png
from protolens.evaluation.uncertainty import median
from protolens.files import write_bytes

SHOWN = 8  # images of each kind
FOLDER = "uncertainty"


@dataclass(frozen=True)
class Answered:
    """Images of one kind, and what was said of them. posterior: [S, N, K]; classes: of the labels, none for noise."""

    images: Images
    posterior: Tensor
    classes: Sequence[str]


def choose_refused(posterior: Tensor, least: float) -> Tensor:
    """Positions of refused images, those of the lowest median probability first. [S, N, K]."""
    highest = median(posterior).amax(dim=1)
    order = highest.argsort(stable=True)
    return order[highest[order] <= least][:SHOWN]


def choose_answered(posterior: Tensor, least: float, among: Tensor | None = None) -> Tensor:
    """Positions of answered images, the surest first. [S, N, K]; among: [N] of bool, those that may be chosen."""
    highest = median(posterior).amax(dim=1)
    order = highest.argsort(descending=True, stable=True)
    kept = highest[order] > least
    return order[kept if among is None else kept & among[order]][:SHOWN]


def doubtful(
    own: Answered, others: dict[str, Answered], least: float, classes: Sequence[str], folder: Path | None
) -> dict[str, Any]:
    """Entries of uncertainty.json; their pictures are written below a run's folder, where one is given.

    classes: that the model knows; least: probability from which on it answers.
    """
    wrong = median(own.posterior).argmax(dim=1) != own.images.labels

    def entries(kind: str, answered: Answered, chosen: Tensor) -> list[dict[str, Any]]:
        return written(shown(answered, chosen, classes), kind, folder)

    return {
        "refused": entries("refused", own, choose_refused(own.posterior, least)),
        "wrong": entries("wrong", own, choose_answered(own.posterior, least, wrong)),
        "others": {
            name: entries(f"other-{number}", each, choose_answered(each.posterior, least))
            for number, (name, each) in enumerate(others.items())
        },
    }


def shown(kind: Answered, chosen: Tensor, classes: Sequence[str]) -> list[tuple[dict[str, Any], Tensor]]:
    """What is said of some images, with their pixels [C, H, W]."""
    if not len(chosen):
        return []
    probabilities, said = median(kind.posterior[:, chosen]).max(dim=1)
    rows = zip(chosen.tolist(), said.tolist(), probabilities.tolist(), kind.images.take(chosen), strict=True)
    return [
        (
            {
                "image": kind.images.names[index],
                "index": index,
                "label": kind.classes[int(kind.images.labels[index])] if kind.classes else None,
                "said": classes[answer],
                "probability": probability,
            },
            pixels,
        )
        for index, answer, probability, pixels in rows
    ]


def written(rows: Sequence[tuple[dict[str, Any], Tensor]], kind: str, folder: Path | None) -> list[dict[str, Any]]:
    """The entries, with where each picture lies."""
    entries = []
    for number, (entry, pixels) in enumerate(rows):
        name = f"{FOLDER}/{kind}-{number}.png"
        if folder is not None:
            write_bytes(folder / name, to_png(pixels))
        entries.append(entry | {"picture": name})
    return entries
