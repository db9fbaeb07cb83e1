"""How far a model's explanations are from those of its black box, on the same images.

The authors of KMEx name it as missing in their evaluation of trust ("evaluate the difference between the
explanations", seeds/001): a model that explains itself may decide as its black box does, for other reasons.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.attribution import attribute, check_methods
from protolens.data import Images, open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation.budget import Costs, agreed, foreseen, half_width, in_numbers, rate_of, tried
from protolens.evaluation.looking import KEPT
from protolens.evaluation.maps import overlaps, rank_correlations
from protolens.evaluation.predicates import means
from protolens.evaluation.sampling import IMAGES, LEAST, drawn, mean_of, share_of, watched
from protolens.explanation import Comparison, compared, drawn_of_each
from protolens.files import write_json
from protolens.models import PrototypeModel, evaluation_mode, state_digest
from protolens.train import Run, Team, assemble, classes_said, refuse_other_images

FILE = "gap.json"
COMPARED = ("own", "same", "edges")  # what the black box's map by a method is held against


def explanation_gap(
    run: Run | Path | str,
    other: Run | Path | str | None = None,
    methods: Sequence[str] = ("lrp",),
    *,
    images: int = IMAGES,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    budget: float | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Compare maps of a run's model with those of its black box for the class that the black box says.

    other: the run of the black box, made with the same images; none for a run that was converted, which holds its
    network. methods: by which the black box is explained; the model explains itself, and by each of them too. images:
    of the test split, drawn by the seed; budget: seconds, for which as many of them are measured as fit. Writes
    RUN/gap.json. Raises ProtolensError for runs that cannot be compared, and for a budget that is too small.
    """
    run = Run.open(run)
    methods, options, begun = check_methods(methods), options or {}, time.monotonic()
    model, black = counterparts(run, other)
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    with assemble(device) as team:
        pair = (model.to(team.device), black.to(team.device))
        before = [state_digest(each) for each in pair]
        wanted = min(images, len(data.test))
        few = data.test.subset("test", drawn(len(data.test), tried(wanted), seed))
        costs = costs_of(pair, to_float(few.take(torch.arange(len(few))), team.device), methods, seed, options, team)
        plan = foreseen(team, "image", costs, wanted, LEAST, budget, begun)
        test = data.test.subset("test", drawn(len(data.test), plan.count, seed))
        found = measured(pair, test, methods, seed, options, team)
        assert [state_digest(each) for each in pair] == before, "measuring changed a model"
    content: dict[str, Any] = {
        **dict(zip(("model", "black_box"), before, strict=True)),
        "data": data.test.digest,
        "beside": None if other is None else str(Run.open(other).folder),
        "seed": seed,
        "asked": images,
        "images": len(test),
        "options": {name: dict(options[name]) for name in methods if options.get(name)},
        "agreement": share_of(found["agreement"]),
        "methods": summary(found, methods),
    }
    widest = half_width(own["own"]["interval"] for own in content["methods"].values())
    content |= plan.facts(f"the rank correlation with the black box is known to {in_numbers(widest)}")
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(run.folder / FILE, content)
    return content


def summary(found: Mapping[str, Tensor], methods: Sequence[str]) -> dict[str, Any]:
    """Of each method, what its maps of the black box are like, mean over images."""
    keys = (*COMPARED, *(f"{key}_overlap" for key in COMPARED))
    return {name: {key: mean_of(found[f"{name} {key}"]) for key in keys} for name in methods}


def figures_of_gap(run: Run) -> dict[str, float | None]:
    """The figures of RUN/gap.json by dotted names, where it tells of the run's model."""
    content = run.told(FILE)
    if content is None:
        return {}
    return means(content["methods"], "trust.gap.") | {"trust.gap_images": content["images"]}


def counterparts(run: Run, other: Run | Path | str | None) -> tuple[PrototypeModel, PrototypeModel]:
    """The model and its black box. Raises ProtolensError where there is none, or one for other images."""
    model = run.model()
    if other is None:
        network = getattr(model, "network", None)
        if not isinstance(network, PrototypeModel):
            raise ProtolensError(f"{run.folder} holds no black box of its own; name the run of one as --beside RUN")
        return model, network
    beside = Run.open(other)
    if beside.facts["data"]["splits"] != run.facts["data"]["splits"]:
        raise ProtolensError(f"{beside.folder} was made with other images than {run.folder}; they cannot be compared")
    return model, beside.model()


