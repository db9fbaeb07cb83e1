"""What the maps of prototypes or concepts show, against masks that say the class of each pixel.

Each place of a map belongs to its most similar prototype, and each prototype to the class that most of its pixels have
in the training images. N images, P prototypes, K classes; a table [P, K] counts pixels.
"""

from typing import Any

import numpy as np
import torch
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional as F

from protolens.data import Images, plain_batches
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import Team, batch_for

NO_CLASS = 255  # of a pixel


def scores_of_masks(model: PrototypeModel, training: Images, asked: Images, team: Team) -> dict[str, Any] | None:
    """How well the maps of a split tell classes apart; None without masks, or for a model without maps.

    Beside the figures of a table what always saying the most common class of the training pixels reaches, and for each
    prototype the number of the class that most of its training pixels have, with its share of the pixels asked.
    """
    if not asked.has_masks or model.network_of_places() is None:
        return None
    classes = len(model.task.classes)
    learnt, found = (tables(model, images, classes, team) for images in (training, asked))
    class_of, common = majority(learnt), learnt.sum(dim=0).argmax()
    always = figures_of_table(found, torch.full_like(class_of, int(common)))
    return figures_of_table(found, class_of) | {
        "always_most_common_class": {name: always[name] for name in ("pixel_accuracy", "mean_iou")},
        "prototypes": [
            {"class": own, "purity": float(row[own] / row.sum()) if row.any() else None}
            for own, row in zip(class_of.tolist(), found, strict=True)
        ],
    }


@torch.inference_mode()
def tables(model: PrototypeModel, images: Images, classes: int, team: Team) -> Tensor:
    """Pixels of each class that belong to each prototype, over a split, [P, K]."""
    prototypes, first = len(model.prototypes), 0
    table = torch.zeros(prototypes, classes, dtype=torch.int64, device=team.device)
    mine = torch.arange(len(images)).tensor_split(team.size)[team.rank]
    with evaluation_mode(model):
        for batch in plain_batches(images, batch_for(images), team.device, team.rank, team.size):
            maps = model.evidence(batch.images).maps
            assert maps is not None
            masks = images.masks(mine[first : first + len(maps)]).to(team.device)
            table += count(maps.argmax(dim=1), masks, prototypes, classes)
            first += len(maps)
    return team.sum(table).cpu()


def count(places: Tensor, masks: Tensor, prototypes: int, classes: int) -> Tensor:
    """How many pixels of each class belong to each prototype, [P, K].

    places: [B, h, w], the prototype of each place, which all pixels under it belong to; masks: uint8 [B, H, W], pixels
    of NO_CLASS do not count.
    """
    large = F.interpolate(places[:, None].float(), masks.shape[1:], mode="nearest-exact").squeeze(1).long()
    known = masks != NO_CLASS
    both = large[known] * classes + masks[known].long()
    return torch.bincount(both, minlength=prototypes * classes).view(prototypes, classes)


def majority(table: Tensor) -> Tensor:
    """The class that most pixels of each prototype have, [P]; for one without pixels, the most common class of all."""
    return torch.where(table.sum(dim=1) > 0, table.argmax(dim=1), table.sum(dim=0).argmax())


def figures_of_table(table: Tensor, class_of: Tensor) -> dict[str, Any]:
    """The figures of a split. table: [P, K]; class_of: [P], the class that each prototype stands for.

    pixel_accuracy, and the intersection over union of each class (None for one that is neither there nor said) with
    its mean; purity: share of pixels that have the class which most of their prototype's pixels have here;
    normalised_mutual_information: 2 I / (H + H'), which knows of no assignment.
    """
    classes = table.shape[1]
    told = torch.zeros(classes, classes, dtype=table.dtype).index_add_(0, class_of, table)
    right, union = told.diagonal(), told.sum(dim=0) + told.sum(dim=1) - told.diagonal()
    overlaps = [float(r / u) if u else None for r, u in zip(right, union, strict=True)]
    known = [value for value in overlaps if value is not None]
    pixels = int(table.sum())
    return {
        "pixels": pixels,
        "pixel_accuracy": float(right.sum()) / pixels,
        "mean_iou": sum(known) / len(known),
        "iou": overlaps,
        "purity": float(table.amax(dim=1).sum()) / pixels,
        "normalised_mutual_information": normalised_mutual_information(table),
    }


def normalised_mutual_information(table: Tensor) -> float:
    """Mutual information of rows and columns by the mean of their entropies; 0 where both have none. table: [P, K]."""
    joint = table.double().numpy() / float(table.sum())
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    entropies = float(entropy(rows) + entropy(columns))
    shared = entropies - float(entropy(joint.ravel()))
    return float(np.clip(2 * shared / entropies, 0, 1)) if entropies > 0 else 0.0
