"""Which explanations can be believed: maps of several methods scored under one protocol on test images.

seeds/003 keeps the top 20 % of the pixels and asks what the classifier still recognises. What hidden pixels are
replaced by decides the ranking (Rong et al. 2022, arXiv:2202.00449), so each figure is told for several fillings, and
two controls that know nothing of the model stand beside every method.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any, get_args

import torch
from torch import Generator, Tensor

from protolens.attribution import CONTROLS, attribute, check_methods, check_precision, in_precision
from protolens.config import seed_of
from protolens.data import Batch, Images, open_data, plain_batches
from protolens.errors import ProtolensError
from protolens.evaluation.budget import Costs, agreed, foreseen, half_width, in_points, rate_of, tried
from protolens.evaluation.degradation import (
    Filling,
    aopc,
    area,
    of_class,
    ranks,
    said_when_kept,
    said_when_removed,
)
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
from protolens.evaluation.scores import wilson_interval
from protolens.files import read_json, write_json
from protolens.models import PrototypeModel, evaluation_mode, state_digest
from protolens.train import Run, Team, assemble, class_probabilities, classes_said, classes_shown, refuse_other_images
from protolens.train.progress import Narrator

FILE = "faithfulness.json"
IMAGES = 1000
LEAST = 30  # images that a budget has to reach for
CLOSER = 32  # images whose maps are made anew, for sensitivity, infidelity and random weights
CLOSE_ONE_OF = 8  # images, where a budget is to buy as many as it can
CHANGES, NOISES = 5, 50  # of an image for its sensitivity and its infidelity
SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
KEPT = 0.2  # share of the pixels that seeds/003 keeps
FILLINGS: tuple[Filling, ...] = get_args(Filling)
REMOVED: tuple[Filling, ...] = ("mean", "inpaint")  # what stands for pixels that are taken away
POINTED = ("in_box", "at_parts")
REACH = 15 / 224  # of the shorter side: so near a highest pixel has to be to a part (Zhang et al. 2018 take 15 pixels)
BATCH = 50
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


def faithfulness(
    run: Run | Path | str,
    methods: Sequence[str],
    *,
    images: int = IMAGES,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    precision: str = "float32",
    budget: float | None = None,
    again: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Score maps of the predicted classes by several methods and both controls; writes RUN/faithfulness.json.

    methods: names of METHODS; images: of the test split, drawn by the seed; options: of methods, by name; precision: of
    the classifier that looks at changed images; budget: seconds, for which as many of the images are measured as fit.
    What was asked before is not measured again, unless `again` says so.
    Raises ProtolensError for an unknown method, and for a budget that is too small.
    """
    run, begun = Run.open(run), time.monotonic()
    chosen = tuple(dict.fromkeys((*check_methods(methods), *CONTROLS)))
    check_precision(precision)
    if images < 2:
        raise ProtolensError(f"{images} images are too few: an interval needs 2 or more")
    asked, path = Asked(chosen, images, seed, options or {}, precision, budget), run.folder / FILE
    if path.exists() and not again and is_answered_by(content := read_json(path), run, asked):
        return dict(content)
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        wanted = min(images, len(data.test))
        few = data.test.subset("test", drawn(len(data.test), tried(wanted), seed))
        plan = foreseen(team, "image", costs_of(model, few, asked, team), wanted, LEAST, budget, begun)
        test = data.test.subset("test", drawn(len(data.test), plan.count, seed))
        found, seconds = gathered(model, test, asked, team)
        count = closer_of(len(test), budget)
        closer = test.subset("test", torch.arange(len(test))[:: len(test) // count][:count])
        closely = looked_closely(model, closer, asked, team.device)
        assert state_digest(model) == before, "measuring changed the model"
    content = {"model": before, "data": data.test.digest, "asked": asked.facts()} | summary(
        found, closely, seconds, asked.methods, len(closer)
    )
    widest = half_width(kept["interval"] for own in content["methods"].values() for kept in own["kept"].values())
    content |= plan.facts(f"accuracy kept is known to {in_points(widest)}")
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(path, content)
    return content


def is_answered_by(content: Mapping[str, Any], run: Run, asked: Asked) -> bool:
    """Whether a file says of the run's model what is asked."""
    return bool(content["model"] == run.facts["model"]["digest"] and content["asked"] == asked.facts())


def drawn(there: int, images: int, seed: int) -> Tensor:
    """Numbers of so many images, or of all that there are, in order; those of fewer images are among those of more."""
    generator = Generator().manual_seed(seed_of(seed, "faithfulness"))
    return torch.randperm(there, generator=generator)[:images].sort().values


def closer_of(images: int, budget: float | None) -> int:
    """How many of the images are looked at closely: for a budget few of few, as each takes as long as many others."""
    return max(1, min(CLOSER, images if budget is None else images // CLOSE_ONE_OF))


def costs_of(model: PrototypeModel, images: Images, asked: Asked, team: Team) -> Costs:
    """Seconds of each method for a number of images, by a few of them.

    What maps do to decisions, and how well they foretell noise, takes as long for each method: timed once.
    """
    (batch,) = plain_batches(images, len(images), team.device)
    look, most = Look.at(model, batch.images, batch.labels, asked), len(images)
    edges = look.maps("edges")

    def rate(method: str) -> float:
        return rate_of(lambda n: look.first(n).maps(method).cpu(), most)

    rates = {name: rate(name) for name in asked.methods}
    rates["degraded"] = rate_of(lambda n: look.first(n).degraded(edges[:n])["road"].cpu(), most)
    rates["foretold"] = rate_of(lambda n: look.first(n).infidelity(edges[:n]).cpu(), most)
    rates = agreed(team, rates)

    def costs(images: int) -> dict[str, float]:
        closer, again = closer_of(images, asked.budget), CHANGES + 3
        return {
            name: images * (rates[name] + rates["degraded"]) / team.size
            + closer * (again * rates[name] + rates["foretold"])
            for name in asked.methods
        }

    return costs


def gathered(
    model: PrototypeModel, images: Images, asked: Asked, team: Team
) -> tuple[dict[str, Any], dict[str, float]]:
    """The figures of all images by method, and of all methods together; and each method's seconds for an image."""
    parts: dict[str, list[Figures]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for rows, batch in watched(images, team):
        look = Look.at(model, batch.images, batch.labels, asked)
        marks = tuple(mark.to(team.device) for mark in images.marks(rows)) if images.has_marks else None
        maps = {}
        for name in asked.methods:
            begun = time.monotonic()
            maps[name] = look.maps(name)
            seconds[name] += time.monotonic() - begun
            parts[name].append(look.degraded(maps[name]))
            if marks:
                parts[name][-1] |= pointed(maps[name], *marks)
        stacked = torch.stack(list(maps.values()))
        together = {"correlation": rank_correlations(stacked), "overlap": overlaps(stacked, KEPT)}
        parts[""].append({"right": look.right(look.whole), **together})
    joined = {
        name: {key: team.gather(torch.cat([part[key] for part in own])).cpu() for key in own[0]}
        for name, own in parts.items()
    }
    seen = sum(len(part["right"]) for part in parts[""])
    return joined, {name: value / seen for name, value in seconds.items()}


def watched(images: Images, team: Team) -> Iterator[tuple[Tensor, Batch]]:
    """The batches of this process, with the numbers of their images [B], saying how far it is.

    Raises ProtolensError in all processes where one would have none.
    """
    if len(images) < team.size:
        raise ProtolensError(f"{len(images)} images are too few for {team.size} processes")
    mine = torch.arange(len(images)).tensor_split(team.size)[team.rank].split(BATCH)
    with Narrator(team.leads) as narrator, narrator.counting(f"{BATCH} images each, part", len(mine)) as step:
        batches = plain_batches(images, BATCH, team.device, team.rank, team.size)
        for rows, batch in zip(mine, batches, strict=True):
            yield rows, batch
            step()


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


def looked_closely(model: PrototypeModel, images: Images, asked: Asked, device: torch.device) -> dict[str, Figures]:
    """Sensitivity, infidelity, and the rank correlation with maps of the same model with shuffled weights."""
    found = {}
    (batch,) = plain_batches(images, len(images), device)
    look = Look.at(model, batch.images, batch.labels, asked)
    *_, (_, shuffled) = randomised(model, asked.seed)
    for name in told(asked.methods, "closer look, method"):
        maps = look.maps(name)
        explain = lambda changed, name=name: look.maps(name, changed)  # noqa: E731
        pair = torch.stack([maps, look.maps(name, model=shuffled)])
        found[name] = {
            "sensitivity": max_sensitivity(explain, look.images, samples=CHANGES, seed=asked.seed),
            "infidelity": look.infidelity(maps),
            "randomised": rank_correlations(pair)[:, 0, 1],
        }
    return {name: {key: values.cpu() for key, values in own.items()} for name, own in found.items()}


def told(methods: Sequence[str], about: str) -> Iterator[str]:
    """The same, saying how far it is."""
    with Narrator(True) as narrator, narrator.counting(about, len(methods)) as step:
        for method in methods:
            yield method
            step()


def summary(
    found: Mapping[str, Figures],
    closely: Mapping[str, Figures],
    seconds: Mapping[str, float],
    methods: Sequence[str],
    closer: int,
) -> dict[str, Any]:
    """Entries of faithfulness.json: accuracies with Wilson's interval, means with that of their standard error."""
    right = found[""]["right"]
    images, at = len(right), SHARES.index(KEPT)
    correlation, common = (found[""][key].nanmean(dim=0) for key in ("correlation", "overlap"))
    figures: dict[str, Any] = {}
    content: dict[str, Any] = {
        "images": images,
        "closer": closer,
        "accuracy": share_of(right),
        "shares": list(SHARES),
        "kept": KEPT,
        "fillings": list(FILLINGS),
        "methods": figures,
    }
    for row, name in enumerate(methods):
        own = found[name]
        curves = own["kept"].double().mean(dim=0).tolist()
        figures[name] = {
            "seconds": seconds[name],
            "curves": dict(zip(FILLINGS, curves, strict=True)),
            "removed": own["removed"].mean(dim=0).tolist(),
            "without": own["without"].double().mean(dim=0).tolist(),
            "kept": {filling: share_of(own["kept"][:, f, at]) for f, filling in enumerate(FILLINGS)},
            "insertion": mean_of(area(SHARES, own["inserted"].T)),
            "deletion": mean_of(area(SHARES, own["removed"].T)),
            "aopc": mean_of(aopc(SHARES, own["removed"].T, KEPT)),
            "road": mean_of(own["road"]),
            "complexity": mean_of(own["complexity"]),
            **{key: mean_of(own[key]) for key in POINTED if key in own},
            **{key: mean_of(values) for key, values in closely[name].items()},
            "correlation": numbers(correlation[row]),
            "overlap": numbers(common[row]),
        }
    return content


def share_of(right: Tensor) -> dict[str, Any]:
    """Share of images, with its interval. right: [N] of bool."""
    count = int(right.sum())
    return {"mean": count / len(right), "interval": list(wilson_interval(count, len(right)))}


def mean_of(values: Tensor) -> dict[str, Any]:
    """Mean over the images that have the figure, with the 95 % interval of its standard error; None without any."""
    values = values[~values.isnan()].double()
    if not len(values):
        return {"mean": None, "interval": None}
    mean = float(values.mean())
    half = NormalDist().inv_cdf(0.975) * float(values.std(correction=min(1, len(values) - 1))) / sqrt(len(values))
    return {"mean": mean, "interval": [mean - half, mean + half]}


def numbers(values: Tensor) -> list[float | None]:
    """A tensor [M] as plain numbers, None where undefined."""
    return [None if value != value else value for value in values.tolist()]
