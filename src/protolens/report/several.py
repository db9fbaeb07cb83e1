"""How good a run is whose images can show several classes: the counterpart of quality.py."""

from collections.abc import Mapping
from typing import Any

from protolens.report.numbers import count, counted, percent, three

LEAST = 3  # weak classes that a sentence names


def verdict_of_several(evaluation: Mapping[str, Any]) -> str:
    """Mean average precision with its interval, beside that of a constant score."""
    said = f"Mean average precision {with_interval(evaluation, 'mean_average_precision')}"
    control = f"a score that is the same for every image would reach {percent(evaluation['constant_score'])}"
    exact = (
        f"of {counted(evaluation['images'], 'test image')} {percent(evaluation['subset_accuracy'])} have all classes"
    )
    return f"{said}; {control}; {exact} right."


def with_interval(found: Mapping[str, Any], figure: str) -> str:
    """A figure and its 95 % interval: 71.2 % (95 % interval 68.0 % to 74.1 %)."""
    said = interval(found, figure).removeprefix("; ")
    return f"{percent(found[figure])} ({said})" if said else percent(found[figure])


def interval(found: Mapping[str, Any], figure: str) -> str:
    """The 95 % interval of a figure, to go on with; nothing where it is undefined."""
    if not found[f"{figure}_interval"]:
        return ""
    low, high = found[f"{figure}_interval"]
    return f"; 95 % interval {percent(low)} to {percent(high)}"


def section_of_several(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What quality_section says only of images that can show several classes; there is no confusion matrix."""
    images = evaluation["images"]
    return {
        "sentence": " ".join([verdict_of_several(evaluation), *_weakest(evaluation)]),
        "scores": _scores(evaluation),
        "classes": [_class_row(entry, images) for entry in evaluation["classes"]],
        "confusion": [],
        "confusions": [],
        "uneven": False,
    }


def _weakest(evaluation: Mapping[str, Any]) -> list[str]:
    known = [entry for entry in evaluation["classes"] if entry["average_precision"] is not None]
    worst = sorted(known, key=lambda entry: float(entry["average_precision"]))[:LEAST]
    if not worst:
        return []
    said = ", ".join(f"{entry['name']} ({percent(entry['average_precision'])})" for entry in worst)
    return [f"Lowest average precision: {said}."]


def _scores(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    shown = [entry["images"] / evaluation["images"] for entry in evaluation["classes"]]
    # every class said of every image: precision is the share of positives, recall 1
    always = [2 * share / (1 + share) for share in shown if share]
    micro = 2 * sum(shown) / (len(shown) + sum(shown))
    rows = [
        ("mean average precision", percent(evaluation["mean_average_precision"]),
         f"mean over classes{interval(evaluation, 'mean_average_precision')}",
         f"a constant score: {percent(evaluation['constant_score'])}"),
        ("micro F1", percent(evaluation["micro_f1"]), "over all classes of all images",
         f"every class of every image: {percent(micro)}"),
        ("macro F1", percent(evaluation["macro_f1"]), "mean of the classes’ F1",
         f"every class of every image: {percent(sum(always) / len(always)) if always else percent(None)}"),
        ("all classes right", percent(evaluation["subset_accuracy"]),
         f"share of images without a wrong class{interval(evaluation, 'subset_accuracy')}", "100 % is best"),
        ("loss", three(evaluation["loss"]), "mean binary cross entropy in nats, 0 is best", "even odds: 0.693"),
    ]  # fmt: skip
    return [dict(zip(("name", "value", "about", "beside"), row, strict=True)) for row in rows]


def _class_row(entry: Mapping[str, Any], images: int) -> dict[str, Any]:
    share, reached = entry["images"] / images, entry["average_precision"]
    row = {
        "name": entry["name"],
        "images": count(entry["images"]),
        "share": percent(share),
        **{figure: percent(entry[figure]) for figure in ("average_precision", "precision", "recall", "f1")},
        "bar": None,
    }
    if reached is not None:
        row["bar"] = {"low": f"{100 * min(share, reached):.1f}%", "width": f"{100 * abs(reached - share):.1f}%"}
        row["dot"] = f"{100 * reached:.1f}%"
    return row


def shows(label: str, name: str, several: bool) -> bool:
    """Whether the label of an image, "water, road" where it can show several classes, names a class."""
    return name in label.split(", ") if several else label == name


def main_figure_of(found: Mapping[str, Any]) -> str:
    """The figure that counts most among these: accuracy, or mean average precision."""
    return "accuracy" if "accuracy" in found else "mean_average_precision"
