"""What the page is told: plain data with pictures, as JSON holds it."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protolens.data.pictures import to_png
from protolens.editing import Consequences
from protolens.explanation import heat_map
from protolens.report.about import head_of
from protolens.report.colours import adds_to_colours
from protolens.report.comparison import TITLES
from protolens.report.gallery import Prototype
from protolens.report.reasons import refuse_false_sum
from protolens.serve.exhibit import Exhibit

MOST_FLIPS = 200
FULL = 0.995  # share of a map's pixels that its colours tell apart


def of_run(exhibit: Exhibit) -> dict[str, Any]:
    """A run in a list of runs."""
    run, task, found = exhibit.run, exhibit.task, exhibit.run.evaluation or {}
    head = head_of(run)
    return {
        "name": exhibit.name,
        "model": run.facts["model"]["name"],
        "about": head["model"],
        "set": head["set"],
        "shape": head["shape"],
        "classes": list(task.classes),
        "several": task.several,
        "width": task.width,
        "height": task.height,
        "bands": task.bands,
        "seed": run.config.seed,
        "linear": exhibit.model.linear,
        "prototypes": len(run.prototypes),
        "splits": {split: len(exhibit.images(split)) for split in exhibit.splits},
        "accuracy": found.get("accuracy", found.get("mean_average_precision")),
        "interval": found.get("accuracy_interval", found.get("mean_average_precision_interval")),
        "measure": "accuracy" if "accuracy" in found else "mean average precision",
        "chance": found.get("always_most_common_class"),
        "edited": run.facts.get("edited"),
        "folder": run.folder.name,
    }


def of_prototype(exhibit: Exhibit, prototype: Prototype, illnesses: Mapping[int, list[Any]]) -> dict[str, Any]:
    """A prototype in the gallery."""
    number = prototype.number
    return {
        "prototype": number,
        "class": prototype.class_name,
        "use": prototype.use,
        "images": prototype.images,
        "nearest": prototype.nearest_words,
        "alt": prototype.alt,
        "decoded": prototype.decoded is not None,
        "box": prototype.patch and prototype.patch.box,
        "findings": list(prototype.findings),
        "illnesses": illnesses.get(number, []),
        "weights": exhibit.run.prototypes[number]["weights"],
    }


def illnesses_of(exhibit: Exhibit) -> dict[str, Any]:
    """What the doctor has found, by prototype; `asked` is false where nobody has called it."""
    content = exhibit.run.told("doctor.json")
    if content is None:
        return {"asked": False, "by_prototype": {}, "healthy": None}
    found: dict[int, list[Any]] = {}
    for finding in content["findings"]:
        entry = {name: finding[name] for name in ("kind", "sentence", "mend")}
        found.setdefault(finding["prototype"], []).append(entry)
    return {"asked": True, "by_prototype": found, "healthy": content["healthy"]}


def why(exhibit: Exhibit, split: str, index: str, target: str | None) -> dict[str, Any]:
    """Why the run decides so about an image: the explanation with the pictures of maps, and what doubts there are.

    Raises ProtolensError where reasons do not sum to the logit.
    """
    explanation = exhibit.explain(split, index, target)
    content = explanation.to_dict()
    refuse_false_sum(content)
    pixels = exhibit.pixels(split, index)
    content["heat"] = {number: as_uri(heat_map(pixels, own)) for number, own in explanation.maps.items()}
    content["linear"] = exhibit.model.linear
    content["doubt"] = exhibit.doubt(split, index)
    content["classes"] = list(exhibit.task.classes)
    return content


def of_consequences(found: Consequences) -> dict[str, Any]:
    """What edits would do; of many changed predictions the first of each way."""
    content, ways = asdict(found), ("mended", "broken", "other")
    flips = {way: [asdict(flip) for flip in found.flips if flip.way == way] for way in ways}
    content["flips"] = [flip for own in flips.values() for flip in own[:MOST_FLIPS]]
    return content | {way: len(own) for way, own in flips.items()}


def coloured(values: Tensor) -> dict[str, Any]:
    """A map of relevance in colours, and the value at which they are full. values: [H, W]."""
    end = float(np.quantile(values.abs().numpy(), FULL)) or float(values.abs().max())
    colours = torch.from_numpy(adds_to_colours(values.numpy(), end)).permute(2, 0, 1)
    return {"picture": as_uri(colours), "full": end}


def as_uri(image: Tensor) -> str:
    """A picture that a page can hold. image: [C, H, W]."""
    return "data:image/png;base64," + base64.b64encode(to_png(image)).decode("ascii")


def titles() -> dict[str, str]:
    """What methods are called."""
    return dict(TITLES)
