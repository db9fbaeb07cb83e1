"""seeds/003 anew: explanations of networks side by side and degraded; writes docs/results/explanations.*

    PROTOLENS_DATA=DIR python benchmarks/explanations.py --weights cifar10_resnet56.safetensors
    PROTOLENS_DATA=DIR python benchmarks/explanations.py --only mnist-blackbox

On MNIST a network is trained for each seed; on CIFAR-10 the ResNet-56 of examples/ is taken with its published weights,
so that a seed decides on the images and on what is drawn in the methods, not on the network. Explanations are measured
on 1,000 test images, with the controls. Of the first seed three validation images of each class are drawn, and all
methods' maps of them, as docs/pictures/methods-RECIPE.png; curves-RECIPE.png shows the accuracy over the share of
pixels kept. Runs lie in runs/results; what was measured lies in docs/results/faithfulness, and is not measured again.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import ROOT, SEEDS, TABLES, make_row, run_seed

from protolens.attribution import CONTROLS, METHODS
from protolens.data import open_data
from protolens.evaluation import faithfulness
from protolens.evaluation.looking import FILLINGS
from protolens.explanation import compare_methods
from protolens.files import read_json, write_json, write_text
from protolens.report import write_comparison, write_faithfulness
from protolens.report.numbers import NONE
from protolens.train import Run, Team, predict
from protolens.train.progress import duration

# arithmetic of the classifier that looks at changed images, which are millions
RECIPES = {"mnist-blackbox": "float32", "cifar10-resnet56": "bfloat16"}
OWN = {"cifar10-resnet56": ROOT / "benchmarks" / "cifar10-resnet56.toml"}  # recipes that are not shipped
NETWORK = f"{ROOT / 'examples' / 'cifar_resnet.py'}:resnet56"
MEASURED = TABLES / "faithfulness"
GOAL = 0.93  # of the accuracy, on training and test images
IMAGES, SAMPLES = 1000, 300
AREAS = ("insertion", "deletion", "aopc", "road", "randomised", "sensitivity", "infidelity", "complexity", "seconds")
DASHES = {"random": (4, 2), "edges": (1, 2)}
PICTURES = ROOT / "docs" / "pictures"


def measure(recipe: str, seed: int, weights: Path | None) -> dict[str, Any]:
    """A network's accuracies, and what its explanations are worth: METHOD.FILLING, METHOD.AREA."""
    path = MEASURED / f"{recipe}-{seed}.json"
    if not path.exists():
        write_json(path, measured(recipe, seed, weights))
    content = read_json(path)
    figures = {name: content[name] for name in ("accuracy", "training accuracy", "seconds", "commit")}
    for name, own in content["methods"].items():
        figures |= {f"{name}.{filling}": own["kept"][filling]["mean"] for filling in FILLINGS}
        figures |= {f"{name}.{area}": own[area] if area == "seconds" else own[area]["mean"] for area in AREAS}
    return figures


def measured(recipe: str, seed: int, weights: Path | None) -> dict[str, Any]:
    """Train or open the network, and look at its explanations."""
    changes = {"model": {"source": NETWORK, "weights": str(weights)}} if recipe in OWN else {}
    content = run_seed(OWN.get(recipe, recipe), seed, changes)
    run = Run.open(ROOT / "runs" / "results" / f"{recipe}-{seed}")
    found = faithfulness(
        run, list(METHODS), images=IMAGES, seed=seed, options=options(recipe), precision=RECIPES[recipe], device="cpu"
    )
    write_faithfulness(run, found)
    own = {"accuracy": content["accuracy"], "training accuracy": accuracy_in_training(run)}
    training = {name: content[name] for name in ("seconds", "commit")}
    return found | {"measuring": found["seconds"]} | own | training


def options(recipe: str) -> dict[str, dict[str, Any]]:
    """Of the methods that look at changed images."""
    precision = {"precision": RECIPES[recipe]}
    return {
        "lime": {"samples": SAMPLES, **precision},
        "kernelshap": {"samples": SAMPLES, **precision},
        "occlusion": precision,
    }


def accuracy_in_training(run: Run) -> float:
    """Share of the training images that the network recognises; read once, and kept beside the run."""
    path = run.folder / "training-accuracy.json"
    if not path.exists():
        images = open_data(run.config.data).training
        said = predict(run.model(), images, Team(torch.device("cpu"))).argmax(dim=1)
        write_json(path, {"accuracy": float((said == images.labels).double().mean())})
    return float(read_json(path)["accuracy"])


def draw(recipe: str, seed: int) -> None:
    """Three images of each class as all methods see them."""
    run = Run.open(ROOT / "runs" / "results" / f"{recipe}-{seed}")
    folder = run.folder / "explanations"
    write_comparison(run, compare_methods(run, list(METHODS), options=options(recipe)), folder)
    shutil.copyfile(folder / "comparison.png", PICTURES / f"methods-{recipe}.png")


