"""Activation maximisation with partial initialisation: what a prototype looks for, drawn into a weak copy of an image.

Parekh, Mozharovskyi, d'Alche-Buc: A Framework to Learn with Interpretation, NeurIPS 2021, arXiv:2010.09345, sec. 3.3.
Two things differ, so that it serves any model. The paper weighs the similarity as it comes; here its unit is the most
that any similarity changes from a blank picture to the image. And where it led nowhere, for an attribute may be next to
flat around a weak copy, it begins again from one twice as strong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protolens.config import seed_of
from protolens.errors import ProtolensError
from protolens.models import PrototypeModel, evaluation_mode


@dataclass(frozen=True)
class Maximisation:
    """How a picture is made; the values for grey images of some 28 pixels with a dark background."""

    start: float = 0.3  # how much of the image is left at the start
    background: float = 0.0  # the pixel value to which it is faded
    gain: float = 2.0  # weight of the similarity
    bound: float = 10.0  # weight of the mean distance of pixels from [0, 1]
    variation: float = 16.0  # weight of the total variation
    rounds: int = 6  # each with half the rate of the one before, and a new Adam
    steps: int = 50  # in a round
    rate: float = 0.05  # of the first round
    jitter: int = 0  # largest shift in pixels of the picture before a step


# the paper has normalised pixels for colour: a quarter of its rate here, and four times its weights
PHOTOGRAPHS = Maximisation(start=0.4, background=0.47, bound=80.0, variation=80.0, rate=0.0125)


def maximise(
    model: PrototypeModel,
    images: Tensor,
    prototypes: Sequence[int] | Tensor,
    settings: Maximisation | None = None,
    seed: int = 0,
) -> Tensor:
    """Pictures that raise the similarity to a prototype, all pairs of an image and a prototype at once.

    images: [N, C, H, W] in [0, 1]; prototypes: the number of one for each image, [N]; seed: draws the jitter, the same
    for all pairs, so that a pair's picture does not depend on the others. Returns [N, C, H, W] in [0, 1]: more alike
    than the images, or else begun at the image itself. Works for any model, and leaves it as it was. Raises
    ProtolensError for a prototype that the model does not have.
    """
    settings = settings or Maximisation()
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        chosen, given = existing(model, prototypes), images.detach().to(model.device).clone()
        pictures, left, strength = given.clone(), torch.arange(len(given), device=given.device), settings.start
        while len(left):
            climbed = climb(model, given[left], chosen[left], strength, settings, seed)
            pictures[left] = climbed
            alike, wanted = (similarity_to(model, some, chosen[left]) for some in (climbed, given[left]))
            left = left[alike < wanted] if strength < 1 else left[:0]
            strength = min(1.0, max(0.25, 2 * strength))
    return pictures.to(images.device)


def existing(model: PrototypeModel, prototypes: Sequence[int] | Tensor) -> Tensor:
    """The numbers as a tensor on the model's device, [N]. Raises ProtolensError at the first that no prototype has."""
    chosen = torch.as_tensor(prototypes, dtype=torch.long).to(model.device).clone()
    count = len(model.prototypes)
    strange = chosen[(chosen < 0) | (chosen >= count)].tolist()
    if strange:
        raise ProtolensError(f"{model.name} has no prototype {strange[0]}; known are 0 to {count - 1}")
    return chosen


def similarity_to(model: PrototypeModel, pictures: Tensor, prototypes: Tensor) -> Tensor:
    """Similarity of each picture to its prototype. [N, C, H, W], [N] -> [N]."""
    return model.evidence(pictures).similarity.gather(1, prototypes[:, None])[:, 0]


def climb(
    model: PrototypeModel, images: Tensor, prototypes: Tensor, strength: float, settings: Maximisation, seed: int
) -> Tensor:
    """Pictures begun at copies of this strength, clamped to [0, 1]. images: [N, C, H, W]; prototypes: [N]."""
    generator = torch.Generator().manual_seed(seed_of(seed, "jitter"))
    blank = torch.full_like(images, settings.background)
    with torch.no_grad():
        change = model.evidence(images).similarity - model.evidence(blank).similarity
        gain = settings.gain / change.abs().amax(dim=1).clamp_min(1e-6)
    pictures = blank.lerp(images, strength).requires_grad_()
    for number in range(settings.rounds):
        optimiser = torch.optim.Adam([pictures], lr=settings.rate / 2**number)
        for _ in range(settings.steps):
            shown = pictures
            if settings.jitter:
                shift = torch.randint(-settings.jitter, settings.jitter + 1, (2,), generator=generator).tolist()
                shown = pictures.roll(shift, dims=(2, 3))
            loss = (roughness(pictures, settings) - gain * similarity_to(model, shown, prototypes)).sum()
            # only the pictures get a gradient: those of the model's weights stay what they are
            (pictures.grad,) = torch.autograd.grad(loss, pictures)
            optimiser.step()
    return pictures.detach().clamp(0, 1)


def roughness(pictures: Tensor, settings: Maximisation) -> Tensor:
    """What keeps a picture in its range and smooth, weighted. [N, C, H, W] -> [N]."""
    # the published code weighs |x| of the pixels outside; that has the same gradient
    outside = (pictures - pictures.clamp(0, 1)).abs().mean(dim=(1, 2, 3))
    return settings.bound * outside + settings.variation * total_variation(pictures)


def total_variation(pictures: Tensor) -> Tensor:
    """Mean difference between neighbours below plus that between neighbours beside. [N, C, H, W] -> [N]."""
    below, beside = (pictures.diff(dim=side).abs().mean(dim=(1, 2, 3)) for side in (2, 3))
    return below + beside
