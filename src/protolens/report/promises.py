"""Whether prototypes keep what they promise, with how few of them decisions are made, and how truly."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from protolens.report.numbers import SPACE, percent, three
from protolens.report.several import main_figure_of, with_interval

STEPS = {"project": "projection", "prune": "pruning", "eliminate": "elimination"}


def before_sentence(evaluation: Mapping[str, Any]) -> str:
    """The main test figure before each kind of step that changed the prototypes, and that of the finished model."""
    found = evaluation.get("before", {})
    if not found:
        return ""
    main = main_figure_of(evaluation)
    before = "; ".join(f"before {STEPS.get(step, step)} {with_interval(each, main)}" for step, each in found.items())
    return f"Test {main.replace('_', ' ')} {before}; of the finished model {with_interval(evaluation, main)}."


def promise_rows(
    evaluation: Mapping[str, Any], data: Mapping[str, Any], prototypes: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """The claims about prototypes as figures, each with what it means and what chance would reach.

    data: as in run.json; prototypes: as in prototypes.json.
    """
    found = evaluation.get("prototypes", {})
    chance = percent(_chance(data, prototypes))
    rows = [
        ("own_class_nearest", "own class nearest", percent,
         "of the prototypes nearest to an image, the share that have its class", f"100 % is best; chance: {chance}"),
        ("patches_of_own_class", "nearest images of own class", percent,
         "of the images nearest to a prototype, the share that have its class", f"100 % is best; chance: {chance}"),
        ("consistency", "consistency", three,
         "how much the parts differ that a prototype finds in its nearest images, beside parts at random",
         "0: always the same part; 1: as random"),
        ("duplicates", "duplicates", percent, "share of prototypes that coincide with another", "0 % is best"),
        ("unused", "never used", percent,
         "share of prototypes that are the most similar one to no test image", "0 % is best"),
        ("stranger_overlap", "stranger overlap", percent,
         "chance that an image of another class is more like a prototype than one of its own class",
         "0 % is best; chance: 50.0 %"),
    ]  # fmt: skip
    return [
        {"id": name.replace("_", "-"), "name": word, "value": write(found[name]), "about": about, "beside": beside}
        for name, word, write, about, beside in rows
        if name in found
    ]


def _chance(data: Mapping[str, Any], prototypes: Sequence[Mapping[str, Any]]) -> float:
    """The chance that an image and a prototype, both drawn at random, have the same class."""
    test, of_class = data["splits"]["test"], Counter(entry["class"] for entry in prototypes)
    pairs = sum(number * of_class[name] for name, number in zip(data["classes"], test["per_class"], strict=True))
    return pairs / max(1, test["images"] * len(prototypes))


def fidelity_rows(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """How truly a model says what the network says that it interprets; nothing for one that interprets none."""
    found = evaluation.get("interpretation", {})
    if "fidelity" not in found:
        return []
    right = evaluation["accuracy" if "accuracy" in evaluation else "subset_accuracy"]
    rows = [
        ("fidelity", "fidelity", percent(found["fidelity"]),
         "share of test images that the interpreter gives the class that the network gives them", "100 % is best"),
        ("network-accuracy", "accuracy of the network", percent(found["predictor_accuracy"]),
         "test images that the interpreted network recognises", f"the interpreter: {percent(right)}"),
    ]  # fmt: skip
    return [dict(zip(("id", "name", "value", "about", "beside"), row, strict=True)) for row in rows]


def conciseness_columns(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Shares of what the strongest prototype adds, and how many prototypes of a decision add more."""
    found = evaluation.get("interpretation", {}).get("conciseness", {})
    return [(f"{100 / float(threshold):.0f}{SPACE}%", three(few)) for threshold, few in found.items()]
