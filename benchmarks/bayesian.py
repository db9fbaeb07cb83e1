"""seeds/003 anew: Bayesian networks that refuse what they do not know; writes docs/results/bayesian.*

    PROTOLENS_DATA=DIR python benchmarks/bayesian.py

Each network sees the test images of its own set, those of the other set and noise. "chosen" is the least probability
that makes 99 % of the answers to validation images right, "cautious" the one that refuses one in ten of them; no test
image and no image of the other set has a part in choosing. Runs lie in runs/results.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results import ROOT, SEEDS, TABLES, run_seed

from protolens.config import read_run
from protolens.evaluation import uncertainty
from protolens.files import read_json, write_json, write_text
from protolens.tables import find, make_row
from protolens.train import Run
from protolens.train.progress import duration

OTHER = {"mnist-bayesian": "fashion-mnist", "fashion-mnist-bayesian": "mnist"}
# what a figure is called, where it stands in uncertainty.json, and which way is better; OTHER stands for the other set
FIGURES = {
    "right when forced to answer": ("forced.accuracy", 1),
    "chosen: refused": ("refusal.chosen.refused", -1),
    "chosen: right of the rest": ("refusal.chosen.accuracy", 1),
    "chosen: the other set refused": ("others.OTHER.refusal.chosen.refused", 1),
    "cautious: refused": ("refusal.cautious.refused", -1),
    "cautious: right of the rest": ("refusal.cautious.accuracy", 1),
    "cautious: the other set refused": ("others.OTHER.refusal.cautious.refused", 1),
    "cautious: noise refused": ("others.noise.refusal.cautious.refused", 1),
    "published: refused": ("refusal.published.refused", -1),
    "published: the other set refused": ("others.OTHER.refusal.published.refused", 1),
    "calibration error": ("forced.calibration_error", -1),
    "Brier score": ("forced.brier_score", -1),
    "negative log-likelihood": ("forced.negative_log_likelihood", -1),
    "contributions differ between draws": ("explanations.contributions", -1),
}
PLAIN = ("Brier score", "negative log-likelihood")  # all others are shares
GOALS = {
    "mnist-bayesian": {
        "right when forced to answer": 0.97,
        "cautious: refused": 0.1,
        "cautious: right of the rest": 0.99,
        "cautious: the other set refused": 0.95,
    }
}


def measured(recipe: str, seed: int) -> dict[str, Any]:
    """Train, unless it is done, and see what it refuses."""
    made = run_seed(recipe, seed)
    run = Run.open(ROOT / "runs" / "results" / f"{recipe}-{seed}")
    return uncertainty(run, [OTHER[recipe]], device="cpu") | {name: made[name] for name in ("seconds", "commit")}


def rows_of(recipe: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row a figure."""
    results = [measured(recipe, seed) for seed in seeds]
    data, rows = read_run(recipe)[0].data.name, []
    for name, (path, better) in FIGURES.items():
        values = [find(result, path.replace("OTHER", OTHER[recipe])) for result in results]
        goal = GOALS.get(recipe, {}).get(name)
        rows.append(make_row(recipe, data, seeds, name, values, results, goal, better))
    return rows


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table a recipe."""
    lines = [
        "# Bayesian networks that may refuse: what came out",
        "",
        f"Written by `python benchmarks/{Path(__file__).name}`. Test images; 100 draws of the weights. An image is",
        "refused where the median over draws of its likeliest class is not above a least probability: the published",
        "one is 20 %, the chosen one makes 99 % of the answers to validation images right, the cautious one refuses",
        "one in ten of them. Mean ± sample standard deviation over networks of different seeds.",
    ]
    for recipe, other in OTHER.items():
        own = [row for row in rows if row["recipe"] == recipe]
        if not own:
            continue
        first = own[0]
        lines += ["", f"## {recipe}, seeds {' '.join(map(str, first['seeds']))}", ""]
        lines += [f"The other set is {other}. Training {duration(first['seconds'])}, commit {first['commit']}.", ""]
        lines += ["| figure | value | goal | met |", "|---|---|---|---|"]
        for row in own:
            goal = "" if row["goal"] is None else written(row["metric"], row["goal"], None)
            met = {None: "", True: "yes", False: "no"}[row["met"]]
            lines.append(f"| {row['metric']} | {written(row['metric'], row['mean'], row['spread'])} | {goal} | {met} |")
    return "\n".join(lines) + "\n"


def written(metric: str, value: float, spread: float | None) -> str:
    """Shares as percentages, other figures as they are."""
    if metric in PLAIN:
        return f"{value:.4f}" + ("" if spread is None else f" ± {spread:.4f}")
    return f"{100 * value:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}") + " %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=OTHER, help="one recipe; the other rows stay as they are")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fewer, for a first look")
    given = parser.parse_args()
    path = TABLES / "bayesian.json"
    rows = read_json(path)["rows"] if path.exists() else []
    for recipe in [given.only] if given.only else OTHER:
        rows = [row for row in rows if row["recipe"] != recipe] + rows_of(recipe, given.seeds)
        rows.sort(key=lambda row: list(OTHER).index(row["recipe"]))
        write_json(path, {"rows": rows})
        write_text(path.with_suffix(".md"), to_markdown(rows))


if __name__ == "__main__":
    main()
