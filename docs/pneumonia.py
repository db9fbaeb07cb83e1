"""The models on PneumoniaMNIST as an engineer needs to know them; writes docs/pneumonia.md and its pictures.

    PROTOLENS_DATA=DIR protolens table docs/tables/pneumonia.toml --out docs/results
    PROTOLENS_DATA=DIR python docs/pneumonia.py

The first command trains and evaluates; this one reads what it left, examines each run's prototypes once, and trains
nothing. Thresholds come from validation images; test images are those that `evaluate` has read.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from protolens.data import open_data
from protolens.evaluation import doctor
from protolens.evaluation.answers import read_answers
from protolens.files import read_json, write_text
from protolens.report import write_doctor
from protolens.report.doctor import ILLNESSES
from protolens.report.numbers import MINUS, counted
from protolens.tables.markdown import table
from protolens.train import Run

ROOT = Path(__file__).parent.parent
RESULTS, PAGE, PICTURES = ROOT / "docs/results/pneumonia.json", ROOT / "docs/pneumonia.md", ROOT / "docs/pictures"
BLACK_BOX = "pneumonia-blackbox"
SICK = 1  # number of the class that must not be missed
FOUND = 0.95  # share of the sick validation images that a threshold has to find
RANKS = 0.94  # area under ROC of MedMNIST v2's ResNet-18 at 28 pixels, about
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
    models = []
    for kind in compared["kinds"]:
        runs = tuple(Run.open(ROOT / folder) for folder in kind["runs"])
        figures = {name: own["values"] for name, own in kind["figures"].items() if None not in own["values"]}
        figures |= columns([operating(run) for run in runs])
        models.append(Model(kind["label"], runs, figures, [examined(run) for run in runs]))
    return compared, models


def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """By name, the values of all rows."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def examined(run: Run) -> Mapping[str, Any]:
    """What the doctor finds; what it found is not asked again."""
    path = run.folder / "doctor.json"
    if path.exists():
        found: Mapping[str, Any] = read_json(path)
        if found["model"] == run.facts["model"]["digest"]:
            return found
    found = doctor(run)
    write_doctor(run, found, run.folder)
    return found


def operating(run: Run) -> dict[str, float]:
    """Shares recognised of sick and healthy test images: as the model says it, and at a threshold from validation."""
    answers, labels = read_answers(run), open_data(run.config.data).validation.labels
    tested, known = (scores(answers[name]) for name in ("logits", "validation_logits"))
    threshold = known[labels == SICK].quantile(1 - FOUND, interpolation="lower")
    truth = answers["labels"] == SICK
    right = (answers["logits"].argmax(dim=1) == SICK) == truth
    careful = (tested >= threshold) == truth
    return {
        "validation": float(((known > 0) == (labels == SICK)).double().mean()),
        "sensitivity": float(right[truth].double().mean()),
        "specificity": float(right[~truth].double().mean()),
        "careful sensitivity": float(careful[truth].double().mean()),
        "careful specificity": float(careful[~truth].double().mean()),
    }


def scores(logits: Tensor) -> Tensor:
    """How much speaks for the sick class, [N]: above 0 it is said."""
    logits = logits.double()
    return logits[:, SICK] - logits[:, 1 - SICK]


def sound(model: Model) -> float:
    """Share of the prototypes of all seeds about which the doctor has nothing to say."""
    return sum(found["healthy"] for found in model.found) / sum(found["prototypes"] for found in model.found)


