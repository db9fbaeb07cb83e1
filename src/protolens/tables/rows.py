"""A row of a table of results: a figure of a recipe over seeds."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from protolens.evaluation.comparing import over_runs


def find(content: Mapping[str, Any], path: str) -> float | None:
    """A figure of an evaluation by its dotted path; the last name may hold a dot itself, as thresholds do.

    None where it is not defined. Raises KeyError or TypeError where there is none.
    """
    found: Any = content
    while path not in found:
        first, _, path = path.partition(".")
        found = found[first]
    value = found[path]
    return None if value is None else float(value)


def make_row(
    recipe: str,
    data: str,
    seeds: Sequence[int],
    metric: str,
    values: Sequence[float | None],
    made: Sequence[Mapping[str, Any]],
    goal: float | None = None,
    better: int = 1,
) -> dict[str, Any]:
    """The row as docs/results keeps it.

    values: of each seed, or of each two; made: the training "seconds" and the "commit" of each run, None where they
    are not known; better: -1 where the goal is the largest mean that will do.
    """
    whole = over_runs(values)
    known = [one["seconds"] for one in made if one["seconds"] is not None]
    return {
        "recipe": recipe,
        "data": data,
        "seeds": list(seeds),
        "metric": metric,
        **whole,
        "goal": goal,
        "met": None if goal is None or whole["mean"] is None else better * whole["mean"] >= better * goal,
        "seconds": round(mean(known), 1) if known else None,
        "commit": ", ".join(sorted({one["commit"] or "unknown" for one in made})),
    }
