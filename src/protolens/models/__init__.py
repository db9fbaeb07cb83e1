"""The family: one file a method, each a choice for every slot, its loss terms and its calendar of stages.

May use: nn, data, config. base.py holds the contract, registry.py finds a model by name.
"""

from protolens.models.base import Evidence, PrototypeModel, Provenance, evaluation_mode
from protolens.models.registry import (
    MODELS,
    build_model,
    calendar,
    complete,
    model_class,
    models_for_several,
    settings_class,
    stage_names,
)
from protolens.models.weights import identity, load_model, save_model, state_digest

__all__ = [
    "MODELS",
    "Evidence",
    "PrototypeModel",
    "Provenance",
    "build_model",
    "calendar",
    "complete",
    "evaluation_mode",
    "identity",
    "load_model",
    "model_class",
    "models_for_several",
    "save_model",
    "settings_class",
    "stage_names",
    "state_digest",
]
