"""The verb `evaluate`: the figures of a finished run on the test split, and examples of right and wrong."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.config import seed_of
from protolens.data import DataSet, Images, open_data, to_float
from protolens.data.pictures import to_png
from protolens.errors import ProtolensError
from protolens.evaluation.scores import wilson_interval
from protolens.explanation import Explanation, Subject, explain_images
from protolens.files import read_json, write_bytes, write_json
from protolens.models import PrototypeModel, state_digest
from protolens.nn import classification
from protolens.train import Run, accuracy, assemble, balanced_accuracy, confusion, mean_area_under_roc, predict

SAMPLE = 10  # images drawn at random
EXAMPLES = 6  # recognised images, and as many mistaken ones


@dataclass(frozen=True)
class Evaluation:
    """What evaluation.json holds."""

    content: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Share of the test images that were recognised."""
        return float(self.content["accuracy"])


def evaluate(run: Run | Path | str, *, again: bool = False, device: str = "auto") -> Evaluation:
    """Score a finished run on the test split, and write evaluation.json and examples/.

    A run that was evaluated before is not read again, unless `again` says so. Raises ProtolensError when the images
    differ from those that the run was made with.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    path = run.folder / "evaluation.json"
    if path.exists() and not again:
        content = read_json(path)
        if content["model"] == run.facts["model"]["digest"]:
            return Evaluation(content)
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    begun = time.monotonic()
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        logits = predict(model, data.test, team)
        content = {"model": before, "data": data.test.digest, **scores(logits, data)}
        content |= examples(run, model, logits, data.test)
        assert state_digest(model) == before, "evaluation changed the model"
    content["seconds"] = round(time.monotonic() - begun, 2)
    write_json(path, content)
    return Evaluation(content)


def refuse_other_images(run: Run, data: DataSet) -> None:
    """Raise ProtolensError at the first split whose images are not those of the run."""
    for split, facts in run.facts["data"]["splits"].items():
        if data.digests[split] != facts["digest"]:
            raise ProtolensError(
                f"{run.folder}: the {split} images of {data.name} are not those that the run was made with; "
                "bring the old ones back, or train again"
            )


def scores(logits: Tensor, data: DataSet) -> dict[str, Any]:
    """The figures of a split. logits: [N, K]."""
    labels, classes = data.test.labels, data.task.classes
    table = confusion(logits.argmax(dim=1), labels, len(classes))
    right, images = int(table.diagonal().sum()), len(labels)
    low, high = wilson_interval(right, images)
    of_class, given = table.sum(dim=1), table.sum(dim=0)
    most_common = int(torch.bincount(data.training.labels, minlength=len(classes)).argmax())
    return {
        "images": images,
        "accuracy": accuracy(table),
        "accuracy_interval": [low, high],
        "right": right,
        "balanced_accuracy": balanced_accuracy(table),
        "area_under_roc": mean_area_under_roc(logits.double().softmax(dim=1), labels),
        "loss": float(classification(logits, labels)),
        "always_most_common_class": float((labels == most_common).float().mean()),
        "confusion": table.tolist(),
        "classes": [
            {
                "name": name,
                "images": int(of_class[k]),
                "recall": float(table[k, k] / of_class[k]) if of_class[k] else None,
                "precision": float(table[k, k] / given[k]) if given[k] else None,
            }
            for k, name in enumerate(classes)
        ],
    }


def examples(run: Run, model: PrototypeModel, logits: Tensor, images: Images) -> dict[str, Any]:
    """Explanations, with pictures, of a random sample, of recognised images and of the most confident mistakes."""
    usual = torch.tensor([prototype["usual_similarity"] for prototype in run.prototypes])
    kinds = {
        "sample": draw_sample(len(images), run.config.seed),
        "right": choose_right(logits, images.labels),
        "wrong": choose_wrong(logits, images.labels),
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


def explain_some(folder: Path, model: PrototypeModel, images: Images, chosen: Tensor, usual: Tensor) -> list[Any]:
    """Entries of evaluation.json for images of a split; their pictures are written to examples/."""
    if not len(chosen):
        return []
    pixels, classes = images.take(chosen), model.task.classes
    subjects = [Subject(images.names[i], i, classes[int(images.labels[i])]) for i in chosen.tolist()]
    floats = to_float(pixels, model.device)
    with torch.inference_mode():
        decoded = model.decode(model.evidence(floats).code)
    pictures = [None] * len(chosen) if decoded is None else list(decoded)
    explained = zip(explain_images(model, floats, subjects, usual), pixels, pictures, strict=True)
    return [write_example(folder, explanation, image, picture) for explanation, image, picture in explained]


def write_example(folder: Path, explanation: Explanation, pixels: Tensor, decoded: Tensor | None) -> dict[str, Any]:
    """Write an example's pictures; returns its entry in evaluation.json."""
    picture = f"examples/{explanation.index:06d}.png"
    write_bytes(folder / picture, to_png(pixels))
    reconstruction = None
    if decoded is not None:
        reconstruction = f"examples/{explanation.index:06d}-reconstruction.png"
        write_bytes(folder / reconstruction, to_png(decoded))
    return explanation.to_dict() | {"picture": picture, "reconstruction": reconstruction}
