"""How well a model interprets another network, and with how few prototypes it says so.

Parekh, Mozharovskyi, d'Alche-Buc: A Framework to Learn with Interpretation, NeurIPS 2021, arXiv:2010.09345, sec. 4.
For N images, P prototypes and K classes; what counts as a contribution is what a model's `contributions` says. The
paper's code divides by the signed maximum in some places; here absolute values count everywhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from protolens.train import classes_said, share_of_equal


def fidelity(logits: Tensor, predictor: Tensor, several: bool = False) -> float:
    """Share of images that the interpreter gives the class, or all classes, that the network gives them.

    logits, predictor: [N, K]; several: whether an image can show several classes.
    """
    return share_of_equal(classes_said(logits, several), classes_said(predictor, several))


def to_predicted(contributions: Tensor, logits: Tensor) -> Tensor:
    """What each prototype adds to the logit of the likeliest class. [N, P, K], [N, K] -> [N, P]."""
    predicted = logits.argmax(dim=1)
    return contributions.gather(2, predicted[:, None, None].expand(-1, contributions.shape[1], 1)).squeeze(2)


def relevance(contributions: Tensor) -> Tensor:
    """Contributions as shares of the strongest one of the image, -1 to 1; 0 for an image without any.

    contributions: to the predicted class, [N, P]; returns the same shape.
    """
    strongest = contributions.abs().amax(dim=1, keepdim=True)
    return contributions / torch.where(strongest > 0, strongest, 1.0)


def conciseness(contributions: Tensor, thresholds: Sequence[float]) -> list[float]:
    """Mean number of prototypes that matter to a decision: whose absolute relevance is above 1/t, for each t.

    contributions: to the predicted class, [N, P]. The paper takes 1.5, 2, 2.5, 3, 4 and 5 for t.
    """
    shares = relevance(contributions).abs()
    return [float((shares > 1 / t).sum(dim=1).double().mean()) for t in thresholds]


def class_relevance(contributions: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Mean relevance of each prototype to the images predicted as each class: FLINT's global explanation.

    contributions: to the predicted class, [N, P]; predicted: [N]; returns [K, P] in float64, with zeros for a class
    that is never predicted.
    """
    chosen = torch.nn.functional.one_hot(predicted, classes).double()
    return chosen.T @ relevance(contributions).double() / chosen.sum(dim=0).clamp_min(1)[:, None]
