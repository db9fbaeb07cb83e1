"""Train and evaluate recipes over several seeds, and write the tables of what came out: docs/results/TABLE.*

    python benchmarks/results.py                       all rows; runs that are there already are not repeated
    python benchmarks/results.py --only mnist-prototypedl
    python benchmarks/results.py --only mnist-protovae --seeds 0

Runs lie in runs/results; a killed one goes on when called again. Each row is the mean and the sample standard deviation
over the seeds of a figure on the test split, which each run reads once.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protolens.config import read_run
from protolens.evaluation import evaluate
from protolens.files import read_json, write_json, write_text
from protolens.report import write_report
from protolens.tables import find
from protolens.tables import make_row as row_of_table
from protolens.train import Run, commit, convert, fit
from protolens.train.progress import duration

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "docs" / "results"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Table:
    """title: of the page; rows: figures of each recipe, with the least mean that is asked for, or None.

    converted: whether each run is converted too; figures of what it becomes begin with "kmex-" and the similarity.
    """

    title: str
    rows: dict[str, dict[str, float | None]]
    converted: bool = False


UNEVEN: dict[str, float | None] = {"accuracy": None, "balanced_accuracy": None, "area_under_roc": None}
PROMISES: dict[str, float | None] = {
    f"prototypes.{name}": None
    for name in ("own_class_nearest", "patches_of_own_class", "consistency", "duplicates", "stranger_overlap")
}
SIMILARITIES = ("distance", "cosine")
CONVERTED: dict[str, float | None] = {"accuracy": None} | {
    f"kmex-{similarity}.{name}": None
    for similarity in SIMILARITIES
    for name in ("accuracy", "interpretation.fidelity", "prototypes.unused")
}
ALL = {
    "prototypedl": Table(
        "PrototypeDL and its black box",
        {
            "digits-prototypedl": {"accuracy": 0.95},
            "mnist-prototypedl": {"accuracy": 0.985},
            "pneumonia-prototypedl": UNEVEN,
            "pneumonia-blackbox": UNEVEN,
        },
    ),
    "family": Table(
        "The family on MNIST",
        {
            "mnist-protopnet": {"before.project.accuracy": 0.98, "accuracy": 0.98, **PROMISES},
            "mnist-protovae": {"accuracy": 0.99, **PROMISES},
            "mnist-pantypes": {"accuracy": 0.99, **PROMISES},
            "mnist-flint": {
                "accuracy": 0.985,
                "interpretation.predictor_accuracy": 0.985,
                "interpretation.fidelity": None,
                "interpretation.conciseness.1.5": None,
                "interpretation.conciseness.5.0": None,
            },
        },
    ),
    "kmex": Table(
        "Black boxes and what KMEx makes of them",
        dict.fromkeys(("mnist-blackbox", "fashion-mnist-blackbox", "cifar10-blackbox"), CONVERTED),
        converted=True,
    ),
}


def convert_seed(recipe: str, seed: int) -> dict[str, Any]:
    """The figures of the black box, and under "kmex-" and the similarity those of the runs that it is converted to."""
    content = run_seed(recipe, seed)
    source = ROOT / "runs" / "results" / f"{recipe}-{seed}"
    for similarity in SIMILARITIES:
        folder = source.with_name(f"{source.name}-kmex-{similarity}")
        done = (folder / "run.json").exists()
        changes = {"model": {"similarity": similarity}}
        run = Run.open(folder) if done else convert(source, folder, changes, resume=True)
        content |= {folder.name.removeprefix(f"{source.name}-"): evaluate(run).content}
        write_report(run)
    return content


def run_seed(recipe: str | Path, seed: int, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train, unless it is done, and evaluate; returns the figures, the training time and the commit.

    recipe: its name, or a TOML file, by whose name the run is called.
    A finished run is taken as it is, even if recipes have got more settings since: its commit stands beside it.
    """
    config, where = read_run(recipe, {"seed": seed, **(changes or {})})
    folder = ROOT / "runs" / "results" / f"{Path(recipe).stem}-{seed}"
    if not (folder / "commit").exists():
        write_text(folder / "commit", commit())
    finished = (folder / "run.json").exists()
    run = Run.open(folder) if finished else fit(config, folder, resume=True, where=where)
    content = evaluate(run).content
    write_report(run)
    return content | {"seconds": run.facts["seconds"], "commit": (folder / "commit").read_text()}


