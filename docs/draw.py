"""Pictures of what each method says about three digits, as docs/pictures/method-NAME.png.

python docs/draw.py           small networks on the embedded digits; runs that are there are not trained again
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from protolens.config import RunConfig, build
from protolens.data import open_data
from protolens.data.pictures import to_png
from protolens.explanation import explain
from protolens.report import write_explanations
from protolens.train import Run, convert_or_keep, fit_or_keep

ROOT = Path(__file__).parent.parent
PICTURES, RUNS = ROOT / "docs" / "pictures", ROOT / "runs" / "docs"
LABELS = (3, 5, 8)
MODELS: dict[str, dict[str, Any]] = {
    "prototypedl": {"stages": {"train": {"epochs": 80, "schedule": "cosine"}}},
    "protopnet": {"model": {"per_class": 3}, "data": {"size": 28}},
    "protovae": {"stages": {"train": {"epochs": 40}}},
    "pantypes": {"stages": {"train": {"epochs": 30}, "refine": {"epochs": 10}}},
    "flint": {"data": {"size": 28}},
}


def made(name: str, changes: dict[str, Any]) -> Run:
    """The run of a model."""
    config = build(RunConfig, {**changes, "model": {"name": name, **changes.get("model", {})}}, "docs/draw.py")
    return fit_or_keep(config, RUNS / name, where="docs/draw.py")


def draw(name: str, run: Run) -> None:
    """What it says of the first validation image of some digits."""
    images = open_data(run.config.data).validation
    with tempfile.TemporaryDirectory() as folder:
        files, pixels = [], []
        for label in LABELS:
            row = (images.labels == label).nonzero()[0]
            pixels.append(to_png(images.take(row)[0]))
            files.append(Path(folder) / f"{label}.png")
            files[-1].write_bytes(pixels[-1])
        write_explanations(run, explain(run, files), pixels, Path(folder))
        shutil.copyfile(Path(folder) / "explanations.png", PICTURES / f"method-{name}.png")


def main() -> None:
    """One model after another."""
    torch.set_num_threads(1)
    for name, changes in MODELS.items():
        draw(name, made(name, changes))
    draw("kmex", convert_or_keep(RUNS / "prototypedl", RUNS / "kmex", {"model": {"per_class": 3}}))


if __name__ == "__main__":
    main()
