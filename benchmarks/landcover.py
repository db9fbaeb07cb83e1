"""Land cover: a ResNet34 for images of several classes, and what its concepts show; writes docs/results/landcover.*

    PROTOLENS_DATA=DIR python benchmarks/landcover.py

The network is trained by the recipe, seed by seed; its last maps (B4), and those of its last three blocks (B234), are
converted to 20 concepts. Each run reads the test split once. Two controls are scored against the same masks: 20
clusters drawn at random for the places of B4, and k-means with 20 centres on the mean colours of the places of B234.
Runs lie in runs/results; a killed one goes on when called again.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from results import ROOT, SEEDS, TABLES, commit, make_row, run_seed, write_markdown
from torch import Tensor
from torch.nn import functional as F

from protolens.data import DataSet, Images, open_data, to_float
from protolens.evaluation import evaluate
from protolens.evaluation.masks import count, figures_of_table, majority
from protolens.files import write_json
from protolens.report import write_report
from protolens.train import Run, Team, convert
from protolens.train.clustering import kmeans
from protolens.train.embedding import Block

RECIPE = "landcover-resnet34"
LAYERS = {"B4": ["layer4"], "B234": ["layer2", "layer3", "layer4"]}
CONCEPTS = 20
GRIDS = {"random": (2, 2), "colours": (8, 8)}  # those of B4 and B234 for windows of 64 pixels
SEEN = ("pixel_accuracy", "mean_iou", "purity", "normalised_mutual_information")
AT_ONCE = 500


def concepts_of(network: Run, kind: str, seed: int) -> dict[str, Any]:
    """The figures of the network's concepts, converted unless that is done."""
    folder = network.folder.parent / f"landcover-concepts-{kind}-{seed}"
    changes = {"model": {"concepts": CONCEPTS, "layers": LAYERS[kind]}, "seed": seed}
    done = (folder / "run.json").exists()
    run = Run.open(folder) if done else convert(network, folder, changes, to="concepts", resume=True)
    content = evaluate(run).content
    write_report(run)
    return content | {"seconds": run.facts["seconds"], "commit": commit()}


def places_at_random(data: DataSet, seed: int) -> dict[str, Any]:
    """The figures of clusters that say nothing."""
    generator = torch.Generator().manual_seed(seed)

    def assign(images: Images) -> Tensor:
        return torch.randint(CONCEPTS, (len(images), *GRIDS["random"]), generator=generator)

    return figures(data, assign(data.training), assign(data.test))


def places_by_colour(data: DataSet, seed: int) -> dict[str, Any]:
    """The figures of clusters of the mean colours of places."""
    training, test = (colours(images) for images in (data.training, data.test))
    vectors = training.flatten(0, 2)
    block = Block(torch.arange(len(vectors)), vectors, torch.zeros(len(vectors), dtype=torch.int64))
    centres = kmeans(lambda: [block], [CONCEPTS], Team(torch.device("cpu")), seed).centres
    return figures(data, *(torch.cdist(values, centres).argmin(dim=-1) for values in (training, test)))


def colours(images: Images) -> Tensor:
    """The mean colour of each place, [N, h, w, C]."""
    parts = torch.arange(len(images)).split(AT_ONCE)
    means = [F.adaptive_avg_pool2d(to_float(pixels, "cpu"), GRIDS["colours"]) for pixels in images.batches(parts)]
    return torch.cat(means).permute(0, 2, 3, 1)


def figures(data: DataSet, training: Tensor, test: Tensor) -> dict[str, Any]:
    """Clusters of places, [N, h, w] each, against the masks of their splits."""
    classes = len(data.task.classes)
    masks = [images.masks(torch.arange(len(images))) for images in (data.training, data.test)]
    learnt, found = (
        count(places, mask, CONCEPTS, classes) for places, mask in zip((training, test), masks, strict=True)
    )
    return {"masks": figures_of_table(found, majority(learnt)), "seconds": 0.0, "commit": commit()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fewer, for a first look")
    seeds = parser.parse_args().seeds
    networks = [run_seed(RECIPE, seed) for seed in seeds]
    runs = [Run.open(ROOT / "runs" / "results" / f"{RECIPE}-{seed}") for seed in seeds]
    data = open_data(runs[0].config.data)
    rows = [make_row(RECIPE, name, None, networks, seeds) for name in ("mean_average_precision", "constant_score")]
    for kind in LAYERS:
        results = [concepts_of(run, kind, seed) for run, seed in zip(runs, seeds, strict=True)]
        told = ("mean_average_precision", "interpretation.fidelity", *(f"masks.{name}" for name in SEEN))
        rows += [make_row(RECIPE, name, None, results, seeds) | {"recipe": f"concepts {kind}"} for name in told]
    for name, control in {"random clusters": places_at_random, "k-means on colours": places_by_colour}.items():
        results = [control(data, seed) for seed in seeds]
        rows += [make_row(RECIPE, f"masks.{seen}", None, results, seeds) | {"recipe": name} for seen in SEEN]
    write_json((TABLES / "landcover").with_suffix(".json"), {"rows": rows})
    write_markdown(TABLES / "landcover", "Land cover and its concepts", rows, Path(__file__).name)


if __name__ == "__main__":
    main()
