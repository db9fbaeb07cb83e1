"""How good a run is: its figures on the test split, each beside what chance would reach."""

from collections.abc import Mapping, Sequence
from math import ceil, log, sqrt
from typing import Any

from protolens.evaluation import wilson_interval
from protolens.report.about import most_common
from protolens.report.masks import class_rows, mask_rows, masks_of
from protolens.report.numbers import SPACE, count, counted, percent, three
from protolens.report.promises import before_sentence, conciseness_columns, fidelity_rows, promise_rows
from protolens.report.several import section_of_several, verdict_of_several
from protolens.train import is_uneven

LEVELS = 8  # of shade in a table
WORST = 10  # confusions that are told in words
NAMED = 3  # weak classes that a sentence names


def verdict(evaluation: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Accuracy with its interval, beside what always saying one class would reach; or their counterparts."""
    if "accuracy" not in evaluation:
        return verdict_of_several(evaluation)
    low, high = evaluation["accuracy_interval"]
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    right = f"{percent(evaluation['accuracy'])} of {counted(evaluation['images'], 'test image')} are recognised"
    always = f"always saying “{most_common(data)}” would reach {percent(evaluation['always_most_common_class'])}"
    return f"{right} ({interval}); {always}."


def quality_section(
    evaluation: Mapping[str, Any], data: Mapping[str, Any], prototypes: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """How good is it? data: as in run.json; prototypes: as in prototypes.json."""
    several, masks = "accuracy" not in evaluation, masks_of(evaluation)
    return (section_of_several(evaluation) if several else _section_of_one(evaluation, data)) | {
        "several": several,
        "images": count(evaluation["images"]),
        "before": before_sentence(evaluation),
        "promises": promise_rows(evaluation, data, prototypes),
        "fidelity": fidelity_rows(evaluation),
        "conciseness": conciseness_columns(evaluation),
        "prototypes": count(len(prototypes)),
        "masks": mask_rows(masks) if masks else [],
        "overlaps": class_rows(masks, data["classes"]) if masks else [],
    }


def _section_of_one(evaluation: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """What is said only of images that show one class each."""
    table, names = evaluation["confusion"], [entry["name"] for entry in evaluation["classes"]]
    return {
        "sentence": " ".join([verdict(evaluation, data), *_weakest(evaluation)]),
        "scores": _scores(evaluation, data),
        "classes": [_class_row(entry, table[k][k]) for k, entry in enumerate(evaluation["classes"])],
        "names": names,
        "confusion": confusion_rows(table, names),
        "shades": shades(),
        "confusions": worst_confusions(table, names),
        "uneven": is_uneven(data),
    }


def _weakest(evaluation: Mapping[str, Any]) -> list[str]:
    known = [entry for entry in evaluation["classes"] if entry["recall"] is not None and entry["recall"] < 1]
    worst = sorted(known, key=lambda entry: float(entry["recall"]))[:NAMED]
    if not worst:
        return []
    said = ", ".join(f"{entry['name']} ({percent(entry['recall'])})" for entry in worst)
    return [f"Least often recognised: {said}."]


def _scores(evaluation: Mapping[str, Any], data: Mapping[str, Any]) -> list[dict[str, str]]:
    low, high = evaluation["accuracy_interval"]
    classes = len(data["classes"])
    rows = [
        ("accuracy", percent(evaluation["accuracy"]), f"95 % interval {percent(low)} to {percent(high)}",
         f"always “{most_common(data)}”: {percent(evaluation['always_most_common_class'])}"),
        ("balanced accuracy", percent(evaluation["balanced_accuracy"]), "mean of the classes’ recall",
         f"chance: {percent(1 / classes)}"),
        ("area under ROC", three(evaluation["area_under_roc"]), "1 is best", "chance: 0.5"),
        ("loss", three(evaluation["loss"]), "cross entropy in nats, 0 is best",
         f"even odds for all classes: {three(log(classes))}"),
    ]  # fmt: skip
    if "calibration_error" in evaluation:  # evaluations of protolens 0.1.0 have none
        even = f"even odds for all classes: {three(1 - 1 / classes)}"
        rows.append(
            ("calibration error", three(evaluation["calibration_error"]), "0 is best", "as sure as it is right: 0")
        )
        rows.append(("Brier score", three(evaluation["brier_score"]), "0 is best, 2 is worst", even))
    return [dict(zip(("name", "value", "about", "beside"), row, strict=True)) for row in rows]


def _class_row(entry: Mapping[str, Any], right: int) -> dict[str, Any]:
    row = {
        "name": entry["name"],
        "images": count(entry["images"]),
        "recall": percent(entry["recall"]),
        "precision": percent(entry["precision"]),
        "interval": None,
    }
    if entry["images"]:
        low, high = wilson_interval(right, entry["images"])
        row["interval"] = f"{percent(low)} to {percent(high)}"
        row["bar"] = {"low": f"{100 * low:.1f}%", "width": f"{100 * (high - low):.1f}%"}
        row["dot"] = f"{100 * entry['recall']:.1f}%"
    return row


def shade(share: float) -> int:
    """The level of shade for a share: 0 for none, then 1 to LEVELS, on a square-root scale so that errors are seen."""
    return min(LEVELS, ceil(LEVELS * sqrt(share) - 1e-9)) if share > 0 else 0


def shades() -> list[tuple[str, str]]:
    """The shades and the largest share of each."""
    return [(f"shade-{level}", f"{100 * (level / LEVELS) ** 2:.0f}{SPACE}%") for level in range(1, LEVELS + 1)]


def confusion_rows(table: Sequence[Sequence[int]], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a true class; a cell is shaded by its share of the row."""
    rows = []
    for k, (name, row) in enumerate(zip(names, table, strict=True)):
        total = sum(row)
        cells = [
            {"text": count(number) if number else "", "shade": shade(number / total) if total else 0, "own": k == j}
            for j, number in enumerate(row)
        ]
        rows.append({"name": name, "cells": cells, "images": count(total)})
    return rows


def worst_confusions(table: Sequence[Sequence[int]], names: Sequence[str]) -> list[dict[str, str]]:
    """The pairs of classes that were taken for each other most often, the most frequent first."""
    pairs = [(number, k, j) for k, row in enumerate(table) for j, number in enumerate(row) if number and j != k]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [
        {"true": names[k], "said": names[j], "images": count(number), "share": percent(number / sum(table[k]))}
        for number, k, j in pairs[:WORST]
    ]
