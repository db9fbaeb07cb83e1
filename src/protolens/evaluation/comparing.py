"""The verb `compare`: finished runs side by side, over the same test images, and what can and cannot be chance."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from protolens.config import to_mapping
from protolens.errors import ProtolensError
from protolens.evaluation.answers import not_evaluated, read_answers
from protolens.evaluation.doubting import FILE as DOUBTS
from protolens.evaluation.gap import figures_of_gap
from protolens.evaluation.predicates import flat
from protolens.evaluation.scores import (
    Difference,
    bootstrap_interval,
    difference_over_runs,
    exact_paired_test,
    holm,
)
from protolens.evaluation.steadiness import figures_of_robustness
from protolens.evaluation.trust import (
    accuracy_gap,
    agreement,
    calibrated_divergence,
    divergence,
    divergence_of_decision,
    log_shares_of_cells,
    matched_correlation,
)
from protolens.models import model_class
from protolens.train import Run, classes_said, classes_shown, number, share_of_equal

LEVEL = 0.05  # chance above which two kinds are not told apart
SCORES = (
    "accuracy",
    "balanced_accuracy",
    "area_under_roc",
    "loss",
    "calibration_error",
    "brier_score",
    "mean_average_precision",
    "macro_f1",
)
REFUSED_OF = "uncertainty.refused_of."  # and the name of other data
BLACK_BOXES = ("blackbox", "network")


@dataclass(frozen=True)
class Compared:
    """A run, what it answered, and what its evaluation says."""

    run: Run
    answers: Mapping[str, Tensor]
    content: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Run | Path | str) -> "Compared":
        """Raises ProtolensError for a run that was not evaluated by this version."""
        run = Run.open(folder)
        answers, content = read_answers(run), run.evaluation
        if content is None:
            raise not_evaluated(run)
        return cls(run, answers, content)

    @property
    def several(self) -> bool:
        """Whether an image can show several classes."""
        return self.answers["labels"].ndim > 1

    @property
    def right(self) -> Tensor:
        """Whether each test image was recognised, with all its classes: [N] of bool."""
        logits, labels = self.answers["logits"], self.answers["labels"]
        said = classes_said(logits, self.several)
        return (said == classes_shown(labels, logits.shape[1])).all(dim=1)

    @property
    def is_black_box(self) -> bool:
        """Whether it is what others are held against."""
        return self.run.config.model["name"] in BLACK_BOXES


def compare(runs: Sequence[Run | Path | str]) -> dict[str, Any]:
    """What tells finished runs apart: figures of every kind of run, and a verdict on the accuracy of every two kinds.

    Runs that differ by their seed alone are of one kind. Trust is that in a black box: the network that a run was
    converted from, else the run of a black box among these, of the same seed where there is one. Raises ProtolensError
    for fewer than two runs, for runs that were not evaluated, and for other test images than those of the first.
    """
    if len({Run.open(run).folder.resolve() for run in runs}) < 2:
        raise ProtolensError("compare needs two runs or more, each named once")
    return compare_some(runs)


def compare_some(runs: Sequence[Run | Path | str]) -> dict[str, Any]:
    """The same, also of a single run: then its figures alone. Raises ProtolensError as `compare` does."""
    compared = [Compared.open(folder) for folder in dict.fromkeys(Run.open(run).folder.resolve() for run in runs)]
    first = compared[0]
    for other in compared[1:]:
        if other.content["data"] != first.content["data"]:
            raise ProtolensError(
                f"{other.run.folder} was evaluated on other test images than {first.run.folder}; compare runs of the "
                "same data and split"
            )
    kinds = kinds_of(compared)
    figures = {name: [figures_of(each, counterpart(each, compared)) for each in runs] for name, runs in kinds.items()}
    return {
        "data": first.run.facts["data"]["name"],
        "images": len(first.answers["labels"]),
        "kinds": [entry(name, kinds[name], figures[name]) for name in kinds],
        "pairs": pairs_of(kinds),
    }


def is_comparable(run: Run) -> bool:
    """Whether a run was evaluated as it is now, by a version that kept all that `compare` needs."""
    try:
        one = Compared.open(run)
    except ProtolensError:
        return False
    return "predicates" in one.content


def kinds_of(compared: Sequence[Compared]) -> dict[str, list[Compared]]:
    """The runs by the name of their kind, in the order of their seeds."""
    groups: dict[str, list[Compared]] = defaultdict(list)
    for each in compared:
        groups[settings_of(each.run)].append(each)
    found: dict[str, list[Compared]] = {}
    for runs in groups.values():
        runs.sort(key=lambda each: each.run.config.seed)
        name = name_of(runs[0].run) if len(runs) > 1 else runs[0].run.folder.name
        found[name if name not in found else str(runs[0].run.folder)] = runs
    return found


def settings_of(run: Run) -> str:
    """All settings of a run that make it what it is, as one text: without its seed, and where it was made.

    Edits of prototypes are of one run alone: its model is among what makes it.
    """
    tables = to_mapping(run.config)
    tables["model"] = {name: value for name, value in tables["model"].items() if name != "weights"}
    kept = {name: value for name, value in tables.items() if name not in ("seed", "train")}
    edited = run.digest if run.edited else None
    return json.dumps(kept | {"batch": run.config.train.batch, "edited": edited}, sort_keys=True, default=str)


def name_of(run: Run) -> str:
    """The name of a run's folder without its seed."""
    return re.sub(rf"-{run.config.seed}(?=-|$)", "", run.folder.name, count=1)


