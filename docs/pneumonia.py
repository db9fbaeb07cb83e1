"""The models on PneumoniaMNIST as an engineer needs to know them; writes docs/pneumonia.md and its pictures.

    PROTOLENS_DATA=DIR protolens table docs/tables/pneumonia.toml --out docs/results
    PROTOLENS_DATA=DIR python docs/pneumonia.py

The first command trains and evaluates; this one reads what it left, examines each run's prototypes once, and trains
nothing. Thresholds come from validation images; test images are those that `evaluate` has read.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from jinja2 import Environment, StrictUndefined
from torch import Tensor

from protolens.data import open_data
from protolens.evaluation import doctor
from protolens.evaluation.answers import read_answers
from protolens.files import read_json, write_text
from protolens.report import write_doctor
from protolens.report.doctor import ILLNESSES, split_mend
from protolens.report.numbers import MINUS, NONE, counted
from protolens.train import Run

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "docs/results/pneumonia.json", ROOT / "docs/pneumonia.md"
TEMPLATE, PICTURES = ROOT / "docs/pneumonia.md.jinja", ROOT / "docs/pictures"
PREFIX, BLACK_BOX = "pneumonia-", "pneumonia-blackbox"
SICK = 1  # number of the class that must not be missed
FOUND = 0.95  # share of the sick validation images that a threshold has to find
RANKS = 0.94  # area under ROC of MedMNIST v2's ResNet-18 at 28 pixels, about
MARGIN = 0.05  # of accuracy, by which a model must not be worse than the black box
STRANGERS = "mnist"  # images that are no X-rays, as large
HOLDS = (  # what is measured beside the evaluation
    "trust.noise.gaussian.decision_stays",
    "trust.noise.gaussian.nearest_stays",
    "trust.gap.lrp.own",
    "uncertainty.refused",
    "uncertainty.accuracy",
    f"uncertainty.refused_of.{STRANGERS}",
)
SOUND = 0.9  # share of a model's prototypes about which nothing is wrong


@dataclass(frozen=True)
class Model:
    """A kind of runs, which differ by their seed."""

    name: str
    runs: tuple[Run, ...]
    figures: Mapping[str, Sequence[float]]  # values of each seed
    found: Sequence[Mapping[str, Any]]  # what the doctor found in each


def read() -> tuple[dict[str, Any], list[Model]]:
    """The comparison that the table holds, and its models."""
    (compared,) = read_json(RESULTS)["comparisons"]
    kinds = [(kind, tuple(Run.open(ROOT / folder) for folder in kind["runs"])) for kind in compared["kinds"]]
    every = [run for _, runs in kinds for run in runs]
    (_,) = {run.facts["data"]["splits"]["validation"]["digest"] for run in every}  # all have the same
    labels = open_data(every[0].config.data).validation.labels
    models = []
    for kind, runs in kinds:
        figures = {name: own["values"] for name, own in kind["figures"].items() if None not in own["values"]}
        figures |= columns([operating(run, labels) for run in runs])
        models.append(Model(kind["name"], runs, figures, [examined(run) for run in runs]))
    return compared, models


def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """By name, the values of all rows."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def examined(run: Run) -> Mapping[str, Any]:
    """What the doctor finds; what it found is not asked again."""
    found = run.told("doctor.json")
    if found is None:
        found = doctor(run)
        write_doctor(run, found, run.folder)
    return found


def operating(run: Run, labels: Tensor) -> dict[str, float]:
    """Shares recognised of sick and healthy test images: as the model says it, and at a threshold from validation.

    labels: of the validation images.
    """
    answers = read_answers(run)
    tested, known = (scores(answers[name]) for name in ("logits", "validation_logits"))
    threshold = known[labels == SICK].quantile(1 - FOUND, interpolation="lower")
    truth = answers["labels"] == SICK
    right = (answers["logits"].argmax(dim=1) == SICK) == truth
    careful = (tested >= threshold) == truth
    return {
        "validation": float(((known > 0) == (labels == SICK)).double().mean()),
        "sensitivity": float(right[truth].double().mean()),
        "specificity": float(right[~truth].double().mean()),
        "careful_sensitivity": float(careful[truth].double().mean()),
        "careful_specificity": float(careful[~truth].double().mean()),
    }


def scores(logits: Tensor) -> Tensor:
    """How much speaks for the sick class, [N]: above 0 it is said."""
    logits = logits.double()
    return logits[:, SICK] - logits[:, 1 - SICK]


def sound(model: Model) -> list[int]:
    """The seeds about whose prototypes the doctor has little enough to say."""
    seeds = [run.config.seed for run in model.runs]
    return [seed for seed, own in zip(seeds, model.found, strict=True) if own["healthy"] >= SOUND * own["prototypes"]]


def sound_in_all(model: Model) -> bool:
    """Whether the doctor has little enough to say about the prototypes of all seeds together."""
    return sum(own["healthy"] for own in model.found) >= SOUND * sum(own["prototypes"] for own in model.found)


