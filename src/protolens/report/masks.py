"""Whether maps tell classes apart, where the class of each pixel is known: the figures of evaluation.json["masks"]."""

from collections.abc import Mapping, Sequence
from typing import Any

from protolens.report.numbers import counted, percent, three


def masks_of(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an evaluation says of masks; None where there were none, or where it is of an earlier version."""
    found = evaluation.get("masks")
    return found if found and "prototypes" in found else None


def mask_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures over all classes, each with what it means and what chance would reach. found: of `masks_of`."""
    always, shared = found["always_most_common_class"], three(found["normalised_mutual_information"])
    pixels = f"of {counted(found['pixels'], 'test pixel')}, the share "
    common = f"always the most common class: {percent(always['pixel_accuracy'])}"
    rows = [
        ("pixel-accuracy", "pixel accuracy", percent(found["pixel_accuracy"]),
         pixels + "whose class is the one that their prototype has most in the training images",
         common),
        ("mean-iou", "mean IoU", percent(found["mean_iou"]), "overlap of the pixels said and true, mean over classes",
         f"always the most common class: {percent(always['mean_iou'])}"),
        ("purity", "purity", percent(found["purity"]),
         pixels + "whose class is the one that their prototype has most in these images", common),
        ("normalised-mutual-information", "normalised mutual information", shared,
         "what prototypes and classes of pixels tell of each other; 1 is best", "chance: 0"),
    ]  # fmt: skip
    return [dict(zip(("id", "name", "value", "about", "beside"), row, strict=True)) for row in rows]


def class_rows(found: Mapping[str, Any], classes: Sequence[str]) -> list[dict[str, str]]:
    """The overlap of each class, as a bar too, and the prototypes that stand for it."""
    stand_for = [entry["class"] for entry in found["prototypes"]]
    return [
        {
            "name": name,
            "iou": percent(overlap),
            "width": f"{100 * (overlap or 0):.1f}%",
            "prototypes": ", ".join(str(number) for number, own in enumerate(stand_for) if own == k) or "none",
        }
        for k, (name, overlap) in enumerate(zip(classes, found["iou"], strict=True))
    ]
