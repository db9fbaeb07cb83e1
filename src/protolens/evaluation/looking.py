"""What explanations of a batch of images are worth: maps of the classes that a model says, and what they do to it."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, get_args

import torch
from torch import Tensor

from protolens.attribution import attribute, in_precision
from protolens.data import Batch, Images, plain_batches
from protolens.evaluation.degradation import Filling, area, of_class, ranks, said_when_kept, said_when_removed
from protolens.evaluation.keeping import Parts
from protolens.evaluation.maps import (
    complexity,
    infidelity,
    max_sensitivity,
    overlaps,
    pointing_at_parts,
    pointing_game,
    randomised,
    rank_correlations,
)
from protolens.evaluation.sampling import told, watched
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import Team, class_probabilities, classes_said, classes_shown

CHANGES, NOISES = 5, 50  # of an image for its sensitivity and its infidelity
SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
KEPT = 0.2  # share of the pixels that seeds/003 keeps
FILLINGS: tuple[Filling, ...] = get_args(Filling)
CLOSER = ("sensitivity", "infidelity", "randomised")
REMOVED: tuple[Filling, ...] = ("mean", "inpaint")  # what stands for pixels that are taken away
REACH = 15 / 224  # of the shorter side: so near a highest pixel has to be to a part (Zhang et al. 2018 take 15 pixels)
Figures = dict[str, Tensor]  # by name, [B, ...], a row an image


@dataclass(frozen=True)
class Asked:
    """What is measured: which methods with which options, on how many images, drawn by the seed."""

    methods: tuple[str, ...]
    images: int
    seed: int
    options: Mapping[str, Mapping[str, Any]]
    precision: str
    budget: float | None = None  # seconds, for which there may be fewer images

    def facts(self) -> dict[str, Any]:
        """As plain data, to tell whether a file answers the same question."""
        return {
            "methods": list(self.methods),
            "images": self.images,
            "seed": self.seed,
            "options": {name: dict(self.options[name]) for name in self.methods if self.options.get(name)},
            "precision": self.precision,
            **({} if self.budget is None else {"budget": self.budget}),
        }


def pointed(maps: Tensor, boxes: Tensor, parts: Tensor) -> Figures:
    """Whether the highest pixel of maps [B, H, W] lies in the box, and whether it lies at a part: [B] each."""
    tolerance = REACH * min(maps.shape[1:])
    return {
        "in_box": pointing_game(maps, boxes),
        "at_parts": pointing_at_parts(maps, parts, tolerance),
    }


@dataclass(frozen=True)
class Look:
    """Images that a model has seen, and the classes that it gives them."""

    model: PrototypeModel
    images: Tensor
    labels: Tensor
    targets: Tensor
    whole: Tensor  # [B, K], what is said of the images as they are
    asked: Asked

    @classmethod
    @torch.no_grad()
    def at(cls, model: PrototypeModel, images: Tensor, labels: Tensor, asked: Asked) -> "Look":
        """A batch. images: [B, C, H, W] in [0, 1]; labels: [B], or [B, K] zeros and ones."""
        with evaluation_mode(model):
            logits = in_precision(model, asked.precision)(images)
        return cls(model, images, labels, logits.argmax(dim=1), logits, asked)

    def first(self, images: int) -> "Look":
        """At the first of the images alone."""
        parts = {name: getattr(self, name)[:images] for name in ("images", "labels", "targets", "whole")}
        return replace(self, **parts)

    def maps(self, method: str, images: Tensor | None = None, model: PrototypeModel | None = None) -> Tensor:
        """What speaks for the classes, [B, H, W]; in other images of the same, or by another model, where told."""
        options = self.asked.options.get(method, {})
        seen = self.images if images is None else images
        return attribute(model or self.model, seen, self.targets, method, self.asked.seed, **options)

    @cached_property
    @torch.no_grad()
    def nothing(self) -> dict[Filling, Tensor]:
        """What is said where no pixel is kept, by filling: [1, B, K] each. The same for every map, so asked once."""
        answer, order = in_precision(self.model, self.asked.precision), ranks(self.images[:, 0])
        with evaluation_mode(self.model):
            return {name: said_when_kept(answer, self.images, order, [0], name, self.asked.seed) for name in FILLINGS}

    def right(self, logits: Tensor) -> Tensor:
        """Whether an image's classes are said: [..., B, K] -> [..., B]."""
        several = self.model.task.several
        said = classes_said(logits.flatten(0, -2), several).view(logits.shape)
        return (said == classes_shown(self.labels, logits.shape[-1])).all(dim=-1)

    def probability(self, logits: Tensor) -> Tensor:
        """Of the classes: [S, B, K] -> [S, B]."""
        return of_class(class_probabilities(logits, self.model.task.several), self.targets)

    def infidelity(self, maps: Tensor) -> Tensor:
        """How badly maps foretell what noise does to the logits, [B]."""
        answer = in_precision(self.model, self.asked.precision)
        with evaluation_mode(self.model):
            return infidelity(answer, self.images, maps, self.targets, NOISES, seed=self.asked.seed)

    @torch.no_grad()
    def degraded(self, maps: Tensor) -> Figures:
        """What is left of the decisions when pixels go in the order of maps [B, H, W]; rows are images.

        kept: whether it is right with each share, by filling [B, F, S]; inserted, removed: probability with the
        highest pixels of each share alone, the rest blurred, and without them, of one value, [B, S]; road: the area
        between what is right without the lowest and without the highest pixels, inpainted [B].
        """
        order, answer = ranks(maps, self.asked.seed), in_precision(self.model, self.asked.precision)
        given = (self.images, order, SHARES[1:-1])
        whole, nothing = self.whole[None], self.nothing
        with evaluation_mode(self.model):
            kept, removed = {}, {}
            for name in FILLINGS:
                said = said_when_kept(answer, *given, name, self.asked.seed)
                kept[name] = torch.cat([nothing[name], said, whole])
            for name in REMOVED:
                said = said_when_removed(answer, *given, name, self.asked.seed)
                removed[name] = torch.cat([whole, said, nothing[name]])
        right = torch.stack([self.right(said) for said in kept.values()])
        without = self.right(removed["inpaint"])
        gap = area(SHARES, right[FILLINGS.index("inpaint")].double()) - area(SHARES, without.double())
        return {
            "kept": right.permute(2, 0, 1),
            "inserted": self.probability(kept["blur"]).T,
            "removed": self.probability(removed["mean"]).T,
            "without": without.T,
            "road": gap,
            "complexity": complexity(maps),
        }


