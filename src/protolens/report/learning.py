"""How a run learnt: its curves, its stages and its time."""

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

from protolens.report.about import settings_rows
from protolens.report.charts import Chart, Curve, Marks, line_chart
from protolens.report.following import followed_rows, whereabouts_section
from protolens.report.numbers import counted, percent, three
from protolens.report.several import main_figure_of
from protolens.train import Run, is_uneven
from protolens.train.progress import duration

ZOOM_FROM = 5  # epochs from which on the last ones are also shown enlarged
WIDE = 20  # a term whose values span so many times is drawn on a logarithmic scale


def learning_section(run: Run, placed: bool = False) -> dict[str, Any]:
    """How did it learn? placed: whether prototypes stand at places."""
    history, stages = run.history, run.facts["stages"]
    marks = find_marks(history, run.facts["chosen"])
    return {
        "sentence": _sentence(run, marks),
        "charts": [*main_charts(run, marks), *term_charts(history, stages, marks)] if history else [],
        "stages": [_stage_row(stage, run) for stage in stages],
        "settings": settings_rows(run),
        "marks": marks,
        "several": len(stages) > 1,
        "followed": followed_rows(run, placed),
        "whereabouts": whereabouts_section(history, marks),
    }


def find_marks(history: Sequence[dict[str, Any]], chosen: Sequence[dict[str, Any]]) -> Marks:
    """The epochs that were taken and those after which a stage begins, counted over all stages."""
    names = [line["stage"] for line in history]
    starts = tuple(epoch for epoch in range(1, len(names)) if names[epoch] != names[epoch - 1])
    taken = {(stage["stage"], stage["epoch"]) for stage in chosen}
    places = (number for number, line in enumerate(history, 1) if (line["stage"], line["epoch"]) in taken)
    return Marks(tuple(places), starts)


def _sentence(run: Run, marks: Marks) -> str:
    history, select = run.history, run.config.train.select
    if not history or not marks.chosen:
        return "It took no epoch of training."
    taken = history[marks.chosen[-1] - 1]
    of_stage = f" of stage {taken['stage']}" if len(run.facts["stages"]) > 1 else ""
    word, value = select.replace("_", " "), taken["validation"][select]
    score = f"{word} {three(value) if select == 'loss' else percent(value)}"
    took = f"{counted(len(history), 'epoch')} took {duration(run.facts['seconds'])}"
    return f"{took}; the weights of epoch {taken['epoch']}{of_stage} were taken, the best by validation: {score}."


def _stage_row(stage: dict[str, Any], run: Run) -> dict[str, Any]:
    lines = [line for line in run.history if line["stage"] == stage["name"]]
    taken = next((entry for entry in run.facts["chosen"] if entry["stage"] == stage["name"]), None)
    return {
        "name": stage["name"],
        "epochs": len(lines),
        "taken": taken["epoch"] if taken and taken["score"] is not None else None,
        "rates": ", ".join(f"{part} {rate:g}" for part, rate in stage["rates"].items()),
        "weights": ", ".join(f"{term} {weight:g}" for term, weight in stage["weights"].items()),
        "optimiser": f"{stage['optimiser']}, {stage['schedule']} rate",
    }


def main_charts(run: Run, marks: Marks) -> list[Chart]:
    """Validation accuracy, or mean average precision, from 0 to 100 %, and its last stretch enlarged."""
    history, data = run.history, run.facts["data"]
    main = main_figure_of(history[0]["validation"])
    curves = [_validation(main, "solid", history)]
    if main != "accuracy":
        curves.append(_validation("micro_f1", "dashed", history))
    elif is_uneven(data):
        curves.append(_validation("balanced_accuracy", "dashed", history))
    words, share = _control(data, main)
    control = Curve(words, "dotted", [share] * len(history))
    title = f"Validation {main.replace('_', ' ')}"
    charts = [line_chart(main.replace("_", "-"), title, [*curves, control], 0, 1, marks, "percent")]
    # the first quarter climbs too steeply for a close look
    late = [value for curve in curves for value in curve.values[len(history) // 4 :]]
    low, high = min(late), max(late)
    if len(history) >= ZOOM_FROM and high - low < 0.4:
        title += ", enlarged"
        charts.append(line_chart("zoom", title, curves, low, max(high, low + 0.004), marks, "percent"))
    return charts


def _control(data: dict[str, Any], main: str) -> tuple[str, float]:
    """What a model without a thought reaches in the main figure: in words, and the figure."""
    validation, training = data["splits"]["validation"], data["splits"]["training"]["per_class"]
    if main == "accuracy":
        share = validation["per_class"][training.index(max(training))] / max(1, validation["images"])
        return "always the most common class", share
    shown = [images / validation["images"] for images in validation["per_class"] if images]
    return "precision of a constant score", sum(shown) / max(1, len(shown))


def _validation(figure: str, style: str, history: Sequence[dict[str, Any]]) -> Curve:
    # undefined is none reached
    values = [float(line["validation"][figure] or 0) for line in history]
    return Curve(figure.replace("_", " ").replace("f1", "F1"), style, values)


def term_charts(history: Sequence[dict[str, Any]], stages: Sequence[dict[str, Any]], marks: Marks) -> list[Chart]:
    """A chart for each loss term, on a scale of its own."""
    names = list(dict.fromkeys(term for line in history for term in line["terms"]))
    charts = []
    for number, name in enumerate(names):
        curves = [Curve("training", "solid", [float(line["terms"].get(name, nan)) for line in history])]
        if name == "classification":
            curves.append(Curve("validation", "dashed", [float(line["validation"]["loss"]) for line in history]))
        weights = {f"{stage['weights'][name]:g}" for stage in stages if name in stage["weights"]}
        title = f"Loss term {name.replace('_', ' ')} (weight {' or '.join(sorted(weights))})"
        charts.append(_term_chart(f"term-{number}", title, curves, marks))
    return charts


def _term_chart(name: str, title: str, curves: list[Curve], marks: Marks) -> Chart:
    values = [value for curve in curves for value in curve.values if not isnan(value)]
    low, high = min(values), max(values)
    known = marks.known(curves[0].values)
    if 0 < low < high / WIDE:
        return line_chart(name, f"{title}, logarithmic scale", curves, low, high, known, "logarithm")
    return line_chart(name, title, curves, min(0.0, low), max(high, 0.0, low + 1e-6), known)