def deficit(model: Model, pairs: Sequence[Mapping[str, Any]]) -> float:
    """How much less accurate than the black box it may be: that end of the interval."""
    (pair,) = [pair for pair in pairs if {pair["better"], pair["worse"]} == {BLACK_BOX, model.name}]
    low, high = pair["interval"]
    return float(high if pair["better"] == BLACK_BOX else -low)


def objections(model: Model, pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What speaks against the use of a model, whatever its seed."""
    if model.name == BLACK_BOX:
        return ["it has no reasons to show"]
    said = []
    if (worse := deficit(model, pairs)) > MARGIN:
        said.append(f"it may be {100 * worse:.1f} points less accurate than the black box")
    if (area := mean(model.figures["area_under_roc"])) < RANKS:
        said.append(f"area under ROC {area:.3f}")
    if not sound(model):
        said.append("no seed has prototypes that are sound")
    return said


def percent(share: float) -> str:
    """Without decimals."""
    return f"{100 * share:.0f} %"


def spread(values: Sequence[float], write: str = ".1f", scale: float = 100) -> str:
    """Mean ± sample standard deviation."""
    around = f" ± {scale * stdev(values):{write}}" if len(values) > 1 else ""
    return f"{scale * mean(values):{write}}{around}".replace("-", MINUS)


def told(model: Model, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the page says of a model; its picture is put beside the others."""
    seeds = sound(model)
    shown = next((run for run in model.runs if run.config.seed in seeds), model.runs[0])
    shutil.copyfile(shown.folder / "figures" / "prototypes.png", PICTURES / f"{model.name}.png")
    asked = [[found["kinds"][kind] for found in model.found] for kind in ILLNESSES]
    found = model.found[model.runs.index(shown)]
    names = ("accuracy", "validation", "sensitivity", "specificity", "careful_sensitivity", "careful_specificity")
    return {
        "name": model.name.removeprefix(PREFIX),
        "picture": f"{model.name}.png",
        "area": spread(model.figures["area_under_roc"], ".3f", 1),
        "balanced": spread(model.figures["balanced_accuracy"]),
        **{name: spread(model.figures[name]) for name in names},
        "holds": [spread(model.figures[name]) if name in model.figures else NONE for name in HOLDS],
        "sound": ", ".join(f"{own['healthy']} of {own['prototypes']}" for own in model.found),
        "seeds": f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}",
        "sound_in_all": sound_in_all(model),
        "objections": objections(model, pairs),
        "shown": shown.config.seed,
        "finds": f"{counted(found['prototypes'], 'prototype')}; {illnesses_of(found)}.",
        "prototypes": ", ".join(str(found["prototypes"]) for found in model.found),
        "sick": [NONE if own[0]["not_asked"] else ", ".join(str(each["sick"]) for each in own) for own in asked],
    }


def illnesses_of(found: Mapping[str, Any]) -> str:
    """Which prototypes of a run are sick, by illness."""
    sick: dict[str, list[str]] = {}
    for each in found["findings"]:
        sick.setdefault(each["kind"], []).append(str(each["prototype"]))
    return "; ".join(f"{kind}: {', '.join(own)}" for kind, own in sick.items()) or "none is sick"


def page(compared: Mapping[str, Any], models: Sequence[Model]) -> str:
    """All of it."""
    pairs, black_box = compared["pairs"], next(model for model in models if model.name == BLACK_BOX)
    mends = {each["kind"]: each["mend"] for model in models for found in model.found for each in found["findings"]}
    splits = black_box.runs[0].facts["data"]["splits"].items()
    rows = [told(model, pairs) for model in models]
    edges = [mean(own) for model in models if (own := model.figures.get("trust.gap.lrp.edges"))]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    text: str = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        seeds=len(black_box.runs),
        images=compared["images"],
        first=next(row for row in rows if row["name"] == BLACK_BOX.removeprefix(PREFIX)),
        fit=[f"{row['name']} ({row['seeds']})" for row in rows if not row["objections"]],
        together=[row["name"] for row in rows if row["sound_in_all"] and not row["objections"]],
        models=rows,
        measured=int(models[0].figures["trust.robustness_images"][0]),
        edges=[spread([edge(edges)], ".0f") for edge in (min, max)],
        ranks=RANKS,
        margin=f"{100 * MARGIN:g}",
        wrong=percent(1 - SOUND),
        found=percent(FOUND),
        sentences=[
            pair["sentence"].replace(PREFIX, "") for pair in pairs if BLACK_BOX in (pair["better"], pair["worse"])
        ],
        illnesses=list(ILLNESSES),
        known=[
            (kind, illness.about, split_mend(mends[kind])[0]) for kind, illness in ILLNESSES.items() if kind in mends
        ],
        splits=", ".join(f"{facts['images']:,} {name} images" for name, facts in splits),
    )
    return text


def main() -> None:
    """The page, whole."""
    torch.set_num_threads(1)
    compared, models = read()
    write_text(PAGE, page(compared, models))


if __name__ == "__main__":
    main()