def objections(model: Model, pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What speaks against the use of a model, by rules that were there before the figures."""
    said = []
    worse = {pair["worse"]: pair for pair in pairs if pair["better"] == BLACK_BOX and pair["told_apart"]}
    if model.name in worse:
        said.append(f"less accurate than the black box, by {100 * worse[model.name]['difference']:.1f} points")
    if (area := mean(model.figures["area_under_roc"])) < RANKS:
        said.append(f"area under ROC {area:.3f}")
    if (share := sound(model)) < SOUND:
        said.append(f"something is wrong with {percent(1 - share)} of its prototypes")
    return said


def percent(share: float) -> str:
    """Without decimals."""
    return f"{100 * share:.0f} %"


def spread(values: Sequence[float], write: str = ".1f", scale: float = 100) -> str:
    """Mean ± sample standard deviation."""
    around = f" ± {scale * stdev(values):{write}}" if len(values) > 1 else ""
    return f"{scale * mean(values):{write}}{around}".replace("-", MINUS)


def opening(compared: Mapping[str, Any], models: Sequence[Model]) -> Iterator[str]:
    """What this is, and the answer."""
    fit = [model.name for model in models if not objections(model, compared["pairs"])]
    tested = models[0].figures
    yield "# Pneumonia on chest X-rays: which of these models may be used?"
    yield ""
    yield "Written by `python docs/pneumonia.py` from the runs of `protolens table docs/tables/pneumonia.toml`"
    yield "([all figures](results/pneumonia.md)). For the engineer who has to say which model a reader of X-rays may"
    yield "see beside an image, and what its pictures are worth."
    yield ""
    if fit:
        yield f"**As a second look beside a reader, on images like these: {', '.join(fit)}. None to decide alone.**"
    else:
        yield "**None, by the rules below: not to decide alone, and not beside a reader either.**"
    yield f"Of {counted(compared['images'], 'test image')} the black box recognises {spread(tested['accuracy'])} % (mean ±"
    yield f"sample standard deviation over {counted(len(models[0].runs), 'seed')}), of the validation images"
    yield f"{spread(tested['validation'])} %: the test images are of other children, and the fall is the first thing to know"
    yield "about this set. It shows in the healthy: models that know a sick lung call many a healthy one sick."


def verdicts(compared: Mapping[str, Any], models: Sequence[Model]) -> Iterator[str]:
    """Which may be used."""
    yield from ("", "## Which may be used?", "")
    yield "Three rules, in the script before there was a figure. A model is not for use when it is less accurate than the"
    yield "black box beyond chance (paired over images and seeds, Holm's correction); when its area under ROC is below"
    yield f"{RANKS}, about that of MedMNIST v2's own ResNet-18 at this size; or when the doctor finds something wrong with more"
    yield f"than {percent(1 - SOUND)} of its prototypes, since then a reader is shown reasons that are none."
    yield ""
    head = ["model", "area under ROC", "accuracy, %", "balanced, %", "sound prototypes", "may be used?"]
    rows = []
    for model in models:
        against = objections(model, compared["pairs"])
        rows.append(
            [
                model.name,
                spread(model.figures["area_under_roc"], ".3f", 1),
                spread(model.figures["accuracy"]),
                spread(model.figures["balanced_accuracy"]),
                percent(sound(model)),
                f"no: {'; '.join(against)}" if against else "**beside a reader**",
            ]
        )
    yield from table(head, rows)
    yield ""
    yield from (f"- {pair['sentence']}" for pair in compared["pairs"] if BLACK_BOX in (pair["better"], pair["worse"]))


def thresholds(models: Sequence[Model]) -> Iterator[str]:
    """How many sick are missed, how many healthy called."""
    yield from ("", "## How many are missed, and how many called for nothing?", "")
    yield "Sensitivity: share of the sick test images that are called sick; specificity: share of the healthy ones that are"
    yield f"not. First as the model decides; then at a threshold at which it finds {percent(FOUND)} of the sick validation"
    yield "images. What the second column misses of that is what another hospital would see as well: set the threshold"
    yield "on images of your own."
    yield ""
    head = ["model", "sensitivity, %", "specificity, %", "at the threshold: sensitivity, %", "specificity, %"]
    names = ("sensitivity", "specificity", "careful sensitivity", "careful specificity")
    yield from table(head, [[model.name, *(spread(model.figures[name]) for name in names)] for model in models])


def pictures(models: Sequence[Model]) -> Iterator[str]:
    """What prototypes show."""
    yield from ("", "## What do their prototypes show?", "")
    yield "The prototypes of seed 0, with the class for which each speaks and the training images that are more like it"
    yield "than like any other. What a decoder draws is not an X-ray; what has a frame or a training image's name is."
    for model in models:
        source = model.runs[0].folder / "figures" / "prototypes.png"
        shutil.copyfile(source, PICTURES / f"{model.name}.png")
        yield from ("", f"### {model.name}", "", f"![prototypes of {model.name}](pictures/{model.name}.png)")


def illnesses(models: Sequence[Model]) -> Iterator[str]:
    """What the doctor found."""
    yield from ("", "## What did the doctor find?", "")
    yield "Prototypes with an illness, of all, a number for each seed; – where it cannot be asked of such a model. It looks"
    yield "at training and validation images; `protolens doctor RUN` shows each with its pictures."
    yield ""
    head = ["model", "prototypes", *ILLNESSES]
    rows = []
    for model in models:
        cells = []
        for kind in ILLNESSES:
            asked = [found["kinds"][kind] for found in model.found]
            cells.append("–" if asked[0]["not_asked"] else ", ".join(str(each["sick"]) for each in asked))
        rows.append([model.name, ", ".join(str(found["prototypes"]) for found in model.found), *cells])
    yield from table(head, rows)
    yield ""
    for kind in ILLNESSES:
        mends = {f["mend"] for model in models for found in model.found for f in found["findings"] if f["kind"] == kind}
        if mends:
            yield f"- {kind}: {ILLNESSES[kind].about}"


def ending(models: Sequence[Model]) -> Iterator[str]:
    """What is not known, and the next steps."""
    splits = models[0].runs[0].facts["data"]["splits"]
    yield from ("", "## What do these figures not say?", "")
    yield "- The images are of 28 x 28 pixels, of children, from one hospital (Kermany et al. 2018, CC BY 4.0, in the form"
    yield "  of MedMNIST v2). Nothing here is known of adults, of other machines, or of any other illness."
    yield f"- {splits['train']['images']:,} training, {splits['validation']['images']:,} validation and"
    yield f"  {splits['test']['images']:,} test images: a point of accuracy is six test images."
    yield "- A prototype that reads well is no proof that the model looks at the lung. Ask `protolens evaluate RUN --method"
    yield "  self,lime,lrp` whether hiding what it points at changes what it says."
    yield ""
    yield "## What next?"
    yield ""
    yield "- Look: `protolens serve RUN` shows an X-ray of yours with its reasons, and sorts the test images by mistake."
    yield "- Mend: `protolens edit RUN --off N` takes a sick prototype away and says what that changes on validation images."
    yield "- Take along: `protolens export RUN --format onnx` writes the model with its reasons as outputs."


def main() -> None:
    """The page, whole."""
    torch.set_num_threads(1)
    compared, models = read()
    lines = [*opening(compared, models), *verdicts(compared, models), *thresholds(models), *pictures(models)]
    write_text(PAGE, "\n".join([*lines, *illnesses(models), *ending(models)]) + "\n")


if __name__ == "__main__":
    main()
