"""How well a model does on a split: what selects the epoch in training, and what `evaluate` builds upon."""

import torch
from torch import Tensor

from protolens.data import Images, plain_batches
from protolens.models import PrototypeModel
from protolens.nn import classification
from protolens.train.team import Team

LARGEST_BATCH = 1000


@torch.inference_mode()
def predict(model: PrototypeModel, images: Images, team: Team) -> Tensor:
    """Logits of every image of a split, [N, K] on the CPU, in order; the model is left in the mode it was in."""
    training = model.training
    model.eval()
    parts = [model(batch.images) for batch in plain_batches(images, LARGEST_BATCH, team.device, team.rank, team.size)]
    model.train(training)
    empty = torch.zeros(0, len(model.task.classes), device=team.device)
    return team.gather(torch.cat(parts) if parts else empty).float().cpu()


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many images of each class (row) were given each class (column). predicted, labels: [N] -> [K, K]."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)


def accuracy(confusion: Tensor) -> float:
    """Share of images that were given their own class. confusion: [K, K]."""
    return int(confusion.diagonal().sum()) / int(confusion.sum())


def balanced_accuracy(confusion: Tensor) -> float:
    """Mean over classes of the share of their images that were recognised; classes without images do not count."""
    images = confusion.sum(dim=1).double()
    return float((confusion.diagonal() / images)[images > 0].mean())


def figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """The validation figures of an epoch. logits: [N, K]; labels: [N]."""
    table = confusion(logits.argmax(dim=1), labels, logits.shape[1])
    return {
        "accuracy": accuracy(table),
        "balanced_accuracy": balanced_accuracy(table),
        "loss": float(classification(logits, labels)),
    }


def better(select: str, figures: dict[str, float], best: float | None) -> bool:
    """Whether an epoch's figures beat the best value so far of the one that selects."""
    value = figures[select]
    return best is None or (value < best if select == "loss" else value > best)
