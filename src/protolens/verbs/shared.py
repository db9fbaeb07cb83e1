"""What several verbs need."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.errors import ProtolensError

if TYPE_CHECKING:
    from protolens.train import Run


def leads() -> bool:
    """Whether this process is the only one, or of those that torchrun started the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def given_only(table: dict[str, Any]) -> dict[str, Any]:
    """A nested table without what was not given."""
    inner = {key: given_only(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in inner.items() if value is not None}


def tell(given: argparse.Namespace, result: dict[str, Any], sentence: str) -> None:
    """Print the result, in words or as JSON."""
    print(json.dumps(result) if given.json else sentence)


def next_words(folder: Path) -> str:
    """Where to look, and what to type next, when a run is finished."""
    return f"{folder}/report.html\nnext: protolens evaluate {folder}"


def methods_of(given: argparse.Namespace, run: "Run") -> list[str]:
    """The methods that were named; for all, those that can explain the model."""
    if given.method != "all":
        return given.method.split(",")
    import torch

    from protolens.attribution import METHODS, methods_that_fail

    model = run.model()
    image = torch.rand(1, model.task.bands, *model.task.size, generator=torch.Generator().manual_seed(0))
    failing = methods_that_fail(model, image)
    for name, why in failing.items() if leads() else ():
        print(f"{name} is left out: {why}", file=sys.stderr)
    return [name for name in METHODS if name not in failing]


def options_of(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What methods are asked for beyond their names."""
    if given.samples is not None and given.samples < 1:
        raise ProtolensError(f"--samples is {given.samples}; LIME and KernelSHAP need 1 or more")
    samples = {} if given.samples is None else {"samples": given.samples}
    precision = {} if given.precision is None else {"precision": given.precision}
    return {"lime": samples | precision, "kernelshap": samples | precision, "occlusion": precision}


def budget_of(given: argparse.Namespace) -> float | None:
    """Seconds that an evaluation may take; None where nobody has said."""
    from protolens.evaluation import parse_duration

    return None if given.budget is None else parse_duration(given.budget)
