"""The verb `evaluate --robustness`: do explanations hold when images, or the ways to find prototypes, change a little?

Trust as seeds/001 has it: average drop and increase of prototypes by both conventions, local explanations under noise,
and global ones when prototypes are found again.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.attribution import CONTROLS, attribute
from protolens.data import Batch, DataSet, Images, open_data, plain_batches, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import shaking
from protolens.evaluation.budget import Costs, agreed, foreseen, half_width, in_points, line_of
from protolens.evaluation.damaged import damaged
from protolens.evaluation.drops import SHARE, WANTED, Damage, drops_of, kinds_of_maps, names_of
from protolens.evaluation.predicates import means
from protolens.evaluation.resampling import found_again, seconds_of_finding
from protolens.evaluation.sampling import BATCH, IMAGES, LEAST, drawn, mean_of, watched
from protolens.files import write_json
from protolens.models import PrototypeModel, evaluation_mode, state_digest
from protolens.train import Run, Team, assemble, refuse_other_images

FILE = "robustness.json"


@dataclass(frozen=True)
class Asked:
    """What is measured of each image: maps of prototypes, maps of decisions, and why there are no others.

    damage: how pixels are replaced; seed: of noise and of all else that is drawn.
    """

    kinds: tuple[str, ...]
    maps: tuple[str, ...]
    left_out: Mapping[str, Mapping[str, str]]
    damage: Damage
    seed: int

    @classmethod
    def of(cls, model: PrototypeModel, images: Images, seed: int) -> "Asked":
        """What a model has, by the first of some images."""
        first = to_float(images.take(torch.arange(1)), model.device)
        kinds, without = kinds_of_maps(model, first)
        maps, why = methods_of(model, first)
        if model_without_distance(model, first):
            why["margin"] = f"{model.name} measures no distance to its prototypes"
        left_out = {"prototypes": without, "noise": why}
        return cls(kinds, maps, left_out, Damage.drawn(images.shape, seed), seed)

    def drops(self, model: PrototypeModel, batch: Batch) -> dict[str, Tensor]:
        """What prototypes lose with half of an image, see `drops_of`."""
        return drops_of(model, batch.images, batch.labels, self.kinds, self.damage)

    def noise(self, model: PrototypeModel, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        """What stays under noise, see `steadiness`. rows: [B], numbers of the images."""
        return shaking.steadiness(model, batch.images, batch.labels, rows, self.maps, self.seed)


def robustness(
    run: Run | Path | str,
    *,
    images: int = IMAGES,
    seed: int = 0,
    budget: float | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure how far a run's explanations hold; writes RUN/robustness.json, and pictures beside it.

    images: of the test split, drawn by the seed; budget: seconds, for which as many of them are measured as fit. What
    the model does not have, such as maps of places or prototypes that can be found again without training, is None, or
    left out with its reason. Raises ProtolensError for fewer than two images, and for a budget that is too small.
    """
    run, begun = Run.open(run), time.monotonic()
    if images < 2:
        raise ProtolensError(f"{images} images are too few: an interval needs 2 or more")
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        asked, wanted = Asked.of(model, data.test, seed), min(images, len(data.test))
        few = data.test.subset("test", drawn(len(data.test), min(wanted, BATCH), seed))
        plan = foreseen(team, "image", costs_of(model, data, few, asked, team), wanted, LEAST, budget, begun)
        test = data.test.subset("test", drawn(len(data.test), plan.count, seed))
        content: dict[str, Any] = {
            "model": before,
            "data": data.test.digest,
            "seed": seed,
            "images": len(test),
            **measured(model, test, asked, team),
            "prototypes_again": again(model, data, seed),
            "shown": damaged(model, test, asked.kinds, asked.damage, seed, run.folder if team.leads else None),
        }
        assert state_digest(model) == before, "measuring changed the model"
    content |= plan.facts(what_is_known(content))
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(run.folder / FILE, content)
    return content


def costs_of(model: PrototypeModel, data: DataSet, images: Images, asked: Asked, team: Team) -> Costs:
    """Seconds of replaced pixels, of noise and of prototypes found again for a number of images, by a batch at most."""
    (batch,) = plain_batches(images, len(images), team.device)
    rows = torch.arange(len(images))

    def first(count: int) -> Batch:
        return Batch(batch.images[:count], batch.labels[:count])

    lines = {
        "replaced pixels": line_of(lambda n: asked.drops(model, first(n))["pairs"].cpu(), len(images)),
        "noise": line_of(lambda n: asked.noise(model, first(n), rows[:n])["none margin"].cpu(), len(images)),
    }
    call, each = (agreed(team, {name: line[place] for name, line in lines.items()}) for place in (0, 1))
    again = seconds_of_finding(model, data, asked.seed) if is_found_again(model) else 0.0
    once = agreed(team, {"prototypes found again": again})

    def costs(count: int) -> dict[str, float]:
        mine = count / team.size
        return {name: ceil(mine / BATCH) * call[name] + mine * each[name] for name in lines} | once

    return costs


