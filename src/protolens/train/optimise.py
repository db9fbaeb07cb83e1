"""Which parameters learn in a stage, at which rate, by which rule."""

import math
from typing import Any

import torch
from torch import nn

from protolens.config import Stage
from protolens.errors import ProtolensError, did_you_mean
from protolens.models import PrototypeModel


def learning_groups(model: PrototypeModel, stage: Stage) -> list[dict[str, Any]]:
    """Freeze what the stage gives no rate, and list the rest as an optimiser's groups, part by part.

    A part is a direct child or parameter of the model; "all" stands for those that the stage does not name. Raises
    ProtolensError for a name that is no part.
    """
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(name.split(".")[0], []).append(parameter)
    for table, names in (("rates", [*stage.rates]), ("undecayed", [*stage.undecayed])):
        for name in names:
            if name not in parts and name != "all":
                known = did_you_mean(name, [*parts, "all"], f"stages.{stage.name}.{table}.")
                raise ProtolensError(f"stages.{stage.name}.{table}.{name} is not a part of {model.name}{known}")
    groups = []
    for name, parameters in parts.items():
        rate = stage.rates.get(name, stage.rates.get("all", 0.0))
        for parameter in parameters:
            parameter.requires_grad_(rate > 0)
        if rate > 0:
            decay = 0.0 if name in stage.undecayed else stage.weight_decay
            groups.append({"params": parameters, "lr": rate, "rate": rate, "weight_decay": decay})
    if not groups:
        raise ProtolensError(f"stages.{stage.name}.rates gives no part of {model.name} a learning rate above 0")
    return groups


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


def training_mode(model: PrototypeModel) -> None:
    """Training mode for the parts that learn; a frozen part keeps its batch statistics, too."""
    model.train()
    for child in model.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
