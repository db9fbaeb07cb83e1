"""The front matter of a model card: what a hub reads, as YAML.

The keys are those of Hugging Face's model cards (https://huggingface.co/docs/hub/model-cards); figures stand in its
model-index.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from protolens.errors import ProtolensError
from protolens.files import as_part_of_a_name
from protolens.report.numbers import SPACE, percent

FIGURES = {  # as hubs call them, and as evaluation.json does
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "roc_auc": "area_under_roc",
    "mean_average_precision": "mean_average_precision",
    "f1": "macro_f1",
    "brier_score": "brier_score",
}
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def front_matter(
    name: str, facts: Mapping[str, Any], evaluation: Mapping[str, Any], papers: Sequence[str], license: str | None
) -> str:
    """The lines between the two rulers. name: of the model; facts: as in run.json; papers: their arXiv numbers.

    Without a license the line for it is a comment, to be filled in: a hub takes the card without one.
    """
    data = as_part_of_a_name(facts["data"]["name"])
    metrics = [_metric(kind, figure, evaluation) for kind, figure in FIGURES.items() if _known(evaluation, figure)]
    tags = ["image-classification", "explainable-ai", "interpretability", "prototypes", facts["model"]["name"]]
    result = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"name": facts["data"]["name"], "type": data, "split": "test"},
        "metrics": metrics,
    }
    content = {
        "library_name": "protolens",
        "pipeline_tag": "image-classification",
        "tags": [*tags, *(f"arxiv:{paper}" for paper in papers)],
        "datasets": [data],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [{"name": name, "results": [result]}],
    }
    first = f"license: {text(license)}" if license else "# license: fill this in, such as apache-2.0"
    return "\n".join(["---", first, *_lines(content), "---"])


def refuse_license(license: str | None) -> None:
    """Raise ProtolensError for what is no identifier of a license."""
    if license is not None and not IDENTIFIER.fullmatch(license):
        raise ProtolensError(f"--license {license} is no identifier; write one such as apache-2.0, cc-by-4.0 or other")


def _known(evaluation: Mapping[str, Any], figure: str) -> bool:
    return evaluation.get(figure) is not None


def _metric(kind: str, figure: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    name = figure.replace("_", " ").replace("roc", "ROC")
    ends = evaluation.get(f"{figure}_interval")
    if ends:
        name += f" (95 % interval {percent(ends[0])} to {percent(ends[1])})".replace(SPACE, " ")
    return {"type": kind, "value": evaluation[figure], "name": name}


def _lines(value: Any, indent: str = "") -> list[str]:
    """A mapping or a list as lines of YAML in block style."""
    entries = value.items() if isinstance(value, Mapping) else (("-", inner) for inner in value)
    lines = []
    for key, inner in entries:
        head = "-" if key == "-" else f"{key}:"
        if not isinstance(inner, Mapping | list):
            lines.append(f"{indent}{head} {text(inner)}")
        elif not inner:
            lines.append(f"{indent}{head} {'{}' if isinstance(inner, Mapping) else '[]'}")
        else:
            below = _lines(inner, indent + "  ")
            # a list's entry begins on the line of its dash
            first = [f"{indent}- {below.pop(0).lstrip()}"] if key == "-" else [f"{indent}{head}"]
            lines += [*first, *below]
    return lines


def text(value: str | float) -> str:
    """A scalar in YAML: numbers as they are, words in double quotes, what cannot be printed escaped."""
    if not isinstance(value, str):
        said = repr(value)
        return said if "." in said else said.replace("e", ".0e")  # 1e-08 would be read as a word
    inner = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in inner) + '"'
