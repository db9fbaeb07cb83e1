"""One number that brings a model's probabilities near to those of the network that it interprets.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599, section 4.2; here
the target is what the network says, not the label.
"""

import torch
from torch import Generator, Tensor

from protolens.data import Images, plain_batches
from protolens.errors import ProtolensError
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train.validation import batch_for

STEPS = 60  # of bisection, which leave no bit of float32 unsure


@torch.no_grad()
def calibrate(model: PrototypeModel, images: Images, *, images_at_most: int = 2000) -> dict[str, object]:
    """Choose the model's temperature: the cross-entropy to the network's probabilities is least, on training images.

    Classes without prototypes do not count. images_at_most: how many images are looked at, drawn by torch's global
    generator, which the caller seeds. Raises ProtolensError for a model that has no temperature.
    """
    temperature = getattr(model, "temperature", None)
    if not isinstance(temperature, Tensor):
        raise ProtolensError(f"calibrate chooses a temperature, and {model.name} has none")
    rows = torch.randperm(len(images), generator=Generator().manual_seed(torch.initial_seed()))[:images_at_most]
    chosen = images.subset("training", rows.sort().values)
    temperature.fill_(1)
    own, target = [], []
    with evaluation_mode(model):
        for batch in plain_batches(chosen, batch_for(chosen), model.device):
            evidence = model.evidence(batch.images)
            assert evidence.predictor is not None
            own.append(evidence.logits)
            target.append(evidence.predictor)
    there = model.prototype_weights().any(dim=0)
    logits, aims = (torch.cat(parts)[:, there].double() for parts in (own, target))
    temperature.fill_(best_temperature(logits, aims.softmax(dim=1)))
    return {"temperature": float(temperature), "looked_at": len(chosen)}


def best_temperature(logits: Tensor, target: Tensor, low: float = 1e-4, high: float = 1e4) -> float:
    """The T between both ends for which the mean cross-entropy of softmax(logits / T) to the target is least.

    logits, target: [N, K], the target a distribution in each row. That entropy is convex in 1 / T: the root of its
    slope is found by halving the logarithm's interval.
    """
    wanted = (target * logits).sum(dim=1).mean()
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        reached = ((logits / middle).softmax(dim=1) * logits).sum(dim=1).mean()
        low, high = (low, middle) if reached < wanted else (middle, high)
    return (low * high) ** 0.5