def what_is_known(content: Mapping[str, Any]) -> str:
    """How well the figures are known from so many images."""
    drops = [
        one["interval"]
        for fillings in content["prototypes"]["maps"].values()
        for measures in fillings.values()
        for one in measures["average_drop"].values()
    ]
    stays = [content["noise"][noise]["decision_stays"]["interval"] for noise in shaking.NOISES]
    said = [in_points(half_width(intervals)) for intervals in (drops, stays)]
    return f"average drops are known to {said[0]}, decisions that stay to {said[1]}"


def measured(model: PrototypeModel, images: Images, asked: Asked, team: Team) -> dict[str, Any]:
    """What is asked of each image: drops of its prototypes, and what stays under noise."""
    found = defaultdict(list)
    for rows, batch in watched(images, team):
        for key, values in (asked.drops(model, batch) | asked.noise(model, batch, rows)).items():
            found[key].append(values)
    joined = {key: team.gather(torch.cat(values)).cpu() for key, values in found.items()}
    return {
        "prototypes": {
            "share": SHARE,
            **summary_of_drops(joined, asked.kinds),
            "left_out": asked.left_out["prototypes"],
        },
        "noise": shaking.summary(joined, asked.maps) | {"left_out": asked.left_out["noise"]},
    }


@torch.no_grad()
def model_without_distance(model: PrototypeModel, image: Tensor) -> bool:
    """Whether a model's similarity is no matter of distance. image: [1, C, H, W]."""
    with evaluation_mode(model):
        return model.evidence(image).distance is None


def methods_of(model: PrototypeModel, image: Tensor) -> tuple[tuple[str, ...], dict[str, str]]:
    """Maps of decisions that are held against those of shaken images, and why the model's own is not among them."""
    try:
        attribute(model, image, None, "self")
    except ProtolensError as error:
        return CONTROLS, {"self": str(error)}
    return ("self", *CONTROLS), {}


def summary_of_drops(found: Mapping[str, Tensor], kinds: Sequence[str]) -> dict[str, Any]:
    """Mean over images of each one's mean over its prototypes, and how far each map is from what knows nothing.

    maps: by map, filling, measure and convention; beyond: the difference to each control, and whether its interval is
    on the wanted side of 0; None where it holds 0.
    """
    own: dict[tuple[str, ...], Tensor] = {names: found[" ".join(names)] for names in names_of(kinds)}
    maps: dict[str, Any] = {}
    for names, values in own.items():
        put(maps, names, mean_of(values))
    beyond: dict[str, Any] = {}
    for control, names in product(CONTROLS, names_of([kind for kind in kinds if kind not in CONTROLS])):
        kind, *rest, measure, convention = names
        apart = mean_of(own[names] - own[control, *rest, measure, convention])
        apart["better"] = verdict(apart["interval"], WANTED[measure, convention])
        put(beyond, (kind, control, *rest, measure, convention), apart)
    pairs = int(found["pairs"].sum())
    return {
        "pairs": pairs,
        "positive": int(found["positive"].sum()) / pairs if pairs else None,
        "maps": maps,
        "beyond": beyond,
    }


def put(tree: dict[str, Any], names: Sequence[str], value: Any) -> None:
    """Into nested tables, below these names."""
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def verdict(interval: Sequence[float] | None, wanted: int) -> bool | None:
    """Whether a difference is on the wanted side of 0, 1 or -1; None where that cannot be told."""
    if interval is None or interval[0] <= 0 <= interval[1]:
        return None
    return (interval[0] > 0) == (wanted > 0)


def is_found_again(model: PrototypeModel) -> bool:
    """Whether a model's prototypes can be found again without training: they are centres of codes."""
    return model.name == "kmex"


def again(model: PrototypeModel, data: DataSet, seed: int) -> dict[str, Any]:
    """Prototypes that are found again, for KMEx; else the reason why not."""
    if is_found_again(model):
        return found_again(model, data, seed) | {"left_out": {}}
    why = f"prototypes of {model.name} come from training; `protolens compare` matches those of runs of other seeds"
    return {"left_out": {"prototypes found again": why}}


def figures_of_robustness(run: Run) -> dict[str, float | None]:
    """The figures of RUN/robustness.json by dotted names, where it tells of the run's model."""
    content = run.told(FILE)
    if content is None:
        return {}
    parts = {name: content[name] for name in ("prototypes", "noise", "prototypes_again")}
    return means(parts, "trust.") | {"trust.robustness_images": content["images"]}
