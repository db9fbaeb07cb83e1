"""Which parameters learn in a stage, at which rate, by which rule."""

import math
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from protolens.config import Stage
from protolens.errors import ProtolensError, did_you_mean_part
from protolens.models import PrototypeModel


def learning_groups(model: PrototypeModel, stage: Stage) -> list[dict[str, Any]]:
    """Freeze what the stage gives no rate, and list the rest as an optimiser's groups, part by part.

    A part is anything inside the model that has parameters, by its dotted name: the more exact name counts, so
    `backbone = 0` with `backbone.network.layer4 = 1e-4` lets the last block learn alone. "all" stands for those that
    the stage does not name. Raises ProtolensError for a name that is no part.
    """
    prefixes = {name: set(accumulate(name.split("."), "{}.{}".format)) for name, _ in model.named_parameters()}
    parts = set[str]().union(*prefixes.values())
    modules = {name for name, _ in model.named_modules() if name}
    tables = {"rates": parts | {"all"}, "undecayed": parts, "fixed_statistics": modules}
    for table, known in tables.items():
        names: Iterable[str] = getattr(stage, table)
        for name in names:
            if name not in known:
                hint = did_you_mean_part(name, known, f"stages.{stage.name}.{table}.")
                raise ProtolensError(f"stages.{stage.name}.{table}.{name} is not a part of {model.name}{hint}")
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        exact = max(prefixes[name].intersection(stage.rates), key=len, default="all")
        rate = stage.rates.get(exact, 0.0)
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            decay = 0.0 if prefixes[name].intersection(stage.undecayed) else stage.weight_decay
            settings = {"params": [], "lr": rate, "rate": rate, "weight_decay": decay}
            groups.setdefault((rate, decay), settings)["params"].append(parameter)
    if not groups:
        raise ProtolensError(f"stages.{stage.name}.rates gives no part of {model.name} a learning rate above 0")
    return list(groups.values())


def make_optimiser(groups: list[dict[str, Any]], stage: Stage, device: torch.device) -> torch.optim.Optimizer:
    """The stage's optimiser over these groups, in its fused form where there is one."""
    fused = device.type in ("cpu", "cuda")
    if stage.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, fused=fused)
    rule = torch.optim.Adam if stage.optimiser == "adam" else torch.optim.AdamW
    return rule(groups, fused=fused)


def set_rates(optimiser: torch.optim.Optimizer, stage: Stage, share: float) -> None:
    """Set each group's rate for a step at this share of the stage, 0 to 1: a function of the place, so it resumes."""
    factor = rate_factor(stage.schedule, share)
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * factor


def rate_factor(schedule: str, share: float) -> float:
    """What the learning rate is multiplied with at this share of the stage.

    cosine: 1 down to 0 as half a cosine; one-cycle: a straight line up over the first quarter, then one down to 0.
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    if schedule == "one-cycle":
        return share / 0.25 if share < 0.25 else (1 - share) / 0.75
    return 1.0


def training_mode(model: PrototypeModel, stage: Stage) -> None:
    """Training mode for the parts that learn; frozen ones and those that the stage names keep their batch statistics.

    `learning_groups` comes first: it freezes.
    """
    model.train()
    for part in model.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()
    for name in stage.fixed_statistics:
        for part in model.get_submodule(name).modules():
            if isinstance(part, _BatchNorm):
                part.eval()
