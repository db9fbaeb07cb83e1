"""The pointing game on birds: where the highest pixel of each explanation lies; writes docs/results/pointing.*

    PROTOLENS_DATA=DIR python benchmarks/pointing.py --weights mobilenetv2_100_imagenet.safetensors

On whole photographs a hit lies in the bird's box; on photographs cut to that box, and on whole ones, it may lie at a
part of the bird (beak, eye, wing and so on). A black box, what KMEx makes of it with a map of places, and ProtoPNet
answer for the class that they say themselves. Runs lie in runs/results; what was measured, in docs/results/pointing,
and is not measured again.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from explanations import share
from results import ROOT, SEEDS, TABLES, make_row, run_seed
from torch import Tensor

from protolens.attribution import METHODS, attribute, methods_that_fail
from protolens.data import open_data
from protolens.evaluation import evaluate
from protolens.evaluation.looking import pointed
from protolens.evaluation.sampling import drawn, watched
from protolens.files import read_json, write_json, write_text
from protolens.train import Run, Team, convert

BLACK_BOX, PROTOTYPES = "cub-mobilenet", "cub-protopnet"
MODELS = {
    BLACK_BOX: "the black box, whole photographs",
    f"{BLACK_BOX}-kmex": "KMEx of its places, whole photographs",
    PROTOTYPES: "ProtoPNet, photographs cut to the box",
}
IMAGES = 100
ASKING = {"samples": 150, "precision": "bfloat16"}
OPTIONS: dict[str, dict[str, Any]] = {"lime": ASKING, "kernelshap": ASKING, "occlusion": {"precision": "bfloat16"}}
MEASURED = TABLES / "pointing"
CENTRE = "centre"  # a control: photographers point at what they show


def centre(images: Tensor) -> Tensor:
    """Highest in the middle of the image, [B, H, W]."""
    down, across = (torch.linspace(-1, 1, side) for side in images.shape[2:])
    return -(down.square()[:, None] + across.square()).expand(len(images), -1, -1)


def results_of(seed: int, weights: Path) -> dict[str, dict[str, Any]]:
    """The figures of each model of that seed: METHOD.in_box and METHOD.at_parts, shares of the images, and accuracy.

    Each method is kept as soon as it is measured.
    """
    path = MEASURED / f"{seed}.json"
    found: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
    for name in MODELS:
        own = found.setdefault(name, {})
        if all(f"{method}.at_parts" in own or method in own.get("failing", ()) for method in (*METHODS, CENTRE)):
            continue
        run, facts = made(name, seed, weights)
        model = run.model()
        example = torch.rand(1, model.task.bands, *model.task.size, generator=torch.Generator().manual_seed(0))
        own |= facts | {"failing": sorted(methods_that_fail(model, example))}
        asked: dict[str, Callable[[Tensor], Tensor]] = {
            method: partial(attribute, model, method=method, **OPTIONS.get(method, {})) for method in METHODS
        }
        for method, explain in (asked | {CENTRE: centre}).items():
            if f"{method}.at_parts" not in own and method not in own["failing"]:
                own |= {f"{method}.{metric}": share for metric, share in measured(run, explain).items()}
                write_json(path, found)
    return found


def measured(run: Run, explain: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Of how many test images the highest pixel lies in the box, and at a part."""
    everything = open_data(run.config.data).test
    test = everything.subset("test", drawn(len(everything), IMAGES, seed=0))
    found: dict[str, list[Tensor]] = {}
    for rows, batch in watched(test, Team(torch.device("cpu"))):
        for metric, hits in pointed(explain(batch.images), *test.marks(rows)).items():
            found.setdefault(metric, []).append(hits)
    return {metric: float(torch.cat(parts).nanmean()) for metric, parts in found.items()}


def made(name: str, seed: int, weights: Path) -> tuple[Run, dict[str, Any]]:
    """The run, trained or converted unless that is done; and its accuracy, training time and commit."""
    source = name.removesuffix("-kmex")
    facts = run_seed(source, seed, {"model": {"weights": str(weights)}})
    folder = ROOT / "runs" / "results" / f"{source}-{seed}"
    if name != source:
        box, folder = folder, folder.with_name(f"{folder.name}-kmex")
        done = (folder / "run.json").exists()
        kmex = Run.open(folder) if done else convert(box, folder, {"model": {"places": "map"}}, resume=True)
        facts = facts | evaluate(kmex).content
    return Run.open(folder), {key: facts[key] for key in ("accuracy", "seconds", "commit")}


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table a figure: a line a method, a column a model."""
    own = {(row["recipe"], row["metric"]): row for row in rows}
    seeds = " ".join(map(str, rows[0]["seeds"]))
    lines = [
        "# The pointing game on birds: what came out",
        "",
        f"Written by `python benchmarks/{Path(__file__).name}`. Share of {IMAGES} test images of CUB-200-2011",
        "(classes 1 to 50) where the highest pixel hits; mean ± sample standard deviation over networks of seeds",
        f"{seeds}. random, edges and centre know nothing of the model: a method that does not beat them shows nothing.",
        "",
    ]
    for name, what in MODELS.items():
        accuracy = share(own[name, "accuracy"])
        lines.append(f"* {name}: {what}; test accuracy {accuracy}, commit {own[name, 'accuracy']['commit']}.")
    for metric, title in {"in_box": "In the bird's box", "at_parts": "At a part of the bird"}.items():
        lines += ["", f"## {title}", "", f"| method | {' | '.join(MODELS)} |", "|---" * (1 + len(MODELS)) + "|"]
        for method in (*METHODS, CENTRE):
            figures = [own.get((name, f"{method}.{metric}")) for name in MODELS]
            cells = [share(figure) if figure else "" for figure in figures]
            lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of the recipes' backbone")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fewer, for a first look")
    given = parser.parse_args()
    found = [results_of(seed, given.weights.resolve()) for seed in given.seeds]
    rows: list[dict[str, Any]] = []
    for name in MODELS:
        results = [each[name] for each in found]
        metrics = [metric for metric in results[0] if metric not in ("seconds", "commit", "failing")]
        recipe = name.removesuffix("-kmex")
        rows += [make_row(recipe, metric, None, results, given.seeds) | {"recipe": name} for metric in metrics]
    path = TABLES / "pointing.json"
    write_json(path, {"rows": rows})
    write_text(path.with_suffix(".md"), to_markdown(rows))


if __name__ == "__main__":
    main()
