"""The verb `evaluate --robustness`: do explanations hold when images, or the ways to find prototypes, change a little?

Trust as seeds/001 has it: average drop and increase of prototypes by both conventions, local explanations under noise,
and global ones when prototypes are found again.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.attribution import CONTROLS, attribute
from protolens.data import DataSet, Images, open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import shaking
from protolens.evaluation.drops import SHARE, WANTED, Damage, drops_of, kinds_of_maps, names_of
from protolens.evaluation.methods import IMAGES, drawn, mean_of, watched
from protolens.evaluation.predicates import flat
from protolens.evaluation.resampling import found_again
from protolens.files import read_json, write_json
from protolens.models import PrototypeModel, evaluation_mode, state_digest
from protolens.train import Run, Team, assemble, refuse_other_images

FILE = "robustness.json"


def robustness(run: Run | Path | str, *, images: int = IMAGES, seed: int = 0, device: str = "auto") -> dict[str, Any]:
    """Measure how far a run's explanations hold, and write RUN/robustness.json.

    images: of the test split, drawn by the seed. What the model does not have, such as maps of places or prototypes
    that can be found again without training, is None, or left out with its reason. Raises ProtolensError for fewer
    than two images.
    """
    run, begun = Run.open(run), time.monotonic()
    if images < 2:
        raise ProtolensError(f"{images} images are too few: an interval needs 2 or more")
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        test = data.test.subset("test", drawn(len(data.test), images, seed))
        content: dict[str, Any] = {
            "model": before,
            "data": data.test.digest,
            "seed": seed,
            "images": len(test),
            **measured(model, test, seed, team),
            "prototypes_again": again(model, data, seed),
        }
        assert state_digest(model) == before, "measuring changed the model"
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(run.folder / FILE, content)
    return content


def measured(model: PrototypeModel, images: Images, seed: int, team: Team) -> dict[str, Any]:
    """What is asked of each image: drops of its prototypes, and what stays under noise."""
    first = to_float(images.take(torch.arange(1)), team.device)
    kinds, left_out = kinds_of_maps(model, first)
    maps, why = methods_of(model, first)
    if model_without_distance(model, first):
        why["margin"] = f"{model.name} measures no distance to its prototypes"
    damage, found = Damage.drawn(images.shape, seed), defaultdict(list)
    for rows, batch in watched(images, team):
        asked = (model, batch.images, batch.labels)
        figures = drops_of(*asked, kinds, damage) | shaking.steadiness(*asked, rows, maps, seed)
        for key, values in figures.items():
            found[key].append(values)
    joined = {key: team.gather(torch.cat(values)).cpu() for key, values in found.items()}
    return {
        "prototypes": {"share": SHARE, **summary_of_drops(joined, kinds), "left_out": left_out},
        "noise": shaking.summary(joined, maps) | {"left_out": why},
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


def again(model: PrototypeModel, data: DataSet, seed: int) -> dict[str, Any]:
    """Prototypes that are found again, for KMEx; else the reason why not."""
    if model.name == "kmex":
        return found_again(model, data, seed) | {"left_out": {}}
    why = f"prototypes of {model.name} come from training; `protolens compare` matches those of runs of other seeds"
    return {"left_out": {"prototypes found again": why}}


def figures_of_robustness(run: Run, model: str) -> dict[str, float | None]:
    """The figures of RUN/robustness.json by dotted names, where it is there and of the model with that digest."""
    path = run.folder / FILE
    content = read_json(path) if path.exists() else {}
    if content.get("model") != model:
        return {}
    parts = {name: content[name] for name in ("prototypes", "noise", "prototypes_again")}
    means = ((name.rpartition(".mean"), value) for name, value in flat(parts).items())
    return {f"trust.{before}": value for (before, mean, after), value in means if mean and not after}
