"""Local explanations: which prototypes an image is like, and what each adds to the logit of a class."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.config import Task
from protolens.data import read_image, to_float
from protolens.explanation.places import Seen
from protolens.models import Evidence, PrototypeModel, evaluation_mode
from protolens.nn import locate
from protolens.train import Run, class_number, class_probabilities, classes_said, in_words

PLACED = 20  # strongest reasons whose place and box are looked up; there may be 2,000 reasons and 50,000 pixels
MAPPED = 6  # of these, those whose map is kept to be drawn: what a page shows at once


@dataclass(frozen=True)
class Reason:
    """What one prototype says about the explained class: similarity x weight = contribution."""

    prototype: int
    class_name: str  # the class that the prototype speaks for most
    similarity: float
    weight: float
    contribution: float
    usual: float  # mean similarity over the training images
    place: tuple[int, int] | None = None  # row and column in the map, where prototypes stand at places
    box: tuple[int, int, int, int] | None = None  # left, top, right, bottom in pixels: where it is most similar

    @property
    def lift(self) -> float:
        """What it adds beyond what it adds for the average training image: (similarity - usual) x weight."""
        return (self.similarity - self.usual) * self.weight


@dataclass(frozen=True)
class Subject:
    """An image as people call it; its position and label where it comes from a split."""

    image: str
    index: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Explanation:
    """The decision about one image and its reasons, the strongest lift first.

    `bias` and the contributions sum to `logit`; so do `baseline` (the logit at the usual similarities) and the lifts.
    """

    image: str
    index: int | None  # in its split, for an image of a data set
    label: str | None
    predicted: str  # where an image can show several classes, all of them: "water, road", or "none"
    explained: str  # the class whose logit is explained, the likeliest one unless another was asked for
    probability: float  # of the explained class
    probabilities: dict[str, float]
    logit: float
    bias: float
    nearest: int  # the most similar prototype
    reasons: tuple[Reason, ...]
    several: bool = False  # whether an image can show several classes, so that each has a probability of its own
    # similarity at each place, [h, w], to the strongest prototypes; only to be drawn, and not in to_dict
    maps: Mapping[int, Tensor] = field(default_factory=dict, repr=False, compare=False)
    # what is seen at each place and adds to the logit, for models that decide place by place; not in to_dict either
    seen: Seen | None = field(default=None, repr=False, compare=False)

    @property
    def baseline(self) -> float:
        """The logit of an image that is as similar to each prototype as the training images are on average."""
        return self.bias + sum(reason.usual * reason.weight for reason in self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        content = asdict(replace(self, maps={}, seen=None))
        del content["maps"], content["seen"]
        reasons = [asdict(reason) | {"lift": reason.lift} for reason in self.reasons]
        return content | {"baseline": self.baseline, "sentence": self.sentence, "reasons": reasons}

    @property
    def sentence(self) -> str:
        """The decision in words."""
        first = f"{self.explained}, with {percent(self.probability)}."
        if self.several and self.predicted == self.explained:
            first = f"Shows {first}"
        elif self.several:
            shows = "none of the classes" if self.predicted == "none" else self.predicted
            first = f"Shows {shows}; {self.explained} with {percent(self.probability)}."
        voices = (("for", next((r for r in self.reasons if r.lift > 0), None)),
                  ("against", next((r for r in self.reasons if r.lift < 0), None)))  # fmt: skip
        said = [f"prototype {r.prototype} ({r.class_name}) speaks {how} it most" for how, r in voices if r]
        return f"{first} {'; '.join(said).replace('prototype', 'Prototype', 1)}." if said else first


def percent(share: float) -> str:
    """A share in words that never rounds a doubt away: 97 %, more than 99 %, less than 1 %."""
    whole = round(100 * share)
    if whole == 100 and share < 1:
        return "more than 99 %"
    return "less than 1 %" if whole == 0 and share > 0 else f"{whole} %"


def explain_images(
    model: PrototypeModel,
    images: Tensor,
    subjects: Sequence[Subject],
    usual: Tensor | None = None,
    target: str | None = None,
) -> list[Explanation]:
    """Explain a batch of images; the model is left as it was.

    images: [B, C, H, W], floats in [0, 1]; usual: [P], mean similarities over the training images, 0 if not given;
    target: the class to explain, instead of each image's likeliest one. Raises ProtolensError for an unknown class.
    """
    classes, several = model.task.classes, model.task.several
    asked = class_number(target, classes)
    evidence, weights, bias, class_of, adds = _look(model, images)
    if usual is None or not model.linear:  # no image is average to a head that chooses
        usual = torch.zeros(len(class_of))
    said, explanations = classes_said(evidence.logits, several), []
    for row, subject in enumerate(subjects):
        logits, similarity = evidence.logits[row], evidence.similarity[row]
        explained = int(logits.argmax()) if asked is None else asked
        probabilities = class_probabilities(logits, several).tolist()
        columns = (similarity.tolist(), weights[row, :, explained].tolist(), usual.tolist())
        reasons = [
            Reason(number, classes[class_of[number]], like, weight, like * weight, often)
            for number, (like, weight, often) in enumerate(zip(*columns, strict=True))
        ]
        reasons.sort(key=lambda reason: -abs(reason.lift))
        maps: dict[int, Tensor] = {}
        if evidence.maps is not None:
            reasons, maps = with_places(reasons, evidence.maps[row], model.task.size)
        explanations.append(
            Explanation(
                **vars(subject),
                predicted=in_words(said[row], classes),
                explained=classes[explained],
                probability=probabilities[explained],
                probabilities=dict(zip(classes, probabilities, strict=True)),
                logit=float(logits[explained]),
                bias=float(bias[explained]),
                nearest=int(similarity.argmax()),
                reasons=tuple(reasons),
                several=several,
                maps=maps,
                seen=seen_at(evidence.maps, adds, row, explained),
            )
        )
    return explanations


def with_places(
    reasons: Sequence[Reason], maps: Tensor, size: tuple[int, int]
) -> tuple[list[Reason], dict[int, Tensor]]:
    """The reasons, the strongest PLACED of them with place and box, and the maps of the strongest MAPPED.

    reasons: the strongest first; maps: [P, h, w], similarity of one image; size: its height and width. A prototype
    that is as similar everywhere, such as one that is seen nowhere, has no place.
    """
    strongest = [reason.prototype for reason in reasons[:PLACED]]
    somewhere = (maps[strongest].amax(dim=(1, 2)) > maps[strongest].amin(dim=(1, 2))).tolist()
    found = zip(reasons, locate(maps[strongest], size), somewhere, strict=False)
    placed = [replace(reason, place=where.place, box=where.box) if there else reason for reason, where, there in found]
    return [*placed, *reasons[PLACED:]], {number: maps[number].clone() for number in strongest[:MAPPED]}


def seen_at(maps: Tensor | None, adds: Tensor | None, row: int, explained: int) -> Seen | None:
    """What is seen at each place of the image of a row. maps: [B, P, h, w]; adds: [B, K, h, w]; explained: a class."""
    if maps is None or adds is None:
        return None
    return Seen(maps[row].argmax(dim=0), adds[row, explained].clone())


@torch.inference_mode()
def _look(model: PrototypeModel, images: Tensor) -> tuple[Evidence, Tensor, Tensor, list[int], Tensor | None]:
    with evaluation_mode(model):
        evidence = model.evidence(images.to(model.device))
        weights, bias = model.weights_for(evidence).detach().cpu(), model.bias().detach().cpu()
        adds = model.contributions_of_places(evidence)
    return evidence.cpu(), weights, bias, model.class_of().tolist(), None if adds is None else adds.cpu()


def explain(run: Run | Path | str, images: Sequence[Path | str], target: str | None = None) -> list[Explanation]:
    """Explain image files by a finished run, in the order given.

    target: the class to explain, instead of the predicted one. Raises ProtolensError for a file that is no image.
    """
    run = Run.open(run)
    model = run.model()
    task = model.task
    subjects, pixels = open_files(images, task)
    usual = torch.tensor([prototype["usual_similarity"] for prototype in run.prototypes])
    return explain_images(model, to_float(pixels, model.device), subjects, usual, target)


def open_files(paths: Sequence[Path | str], task: Task) -> tuple[list[Subject], Tensor]:
    """Image files as a model takes them, [B, C, H, W] uint8. Raises ProtolensError for a file that is no image."""
    pixels = [read_image(Path(path), task.bands, task.size) for path in paths]
    return [Subject(str(path)) for path in paths], torch.stack(pixels)
