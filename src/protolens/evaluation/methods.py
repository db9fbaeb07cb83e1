"""Which explanations can be believed: maps of several methods scored under one protocol on test images.

seeds/003 keeps the top 20 % of the pixels and asks what the classifier still recognises. What hidden pixels are
replaced by decides the ranking (Rong et al. 2022, arXiv:2202.00449), so each figure is told for several fillings, and
two controls that know nothing of the model stand beside every method.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from protolens import __version__
from protolens.attribution import CONTROLS, check_methods, check_precision
from protolens.data import Images, open_data, plain_batches
from protolens.errors import ProtolensError
from protolens.evaluation.budget import Costs, agreed, foreseen, half_width, in_points, rate_of, tried
from protolens.evaluation.degradation import aopc, area
from protolens.evaluation.keeping import Parts
from protolens.evaluation.looking import (
    CHANGES,
    FILLINGS,
    KEPT,
    SHARES,
    Asked,
    Figures,
    Look,
    gathered,
    looked_closely,
)
from protolens.evaluation.sampling import IMAGES, LEAST, drawn, mean_of, numbers, share_of
from protolens.files import write_json
from protolens.models import PrototypeModel, state_digest
from protolens.train import Run, Team, assemble, refuse_other_images

FILE = "faithfulness.json"
PARTS = "faithfulness.parts"
CLOSER = 32  # images whose maps are made anew, for sensitivity, infidelity and random weights
CLOSE_ONE_OF = 8  # images, where a budget is to buy as many as it can
POINTED = ("in_box", "at_parts")


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
    done = None if again else run.told(FILE)
    if done and done["asked"] == asked.facts():
        return done
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        wanted = min(images, len(data.test))
        few = data.test.subset("test", drawn(len(data.test), tried(wanted), seed))
        plan = foreseen(team, "image", costs_of(model, few, asked, team), wanted, LEAST, budget, begun)
        test = data.test.subset("test", drawn(len(data.test), plan.count, seed))
        count = closer_of(len(test), budget)
        closer = test.subset("test", torch.arange(len(test))[:: len(test) // count][:count])
        about = {"model": before, "data": data.test.digest, "asked": asked.facts()}
        decided = {"images": len(test), "device": team.device.type, "protolens": __version__}
        parts = Parts.of(run.folder / PARTS, about | decided)
        if again:
            parts.forget()
        closely = looked_closely(model, closer, asked, team, parts)
        found, seconds = gathered(model, test, asked, team, parts)
        assert state_digest(model) == before, "measuring changed the model"
    content = about | summary(found, closely, seconds, asked.methods, len(closer))
    widest = half_width(kept["interval"] for own in content["methods"].values() for kept in own["kept"].values())
    content |= plan.facts(f"accuracy kept is known to {in_points(widest)}")
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(path, content)
        parts.forget()
    return content


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
            name: (images * (rates[name] + rates["degraded"]) + closer * (again * rates[name] + rates["foretold"]))
            / team.size
            for name in asked.methods
        }

    return costs


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
