"""Several runs that decide together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protolens.data import open_data
from protolens.errors import ProtolensError
from protolens.evaluation.evaluation import scores
from protolens.train import Run, assemble, main_figure, predict, refuse_other_images


def evaluate_ensemble(runs: Sequence[Run | Path | str], *, device: str = "auto") -> dict[str, Any]:
    """The figures of an ensemble, the sum of its members' logits (ProtoPNet, sec. 3.2), on their test split.

    Returns what evaluation.json says of one run, with "members": folder and main figure of each (accuracy, or mean
    average precision where an image can show several classes). Nothing is written.
    Raises ProtolensError for fewer than two runs, and for runs that were made with other images or classes.
    """
    members = [Run.open(run) for run in runs]
    if len(members) < 2:
        raise ProtolensError("an ensemble needs two runs or more; for one run leave --ensemble out")
    first, *others = members
    for run in others:
        if run.facts["data"]["splits"] != first.facts["data"]["splits"]:
            raise ProtolensError(f"{run.folder} was made with other images than {first.folder}; they cannot vote")
        if run.facts["data"]["classes"] != first.facts["data"]["classes"]:
            raise ProtolensError(f"{run.folder} knows other classes than {first.folder}; they cannot vote")
    data = open_data(first.config.data)
    refuse_other_images(first, data)
    with assemble(device) as team:
        logits = [predict(run.model().to(team.device), data.test, team) for run in members]
    main, seed = main_figure(data.task.several), first.config.seed
    alone = [scores(each, data, seed)[main] for each in logits]
    pairs = zip(members, alone, strict=True)
    together = sum(logits[1:], start=logits[0])
    return scores(together, data, seed) | {"members": [{"run": str(run.folder), main: share} for run, share in pairs]}
