"""What became of the prototypes: the steps between stages that changed them, and where they stood after each epoch."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from statistics import fmean
from typing import Any

from protolens.report.charts import Chart, Curve, Marks, line_chart
from protolens.report.numbers import SPACE, count, counted, percent, signed, three
from protolens.report.several import main_figure_of
from protolens.train import Run

History = Sequence[Mapping[str, Any]]


def followed_rows(run: Run, placed: bool) -> list[dict[str, str]]:
    """A row for each step that followed a stage: what it did, and the main validation figure before and after.

    placed: whether prototypes stand at places, so that they are projected onto patches and not onto whole images.
    """
    return [
        {
            "stage": entry["stage"],
            "step": entry["step"],
            "did": in_words(entry, placed),
            "figure": main.replace("_", " "),
            "before": percent(entry["before"][main]),
            "after": percent(entry["after"][main]),
            "change": points(entry["after"][main] - entry["before"][main]),
        }
        for entry in run.facts.get("followed", [])
        for main in [main_figure_of(entry["after"])]
    ]


def in_words(entry: Mapping[str, Any], placed: bool) -> str:
    """What a step did."""
    if "projected" in entry:
        onto = counted(entry["patches"], "training patch" if placed else "training image")
        moved = f"{counted(entry['projected'], 'prototype')} moved onto {onto}"
        return f"{moved}, by a distance of {three(entry['mean_move'])} on average"
    if "centres" in entry:
        rounds = counted(entry["rounds"], "round")
        return f"{rounds} of k-means over {count(entry['vectors'])} codes, {count(entry['centres'])} centres"
    if "temperature" in entry:
        images = counted(entry["looked_at"], "training image")
        return f"temperature {three(entry['temperature'])}, by the network’s probabilities of {images}"
    if "dropped" in entry:
        why = {
            "prune": " whose nearest images are mostly of other classes",
            "eliminate": " that no image was nearest to",
        }
        if not entry["dropped"]:
            return f"none dropped, {count(entry['left'])} left"
        return f"{count(len(entry['dropped']))} dropped{why.get(entry['step'], '')}, {count(entry['left'])} left"
    return "the prototypes were changed"


def points(change: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{signed(100 * change, 2)}{SPACE}points"


def whereabouts_section(history: History, marks: Marks) -> dict[str, Any] | None:
    """Where did the prototypes go? None for a run that did not follow them (train.follow)."""
    if not any(line.get("prototypes") for line in history):
        return None
    charts = [
        _chart("uses", "Number of prototypes", _pair(history, lambda line, used: len(chosen(line, used))), marks),
        _chart("norm", "Mean norm of prototypes", _pair(history, lambda line, used: mean(line, "norm", used)), marks),
        _chart("distance", "Mean distance of prototypes to the nearest code",
               _pair(history, lambda line, used: mean(line, "distance", used)), marks),
    ]  # fmt: skip
    return {"sentence": _sentence(history), "charts": [chart for chart in charts if chart]}


def chosen(line: Mapping[str, Any], used: bool) -> list[int]:
    """Positions of the prototypes that some training image is nearest to, or of those that none is."""
    return [number for number, images in enumerate(line["uses"]) if (images > 0) == used]


def mean(line: Mapping[str, Any], figure: str, used: bool) -> float:
    """Mean of a figure over the used, or the unused, prototypes; NaN where there is none."""
    values = [line[figure][number] for number in chosen(line, used)] if line[figure] is not None else []
    return fmean(values) if values else nan


def _pair(history: History, figure: Callable[[Mapping[str, Any], bool], float]) -> list[Curve]:
    lines = [line.get("prototypes") for line in history]
    return [
        Curve(word, style, [figure(line, used) if line else nan for line in lines])
        for word, style, used in (("used", "solid", True), ("unused", "dashed", False))
    ]


def _chart(name: str, title: str, curves: Sequence[Curve], marks: Marks) -> Chart | None:
    curves = [curve for curve in curves if not all(map(isnan, curve.values))]
    values = [value for curve in curves for value in curve.values if not isnan(value)]
    if not values:
        return None
    return line_chart(f"prototypes-{name}", title, curves, 0, max(*values, 1e-6), marks.known(curves[0].values))


def _sentence(history: History) -> str:
    last = next(line["prototypes"] for line in reversed(history) if line.get("prototypes"))
    used, unused = (len(chosen(last, which)) for which in (True, False))
    said = f"After the last epoch {count(used)} of {counted(used + unused, 'prototype')} are used"
    near, far = (mean(last, "distance", which) for which in (True, False))
    if isnan(near) or isnan(far):
        return f"{said}."
    return f"{said}; their mean distance to the nearest code is {three(near)}, that of the others {three(far)}."
