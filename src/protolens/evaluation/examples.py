"""Examples of a split: images drawn at random, recognised ones and mistakes, each explained and pictured."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.config import seed_of
from protolens.data import Images, to_float
from protolens.data.pictures import to_png
from protolens.explanation import Explanation, Seen, Subject, explain_images, heat_map
from protolens.files import write_bytes
from protolens.models import PrototypeModel
from protolens.train import Run, classes_said, classes_shown, in_words

SAMPLE = 10  # images drawn at random
EXAMPLES = 6  # recognised images, and as many mistaken ones


def examples(run: Run, model: PrototypeModel, logits: Tensor, images: Images) -> dict[str, Any]:
    """Explanations, with pictures, of a random sample, of recognised images and of the worst mistakes."""
    usual = torch.tensor([prototype["usual_similarity"] for prototype in run.prototypes])
    right, wrong = (choose_all_right, choose_most_wrong) if model.task.several else (choose_right, choose_wrong)
    kinds = {
        "sample": draw_sample(len(images), run.config.seed),
        "right": right(logits, images.labels),
        "wrong": wrong(logits, images.labels),
    }
    return {"examples": {kind: explain_some(run.folder, model, images, some, usual) for kind, some in kinds.items()}}


def draw_sample(images: int, seed: int) -> Tensor:
    """Positions of some images drawn at random, in order."""
    generator = torch.Generator().manual_seed(seed_of(seed, "sample"))
    return torch.randperm(images, generator=generator)[:SAMPLE].sort().values


def choose_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Positions of recognised images: of each class in turn the one of middling confidence. [N, K], [N]."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    chosen = []
    for k in range(logits.shape[1]):
        members = ((labels == k) & (predicted == k)).nonzero().flatten()
        if len(members):
            chosen.append(int(members[confidence[members].argsort(stable=True)[len(members) // 2]]))
    return torch.tensor(chosen[:EXAMPLES], dtype=torch.long)


def choose_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """Positions of the mistakes made with most confidence. [N, K], [N]."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    mistakes = (predicted != labels).nonzero().flatten()
    return mistakes[confidence[mistakes].argsort(descending=True, stable=True)][:EXAMPLES]


def choose_all_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Positions of images all of whose classes are right: for each class in turn one that shows it.

    Of these the one of middling confidence, which is the probability of its least certain class. Both [N, K].
    """
    confidence = logits.abs().amin(dim=1)
    left = (classes_said(logits, several=True) == labels.bool()).all(dim=1)
    chosen: list[int] = []
    for shown in labels.bool().T:
        members = (left & shown).nonzero().flatten()
        if len(members):
            chosen.append(int(members[confidence[members].argsort(stable=True)[len(members) // 2]]))
            left[chosen[-1]] = False
    return torch.tensor(chosen[:EXAMPLES], dtype=torch.long)


def choose_most_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """Positions of the images with most wrong classes; of equally many, the largest loss first. Both [N, K]."""
    wrong = (classes_said(logits, several=True) != labels.bool()).sum(dim=1)
    loss = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").mean(dim=1)
    order = loss.argsort(descending=True, stable=True)
    order = order[wrong[order].argsort(descending=True, stable=True)]
    return order[wrong[order] > 0][:EXAMPLES]


def explain_some(folder: Path, model: PrototypeModel, images: Images, chosen: Tensor, usual: Tensor) -> list[Any]:
    """Entries of evaluation.json for images of a split; their pictures are written to examples/."""
    if not len(chosen):
        return []
    pixels, classes = images.take(chosen), model.task.classes
    shown = classes_shown(images.labels[chosen], len(classes))
    labels = [in_words(own, classes) for own in shown]
    subjects = [Subject(images.names[i], i, label) for i, label in zip(chosen.tolist(), labels, strict=True)]
    floats = to_float(pixels, model.device)
    with torch.inference_mode():
        decoded = model.decode(model.evidence(floats).code)
    pictures = [None] * len(chosen) if decoded is None else list(decoded)
    masks = list(images.masks(chosen)) if images.has_masks else [None] * len(chosen)
    explained = zip(explain_images(model, floats, subjects, usual), pixels, pictures, masks, strict=True)
    return [write_example(folder, *example) for example in explained]


def write_example(
    folder: Path, explanation: Explanation, pixels: Tensor, decoded: Tensor | None, mask: Tensor | None
) -> dict[str, Any]:
    """Write an example's pictures, and what its places show; returns its entry in evaluation.json."""
    stem = f"examples/{explanation.index:06d}"
    pictures = {f"{stem}.png": pixels}
    if decoded is not None:
        pictures[f"{stem}-reconstruction.png"] = decoded
    if mask is not None:
        pictures[f"{stem}-mask.png"] = mask[None]
    heat = {number: f"{stem}-heat-{number:04d}.png" for number in explanation.maps}
    pictures |= {name: heat_map(pixels, explanation.maps[number]) for number, name in heat.items()}
    for name, picture in pictures.items():
        write_bytes(folder / name, to_png(picture))
    if explanation.seen:
        write_bytes(folder / f"{stem}-places.npz", to_npz(explanation.seen))
    return explanation.to_dict() | {
        "picture": f"{stem}.png",
        "reconstruction": f"{stem}-reconstruction.png" if decoded is not None else None,
        # by prototype, where prototypes stand at places
        "heat_maps": {str(number): name for number, name in heat.items()},
        "mask": f"{stem}-mask.png" if mask is not None else None,  # the number of each pixel's class, 255 = none
        # `prototypes` and `adds` of each place, [h, w], where the decision is a sum over places
        "places": f"{stem}-places.npz" if explanation.seen else None,
    }


def to_npz(seen: Seen) -> bytes:
    """The file with what is seen at each place."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, prototypes=seen.prototypes.numpy(), adds=seen.adds.numpy())
    return buffer.getvalue()