def make_row(
    recipe: str | Path, metric: str, goal: float | None, results: Sequence[dict[str, Any]], seeds: Sequence[int]
) -> dict[str, Any]:
    """A row of a table: a figure of a recipe over seeds. recipe: its name, or a TOML file, as for `run_seed`."""
    values = [find(result, metric) for result in results]
    return row_of_table(Path(recipe).stem, read_run(recipe)[0].data.name, seeds, metric, values, results, goal)


SHARES = ("accuracy", "area_under_roc", "fidelity", "own_class", "duplicates", "precision", "f1", "iou")
SHARES += ("purity", "constant_score", "unused", "parts.")


def to_markdown(title: str, rows: Sequence[dict[str, Any]], script: str) -> str:
    """The rows as a Markdown page. script: what wrote them."""
    lines = [
        f"# {title}: what came out",
        "",
        f"Written by `python benchmarks/{script}`. Mean and sample standard deviation over seeds, on the test split;",
        "training time is the wall clock's, mean over seeds, on two CPU cores that other work may have shared. A",
        "figure without a goal was asked for without one.",
        "",
        "| recipe | data | seeds | figure | mean | spread | goal | met | training | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        goal = "" if row["goal"] is None else _write(row["goal"], row["metric"], 1)
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        spread = "" if row["spread"] is None else _write(row["spread"], row["metric"], 2).removesuffix(" %")
        seeds = " ".join(map(str, row["seeds"]))
        cells = [row["recipe"], row["data"], seeds, row["metric"], _write(row["mean"], row["metric"], 2), spread]
        time = duration(row["seconds"]) if row["seconds"] else ""
        lines.append("| " + " | ".join([*cells, goal, met, time, row["commit"]]) + " |")
    return "\n".join(lines) + "\n"


def _write(value: float, metric: str, places: int) -> str:
    """Shares as percentages, other figures as they are."""
    return f"{100 * value:.{places}f} %" if any(share in metric for share in SHARES) else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(recipe for table in ALL.values() for recipe in table.rows)
    parser.add_argument("--only", choices=known, help="one recipe; the other rows stay as they are")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fewer, for a first look")
    given = parser.parse_args()
    for name, table in ALL.items():
        if not given.only or given.only in table.rows:
            write_table(TABLES / name, table, given.only, tuple(given.seeds))


def write_table(path: Path, table: Table, only: str | None, seeds: tuple[int, ...]) -> None:
    """Make what rows are asked for, and write the table as JSON after each recipe and as Markdown."""
    old = read_json(path.with_suffix(".json"))["rows"] if path.with_suffix(".json").exists() else []
    rows = []
    for recipe, figures in table.rows.items():
        kept = [row for row in old if row["recipe"] == recipe]
        if only and recipe != only:
            rows += kept
            continue
        make = convert_seed if table.converted else run_seed
        results = [make(recipe, seed) for seed in seeds]
        rows += [make_row(recipe, metric, goal, results, seeds) for metric, goal in figures.items()]
        later = [row for row in old if row["recipe"] not in {entry["recipe"] for entry in rows}]
        write_json(path.with_suffix(".json"), {"rows": [*rows, *later]})
    write_markdown(path, table.title, rows)


def write_markdown(path: Path, title: str, rows: Sequence[dict[str, Any]], script: str = "results.py") -> None:
    """Write the page beside the JSON."""
    write_text(path.with_suffix(".md"), to_markdown(title, rows, script))


if __name__ == "__main__":
    main()