def draw_curves(recipe: str, seeds: Sequence[int]) -> None:
    """Accuracy over the share of pixels kept, a chart a filling: mean over seeds, with the least and the greatest."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    found = [read_json(MEASURED / f"{recipe}-{seed}.json") for seed in seeds]
    first = found[0]
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).flat
    named = [name for name in METHODS if name not in CONTROLS]
    colours = dict(zip(named, (*colormaps["tab10"].colors[:7], "gold", *colormaps["tab10"].colors[8:]), strict=True))
    for axes, filling in zip(panels, first["fillings"], strict=False):
        for name in METHODS:
            curves = np.array([each["methods"][name]["curves"][filling] for each in found])
            style = {"color": colours[name]} if name in colours else {"color": "0.4", "dashes": DASHES[name]}
            axes.plot(first["shares"], curves.mean(axis=0), label=name, linewidth=1.5, **style)
            axes.fill_between(first["shares"], curves.min(axis=0), curves.max(axis=0), alpha=0.12, color=style["color"])
        axes.set(title=filling, xlim=(0, 1), ylim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
    legend = panels[len(first["fillings"])]
    legend.set_axis_off()
    legend.legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False, ncols=2)
    figure.supxlabel("share of the pixels that is kept, the highest first")
    figure.supylabel("accuracy")
    figure.savefig(PICTURES / f"curves-{recipe}.png", dpi=100)


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a page: for each recipe its accuracies, and two tables with a line a method."""
    lines = [
        "# Which explanations can be believed: what came out",
        "",
        f"Written by `python benchmarks/{Path(__file__).name}`. {IMAGES:,} test images, drawn by seed; LIME and",
        f"KernelSHAP look at {SAMPLES} changed images each. Mean ± sample standard deviation over networks of",
        "different seeds. The controls know nothing of the model: a figure that is not better than theirs shows",
        "nothing. Times are of one image on CPU cores that other work may have shared.",
    ]
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        own = {row["metric"]: row for row in rows if row["recipe"] == recipe}
        first = own["accuracy"]
        lines += ["", f"## {recipe}, seeds {' '.join(map(str, first['seeds']))}", ""]
        for name in ("accuracy", "training accuracy"):
            met = "met" if own[name]["met"] else "not met"
            lines.append(f"{name.capitalize()} {share(own[name])} (goal {100 * GOAL:.0f} %: {met}).  ")
        network = "Published weights, not trained here" if recipe in OWN else f"Training {duration(first['seconds'])}"
        lines += [f"{network}, commit {first['commit']}.", ""]
        lines += ["Accuracy with the highest 20 % of the pixels alone, the others replaced:", ""]
        lines += table(own, FILLINGS, share)
        lines += ["", "Areas and other figures (`docs/words.md` tells what they mean):", ""]
        lines += table(own, AREAS, plain)
        if any(own[f"{method}.{column}"]["mean"] is None for method in METHODS for column in AREAS):
            lines += ["", f"{NONE}: with the shuffled weights of one seed, the network answers the same to all"]
            lines += ["that the method shows it; its map has one value, and no rank correlation is defined."]
        lines += ["", f"![Accuracy over the share of pixels kept](../pictures/curves-{recipe}.png)"]
        lines += ["", f"![Three images of each class by each method](../pictures/methods-{recipe}.png)"]
    return "\n".join(lines) + "\n"


def table(own: Mapping[str, Mapping[str, Any]], columns: Sequence[str], write: Any) -> list[str]:
    """A line a method."""
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for method in METHODS:
        cells = [own[f"{method}.{column}"] for column in columns]
        said = [NONE if cell["mean"] is None else write(cell) for cell in cells]
        lines.append(f"| {method} | {' | '.join(said)} |")
    return lines


def share(row: Mapping[str, Any]) -> str:
    """A percentage with its spread."""
    spread = "" if row["spread"] is None else f" ± {100 * row['spread']:.1f}"
    return f"{100 * row['mean']:.1f}{spread} %"


def plain(row: Mapping[str, Any]) -> str:
    """A number with its spread."""
    return f"{row['mean']:.3f}" + ("" if row["spread"] is None else f" ± {row['spread']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=RECIPES, help="one recipe; the other rows stay as they are")
    parser.add_argument("--weights", type=Path, help="of the ResNet-56; not needed for what was measured")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fewer, for a first look")
    given = parser.parse_args()
    path = (TABLES / "explanations").with_suffix(".json")
    rows = read_json(path)["rows"] if path.exists() else []
    for recipe in [given.only] if given.only else RECIPES:
        results = [measure(recipe, seed, given.weights and given.weights.resolve()) for seed in given.seeds]
        draw(recipe, given.seeds[0])
        draw_curves(recipe, given.seeds)
        metrics = [name for name in results[0] if name not in ("seconds", "commit")]
        goals = {"accuracy": GOAL, "training accuracy": GOAL}
        named = OWN.get(recipe, recipe)
        made = [make_row(named, name, goals.get(name), results, given.seeds) for name in metrics]
        rows = [row for row in rows if row["recipe"] != recipe] + made
        rows.sort(key=lambda row: list(RECIPES).index(row["recipe"]))
        write_json(path, {"rows": rows})
        write_text(path.with_suffix(".md"), to_markdown(rows))


if __name__ == "__main__":
    main()
