"""Train and evaluate recipes over several seeds, and write the table of what came out: docs/results/prototypedl.*

    python benchmarks/results.py                       all rows; runs that are there already are not repeated
    python benchmarks/results.py --only mnist-prototypedl

Runs lie in runs/results; a killed one goes on when called again. Each row is the mean and the sample standard deviation
over the seeds of a figure on the test split, which each run reads once.
"""

import argparse
import subprocess
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from protolens.config import read_run
from protolens.evaluation import evaluate
from protolens.files import read_json, write_json, write_text
from protolens.report import write_report
from protolens.train import fit
from protolens.train.progress import duration

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "results" / "prototypedl"
SEEDS = (0, 1, 2)
# figures of each recipe, with the least mean that is asked for, or None
ROWS: dict[str, dict[str, float | None]] = {
    "digits-prototypedl": {"accuracy": 0.95},
    "mnist-prototypedl": {"accuracy": 0.985},
    "pneumonia-prototypedl": {"accuracy": None, "balanced_accuracy": None, "area_under_roc": None},
    "pneumonia-blackbox": {"accuracy": None, "balanced_accuracy": None, "area_under_roc": None},
}


def run_seed(recipe: str, seed: int) -> dict[str, Any]:
    """Train, unless it is done, and evaluate; returns the figures, the training time and the commit."""
    config, where = read_run(recipe, {"seed": seed})
    folder = ROOT / "runs" / "results" / f"{recipe}-{seed}"
    if not (folder / "commit").exists():
        write_text(folder / "commit", commit())
    run = fit(config, folder, resume=True, where=where)
    content = evaluate(run).content
    write_report(run)
    return content | {"seconds": run.facts["seconds"], "commit": (folder / "commit").read_text()}


def commit() -> str:
    """The short name of the checked-out commit."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def make_rows(recipe: str, figures: dict[str, float | None]) -> list[dict[str, Any]]:
    """The table's rows of a recipe, a row a figure."""
    results = [run_seed(recipe, seed) for seed in SEEDS]
    config, _ = read_run(recipe)
    rows = []
    for metric, goal in figures.items():
        values = [result[metric] for result in results]
        rows.append(
            {
                "recipe": recipe,
                "data": config.data.name,
                "seeds": list(SEEDS),
                "metric": metric,
                "values": values,
                "mean": mean(values),
                "spread": stdev(values),
                "goal": goal,
                "met": None if goal is None else mean(values) >= goal,
                "seconds": round(mean(result["seconds"] for result in results), 1),
                "commit": ", ".join(sorted({result["commit"] for result in results})),
            }
        )
    return rows


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "# PrototypeDL and its black box: what came out",
        "",
        "Written by `python benchmarks/results.py`. Mean and sample standard deviation over seeds, on the test split;",
        "training time on two CPU cores, mean over seeds. A figure without a goal was asked for without one.",
        "",
        "| recipe | data | figure | mean | spread | goal | met | training | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        goal = "" if row["goal"] is None else f"{100 * row['goal']:.1f} %"
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        cells = [row["recipe"], row["data"], row["metric"], f"{100 * row['mean']:.2f} %", f"{100 * row['spread']:.2f}"]
        lines.append("| " + " | ".join([*cells, goal, met, duration(row["seconds"]), row["commit"]]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(ROWS), help="one recipe; the other rows stay as they are")
    only = parser.parse_args().only
    path = TABLE.with_suffix(".json")
    old = read_json(path)["rows"] if path.exists() else []
    rows = []
    for recipe, figures in ROWS.items():
        kept = [row for row in old if row["recipe"] == recipe]
        rows += kept if only and recipe != only else make_rows(recipe, figures)
        write_json(path, {"rows": [*rows, *(row for row in old if row["recipe"] not in {r["recipe"] for r in rows})]})
    write_text(TABLE.with_suffix(".md"), to_markdown(rows))


if __name__ == "__main__":
    main()
