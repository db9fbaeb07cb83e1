"""Runs to export: one that was trained and evaluated, and folders around models with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from protolens.config import to_mapping, to_toml
from protolens.evaluation import evaluate
from protolens.files import write_json, write_text
from protolens.models import build_model, complete, save_model
from protolens.train import Run, fit
from tests.conftest import digits_run, make_task


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Run:
    """PrototypeDL on digits, evaluated."""
    settings = digits_run(stages={"train": {"epochs": 10}}, train={"batch": 64})
    run = fit(settings, tmp_path_factory.mktemp("exporting") / "digits run")
    evaluate(run)
    return run


def folder_around(folder: Path, choice: dict[str, Any], bands: int = 3, size: tuple[int, int] = (28, 28)) -> Run:
    """A run of a model whose weights, and buffers that hold numbers, are random; its images are nowhere."""
    task = make_task(bands, size)
    model = build_model(choice, task, 0).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    if model.name == "concepts":  # what is fitted begins at zero
        torch.nn.init.normal_(model.weight, generator=generator)
        torch.nn.init.normal_(model.intercept, generator=generator)
    config = digits_run(data={"name": "medmnist:nowhere", "root": str(folder)}, model=choice, stages={})
    write_text(folder / "config.toml", to_toml(to_mapping(complete(config, model, model.stages()))))
    digest = save_model(model, folder / "model.safetensors", {"training": "abc"})
    splits = {name: {"images": 8, "digest": name, "per_class": [2] * 4} for name in ("training", "validation", "test")}
    data = {"name": "medmnist:nowhere", "classes": list(task.classes), "bands": bands, "height": size[0]}
    facts = {
        "model": {"name": model.name, "digest": digest, "parameters": 1, "found": model.findings()},
        "settings": to_mapping(model.settings),
        "data": data | {"width": size[1], "several": False, "splits": splits, "leaks": [], "notes": []},
    }
    write_json(folder / "run.json", facts)
    return Run.open(folder)