def measured(
    pair: tuple[PrototypeModel, PrototypeModel],
    images: Images,
    methods: Sequence[str],
    seed: int,
    options: Mapping[str, Mapping[str, Any]],
    team: Team,
) -> dict[str, Tensor]:
    """Figures of each image, [N] on the CPU.

    For each method the rank correlation, and the overlap of the highest pixels, of its map of the black box with three
    others: what the model says itself (own), the same method's map of the model (same), and the image's edges, which
    know neither.
    """
    found: dict[str, list[Tensor]] = defaultdict(list)
    for _, batch in watched(images, team):
        scene = Scene.at(pair, batch.images, seed)
        found["agreement"].append(scene.same)
        for name in methods:
            for key, figures in scene.figures(pair, name, seed, options.get(name, {})).items():
                found[f"{name} {key}"].append(figures)
    return {key: team.gather(torch.cat(values)).cpu() for key, values in found.items()}


@dataclass(frozen=True)
class Scene:
    """Images, what both models say of them, and the maps that no method is asked for."""

    images: Tensor
    same: Tensor  # [B], whether both give the same class
    targets: Tensor  # [B], the class that the black box gives
    own: Tensor  # [B, H, W], what the model says itself
    edges: Tensor

    @classmethod
    def at(cls, pair: tuple[PrototypeModel, PrototypeModel], images: Tensor, seed: int) -> "Scene":
        """images: [B, C, H, W] in [0, 1]."""
        model, black = pair
        said, several = [answers(each, images) for each in pair], black.task.several
        same = classes_said(said[0], several) == classes_said(said[1], several)
        targets = said[1].argmax(dim=1)
        own, edges = (attribute(model, images, targets, name, seed) for name in ("self", "edges"))
        return cls(images, same.all(dim=1), targets, own, edges)

    def first(self, images: int) -> "Scene":
        """With the first of the images alone."""
        return Scene(*(getattr(self, each.name)[:images] for each in fields(self)))

    def figures(
        self, pair: tuple[PrototypeModel, PrototypeModel], method: str, seed: int, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """How like the black box's maps by a method each of COMPARED is, [B]."""
        model, black = pair
        maps = [attribute(each, self.images, self.targets, method, seed, **options) for each in (black, model)]
        stacked = torch.stack([maps[0], self.own, maps[1], self.edges])
        return {
            f"{key}{ending}": figures[:, 0, place]
            for ending, figures in (("", rank_correlations(stacked)), ("_overlap", overlaps(stacked, KEPT)))
            for place, key in enumerate(COMPARED, start=1)
        }


def costs_of(
    pair: tuple[PrototypeModel, PrototypeModel],
    images: Tensor,
    methods: Sequence[str],
    seed: int,
    options: Mapping[str, Mapping[str, Any]],
    team: Team,
) -> Costs:
    """Seconds of each method, and of what it is held against, for a number of images, by a few: [B, C, H, W]."""
    most, scene = len(images), Scene.at(pair, images, seed)

    def rate(method: str) -> float:
        own = options.get(method, {})
        return rate_of(lambda n: scene.first(n).figures(pair, method, seed, own)["own"].cpu(), most)

    held = rate_of(lambda n: Scene.at(pair, images[:n], seed).own.cpu(), most)
    rates = agreed(team, {"maps without a method": held} | {name: rate(name) for name in methods})
    return lambda count: {name: count * seconds / team.size for name, seconds in rates.items()}


def pictures_of_gap(
    run: Run | Path | str,
    other: Run | Path | str | None,
    method: str,
    *,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Comparison, Comparison]:
    """A validation image of each class as the model sees it, itself and by a method, and as its black box does.

    Both explain the class that the black box says.
    """
    run = Run.open(run)
    model, black = counterparts(run, other)
    validation = open_data(run.config.data).validation
    subjects, pixels = drawn_of_each(validation, model.task.classes, 1, seed)
    targets = answers(black, to_float(pixels, "cpu")).argmax(dim=1)
    asked = (subjects, pixels)
    return (
        compared(model, *asked, list(dict.fromkeys(("self", method))), targets, seed, options, 1),
        compared(black, *asked, [method], targets, seed, options, 1),
    )


@torch.no_grad()
def answers(model: PrototypeModel, images: Tensor) -> Tensor:
    """Logits, [B, K]."""
    with evaluation_mode(model):
        logits: Tensor = model(images)
    return logits