def counterpart(one: Compared, everyone: Sequence[Compared]) -> tuple[Tensor, Tensor] | None:
    """Logits of the black box on test and validation images: of the network inside, or of a run; None without one."""
    if "predictor" in one.answers:
        return one.answers["predictor"], one.answers["validation_predictor"]
    boxes = [other for other in everyone if other.is_black_box and other is not one]
    if one.is_black_box or not boxes:
        return None
    box = min(boxes, key=lambda other: other.run.config.seed != one.run.config.seed)
    same = box.run.facts["data"]["splits"]["validation"] == one.run.facts["data"]["splits"]["validation"]
    return (box.answers["logits"], box.answers["validation_logits"]) if same else None


def figures_of(one: Compared, black: tuple[Tensor, Tensor] | None) -> dict[str, float | None]:
    """Every figure of a run by its dotted name, with what else was measured of the same model."""
    found = {name: one.content[name] for name in SCORES if one.content.get(name) is not None}
    if black is not None:
        found |= {f"trust.{name}": number(value) for name, value in trust_of(one, *black).items()}
    found |= (
        refusals_of(one) | flat(one.content["predicates"]) | figures_of_robustness(one.run) | figures_of_gap(one.run)
    )
    parts = one.content.get("parts", {})  # evaluations by earlier versions have none
    return found | flat(parts.get("figures", {}), "transparency.parts.")


def refusals_of(one: Compared) -> dict[str, float | None]:
    """What `evaluate --uncertainty` has found of the same model, by the least probability that is called cautious.

    It costs every model as many of its own images, so that what it refuses of others can be compared; that for right
    answers refuses nothing where a model is right anyway.
    """
    content = one.run.told(DOUBTS)
    if content is None:
        return {}
    own = content["refusal"]["cautious"]
    others = {f"{REFUSED_OF}{name}": each["refusal"]["cautious"]["refused"] for name, each in content["others"].items()}
    return {"uncertainty.refused": own["refused"], "uncertainty.accuracy": own["accuracy"]} | others


def trust_of(one: Compared, black: Tensor, black_validation: Tensor) -> dict[str, float]:
    """How a run stands to its black box, whose logits are given for both splits."""
    logits, labels = one.answers["logits"], one.answers["labels"]
    if one.several:
        return {"agreement": share_of_equal(classes_said(logits, True), classes_said(black, True))}
    seen = one.answers["validation_logits"]
    found = {
        "accuracy_gap": accuracy_gap(logits, black, labels),
        "agreement": agreement(logits, black),
        "divergence": divergence(logits, black),
        "divergence_of_decision": divergence_of_decision(logits, black),
        "calibrated_divergence": calibrated_divergence(logits, black, seen, black_validation),
    }
    if not model_class(str(one.run.config.model["name"])).linear and "similarity" in one.answers:
        cells = log_shares_of_cells(one.answers["similarity"], one.answers["class_of"], logits.shape[1])
        found["divergence_as_published"] = divergence(cells, black)
    return found


