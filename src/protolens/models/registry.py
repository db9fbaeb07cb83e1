"""Models by name. Adding one: a file beside this one, a line in MODELS, @register on its class."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch

from protolens.config import RunConfig, Stage, Task, build, merge, seed_of, to_mapping
from protolens.errors import ProtolensError, did_you_mean
from protolens.models.base import PrototypeModel

MODELS = (
    "bayesian",
    "blackbox",
    "concepts",
    "flint",
    "kmex",
    "network",
    "pantypes",
    "prototypedl",
    "protopnet",
    "protovae",
)

_settings: dict[str, type] = {}
_models: dict[str, type[PrototypeModel]] = {}

Model = TypeVar("Model", bound=type[PrototypeModel])


def register(name: str, settings: type) -> Callable[[Model], Model]:
    """Class decorator: makes a model and its dataclass of settings known by name."""

    def add(model: Model) -> Model:
        model.name = name
        _settings[name], _models[name] = settings, model
        return model

    return add


def model_class(name: str, where: str = "protolens") -> type[PrototypeModel]:
    """The class of a registered model. Raises ProtolensError for an unknown name."""
    if name not in MODELS:
        raise ProtolensError(f"{where}: {name} is not a model{did_you_mean(name, MODELS)}")
    importlib.import_module(f"protolens.models.{name}")
    return _models[name]


def settings_class(name: str, where: str = "protolens") -> type:
    """The dataclass of a registered model's settings."""
    model_class(name, where)
    return _settings[name]


def build_model(chosen: Mapping[str, Any], task: Task, seed: int, where: str = "protolens") -> PrototypeModel:
    """A new model from `[model]`: its name and settings. The same seed gives the same initial weights.

    Raises ProtolensError for an unknown model or setting.
    """
    name = str(chosen.get("name", ""))
    model, settings = model_class(name, where), _settings_of(name, chosen, where)
    # torch's layers draw their weights from the global generator: lend it a seed, then put it back
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "weights"))
        built = model(settings, task)
    # convolutions and poolings of a CPU take a half to a third of the time where bands lie last
    return built.to(memory_format=torch.channels_last)


def _settings_of(name: str, chosen: Mapping[str, Any], where: str) -> Any:
    values = {key: value for key, value in chosen.items() if key != "name"}
    return build(_settings[name], values, where, "model", name)


def models_for_several() -> list[str]:
    """The names of the models that can learn from images that show several classes."""
    return [name for name in MODELS if model_class(name).several]


def calendar(model: PrototypeModel, changes: Mapping[str, Mapping[str, Any]], where: str = "protolens") -> list[Stage]:
    """The model's stages with a run's changes to them. Raises ProtolensError for an unknown stage or key."""
    stages = {stage.name: stage for stage in model.stages()}
    for name in changes:
        if name not in stages:
            raise ProtolensError(f"{where}: {model.name} has no stage {name}{did_you_mean(name, stages, 'stages.')}")
    return [build(Stage, merge(to_mapping(stage), changes.get(stage.name, {})), where, f"stages.{stage.name}")
            for stage in stages.values()]  # fmt: skip


def stage_names(chosen: Mapping[str, Any], where: str = "protolens") -> list[str]:
    """The names of a model's stages, before there are images: they follow from its settings alone."""
    name = str(chosen.get("name", ""))
    kind = model_class(name, where)
    bare = kind.__new__(kind)
    # a region need not lie in such images
    settings = replace(_settings_of(name, chosen, where), hide=None)
    PrototypeModel.__init__(bare, settings, Task(("a", "b"), bands=1, height=32, width=32))
    return [stage.name for stage in bare.stages()]


def complete(run: RunConfig, model: PrototypeModel, stages: list[Stage]) -> RunConfig:
    """The run with every setting written out, as config.toml keeps it."""
    written = {stage.name: {k: v for k, v in to_mapping(stage).items() if k != "name"} for stage in stages}
    return replace(run, model={"name": model.name, **to_mapping(model.settings)}, stages=written)