def gathered(
    model: PrototypeModel, images: Images, asked: Asked, team: Team, parts: Parts
) -> tuple[dict[str, Figures], dict[str, float]]:
    """The figures of all images by method, and under "" of all methods together; and each method's seconds an image."""
    found: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for rows, batch in watched(images, team):
        marks = [mark.to(team.device) for mark in images.marks(rows)] if images.has_marks else None
        own = parts.take(f"{rows[0]}-{rows[-1]}", partial(scored, model, batch, marks, asked))
        for name, figures in own.items():
            method, _, figure = name.partition("/")
            found[method][figure].append(figures)
    joined = {
        method: {name: team.gather(torch.cat(own).to(team.device)).cpu() for name, own in figures.items()}
        for method, figures in found.items()
    }
    return joined, {name: float(own.pop("seconds").mean()) for name, own in joined.items() if name}


def scored(model: PrototypeModel, batch: Batch, marks: Sequence[Tensor] | None, asked: Asked) -> Figures:
    """METHOD/FIGURE of a batch, and /FIGURE of all methods together; marks: boxes and parts in the images."""
    look = Look.at(model, batch.images, batch.labels, asked)
    maps: dict[str, Tensor] = {}
    found: Figures = {}
    for name in asked.methods:
        begun = time.monotonic()
        maps[name] = look.maps(name)
        seconds = (time.monotonic() - begun) / len(look.images)
        own = look.degraded(maps[name]) | (pointed(maps[name], *marks) if marks else {})
        own["seconds"] = torch.full((len(look.images),), seconds)
        found |= {f"{name}/{figure}": values for figure, values in own.items()}
    stacked = torch.stack(list(maps.values()))
    together = {"correlation": rank_correlations(stacked), "overlap": overlaps(stacked, KEPT)}
    together["right"] = look.right(look.whole)
    return found | {f"/{figure}": values for figure, values in together.items()}


def looked_closely(model: PrototypeModel, images: Images, asked: Asked, team: Team, parts: Parts) -> dict[str, Figures]:
    """Sensitivity, infidelity, and the rank correlation with maps of the same model with shuffled weights.

    Each process looks at some of the methods.
    """
    (batch,) = plain_batches(images, len(images), team.device)
    look = Look.at(model, batch.images, batch.labels, asked)
    *_, (_, shuffled) = randomised(model, asked.seed)

    def closer(name: str) -> Figures:
        maps = look.maps(name)
        pair = torch.stack([maps, look.maps(name, model=shuffled)])
        explain = lambda changed: look.maps(name, changed)  # noqa: E731
        return {
            "sensitivity": max_sensitivity(explain, look.images, samples=CHANGES, seed=asked.seed),
            "infidelity": look.infidelity(maps),
            "randomised": rank_correlations(pair)[:, 0, 1],
        }

    mine = asked.methods[team.rank :: team.size]
    found = {
        name: parts.take(f"closer-{name}", partial(closer, name))
        for name in told(mine, "closer look, method", team.leads)
    }
    nothing = dict.fromkeys(CLOSER, torch.empty(0))
    return {
        name: {key: team.gather(own[key].to(team.device, torch.float64)).cpu() for key in CLOSER}
        for name in asked.methods
        for own in [found.get(name, nothing)]
    }
