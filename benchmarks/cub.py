"""ProtoPNet on CUB-200-2011 against a linear probe on the same frozen features; writes docs/results/cub.*

    PROTOLENS_DATA=DIR python benchmarks/cub.py --weights mobilenetv2_100_imagenet.safetensors

Both see the same training images and choose by the same validation images; each run reads the test split once.
The probe is a logistic regression on the mean over places of the backbone's maps, its regularisation the best of four
by validation. What parts of birds the prototypes mean stands beside two controls that look at random places, and at the
middle of each image. Runs lie in runs/results; a killed one goes on when called again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from results import SEEDS, TABLES, commit, make_row, run_seed, write_markdown
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protolens.config import read_run
from protolens.data import DataSet, Images, open_data, plain_batches
from protolens.files import write_json
from protolens.models import build_model
from protolens.train import batch_for

RECIPE = "cub-protopnet"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
PARTS = [
    f"parts.{whose}.{name}"
    for name in ("consistency", "stability", "purity")
    for whose in ("figures", "controls.random", "controls.centre")
]


@torch.inference_mode()
def features(network: torch.nn.Module, images: Images) -> NDArray[np.float32]:
    """The mean over places of the maps of every image, [N, C]."""
    batches = plain_batches(images, batch_for(images), torch.device("cpu"))
    return torch.cat([network(batch.images).mean(dim=(2, 3)) for batch in batches]).numpy()


def probe(data: DataSet, weights: Path) -> float:
    """Test accuracy of a linear probe on the backbone of the recipe."""
    config, _ = read_run(RECIPE, {"model": {"weights": str(weights)}})
    model = build_model(config.model, data.task, 0)
    model.load_pretrained()
    network = torch.nn.Sequential(model.normalise, model.backbone).eval()
    training, validation = (features(network, images) for images in (data.training, data.validation))
    candidates = []
    for strength in STRENGTHS:
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        linear.fit(training, data.training.labels.numpy())
        candidates.append((linear.score(validation, data.validation.labels.numpy()), strength, linear))
    _, strength, best = max(candidates, key=lambda candidate: candidate[0])
    print(f"probe: C = {strength}", flush=True)
    return float(best.score(features(network, data.test), data.test.labels.numpy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of the recipe's backbone")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fewer, for a first look")
    given = parser.parse_args()
    config, _ = read_run(RECIPE)
    linear = probe(open_data(config.data), given.weights.resolve())
    changes = {"model": {"weights": str(given.weights.resolve())}}
    results = [run_seed(RECIPE, seed, changes) for seed in given.seeds]
    alone = {"accuracy": linear, "seconds": 0.0, "commit": commit()}
    write_rows(results, alone, given.seeds)


def write_rows(results: Sequence[dict[str, Any]], alone: dict[str, Any], seeds: Sequence[int]) -> None:
    """The table, of the figures of each seed's run and of the probe's."""
    goals = dict.fromkeys(("before.project.accuracy", "accuracy"), alone["accuracy"]) | dict.fromkeys(PARTS)
    rows = [make_row(RECIPE, metric, goal, results, seeds) for metric, goal in goals.items()]
    rows.append(make_row(RECIPE, "accuracy", None, [alone], [0]) | {"recipe": "linear probe on the same features"})
    write_json((TABLES / "cub").with_suffix(".json"), {"rows": rows})
    write_markdown(TABLES / "cub", "ProtoPNet on birds", rows, Path(__file__).name)
    print(mean(rows[1]["values"]), alone["accuracy"])


if __name__ == "__main__":
    main()
