"""What the benchmarks share: a figure, how it is said, and a clock that takes turns."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """Ours against theirs. `ratio` is how many times better ours is; `goal` is the least ratio that will do."""

    name: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    goal: float | None

    @property
    def met(self) -> bool:
        """Whether the goal is reached; true where there is none."""
        return self.goal is None or self.ratio >= self.goal


def arguments(description: str | None) -> argparse.Namespace:
    """The words that every benchmark understands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="a line of JSON a figure")
    return parser.parse_args()


def show(figures: Sequence[Figure], as_json: bool) -> None:
    """Print a line a figure."""
    for figure in figures:
        if as_json:
            print(json.dumps(asdict(figure) | {"met": figure.met}), flush=True)
            continue
        goal = "" if figure.goal is None else f" (goal {figure.goal:g}: {'met' if figure.met else 'NOT MET'})"
        values = f"{figure.ours:.4g} {figure.unit} against {figure.theirs:.4g}"
        print(f"{figure.name}: {values}, {figure.ratio:.3g} times better{goal}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(*works: Callable[[], object], rounds: int = 5) -> list[float]:
    """The median seconds of each of several works, called in turn after one unmeasured round."""
    for work in works:
        work()
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]