def entry(name: str, runs: Sequence[Compared], figures: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """A kind of run with each figure's values, mean and sample standard deviation; None where a run has none."""
    found: dict[str, Any] = {}
    for figure in dict.fromkeys(name for each in figures for name in each):
        found[figure] = over_runs([each.get(figure) for each in figures])
    alike = [each.answers["similarity"] for each in runs if "similarity" in each.answers]
    matched = [matched_correlation(one, other) for one, other in combinations(alike, 2)]
    if matched:
        found["trust.matched_correlation"] = over_runs(matched)
    return {
        "name": name,
        "model": runs[0].run.config.model["name"],
        "runs": [str(each.run.folder) for each in runs],
        "seeds": [each.run.config.seed for each in runs],
        "figures": found,
    }


def over_runs(values: Sequence[float | None]) -> dict[str, Any]:
    """Values with their mean and sample standard deviation; None where a run has no value."""
    known = [value for value in values if value is not None]
    whole = bool(known) and len(known) == len(values)
    return {
        "values": list(values),
        "mean": mean(known) if whole else None,
        "spread": stdev(known) if whole and len(known) > 1 else None,
    }


def pairs_of(kinds: Mapping[str, Sequence[Compared]]) -> list[dict[str, Any]]:
    """Every two kinds: how much more accurate the better one is, in which interval, and whether that can be chance."""
    right = {name: torch.stack([each.right for each in runs]) for name, runs in kinds.items()}
    order = sorted(right, key=lambda name: -float(right[name].double().mean()))
    pairs = list(combinations(order, 2))
    found = [difference_of(right[better], right[worse]) for better, worse in pairs]
    chances = holm([difference.chance for difference in found])
    return [
        {
            "better": better,
            "worse": worse,
            "difference": difference.value,
            "interval": [difference.low, difference.high],
            "chance": difference.chance,
            "adjusted_chance": chance,
            "told_apart": chance < LEVEL,
            "sentence": sentence(better, worse, difference, chance < LEVEL, len(pairs)),
        }
        for (better, worse), difference, chance in zip(pairs, found, chances, strict=True)
    ]


def difference_of(first: Tensor, second: Tensor) -> Difference:
    """Of shares recognised. first: [S, N], second: [R, N] of bool; of one run each by the exact test of the pairs."""
    if len(first) > 1 or len(second) > 1:
        return difference_over_runs(first, second)
    apart = first[0].double() - second[0].double()
    return Difference(float(apart.mean()), *bootstrap_interval(apart, 0), exact_paired_test(first[0], second[0]))


def sentence(better: str, worse: str, difference: Difference, told_apart: bool, pairs: int = 1) -> str:
    """The verdict on two kinds in plain words; the interval is that of these two alone, whatever pairs there are."""
    decimals = 2 if told_apart and difference.low < 0.0005 else 1  # or the interval would begin at 0
    low, high = (f"{100 * end:z.{decimals}f}".replace("-", "−") for end in (difference.low, difference.high))
    figures = f"+{100 * difference.value:.{decimals}f} points, 95 % interval {low} to {high}"
    if told_apart:
        return f"{better} is more accurate than {worse}: {figures}."
    if pairs > 1 and difference.low > 0:
        return f"{better} and {worse} cannot be told apart among {pairs} pairs: {figures} for this pair alone."
    return f"{better} and {worse} cannot be told apart: {figures}."


def to_csv(found: Mapping[str, Any]) -> str:
    """A line a figure of each run, as CSV with a head."""
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(["kind", "model", "run", "seed", "figure", "value"])
    for kind in found["kinds"]:
        for figure, own in kind["figures"].items():
            if len(own["values"]) != len(kind["runs"]):
                continue
            for run, seed, value in zip(kind["runs"], kind["seeds"], own["values"], strict=True):
                lines.writerow([kind["name"], kind["model"], run, seed, figure, "" if value is None else value])
    return file.getvalue()
