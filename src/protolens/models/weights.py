"""A model as one safetensors file: its weights, and in the metadata all that is needed to build it again."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from protolens import __version__
from protolens.config import Task, build, to_mapping
from protolens.errors import ProtolensError
from protolens.files import write_bytes
from protolens.models.base import PrototypeModel, Provenance
from protolens.models.registry import build_model

FORMAT = "1"


def save_model(model: PrototypeModel, path: Path, digests: dict[str, str]) -> str:
    """Write weights, settings, task, provenance and the digests of the data; returns the digest of the model."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        "protolens": FORMAT,
        "model": json.dumps({"name": model.name, **to_mapping(model.settings)}),
        "task": json.dumps(asdict(model.task)),
        "provenance": json.dumps([origin and asdict(origin) for origin in model.provenance]),
        "data": json.dumps(digests),
    }
    write_bytes(path, save(state, metadata))
    return state_digest(model)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, on the CPU, and its metadata. Raises SafetensorError and OSError."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return tensors, file.metadata() or {}


def load_model(path: Path) -> PrototypeModel:
    """The model that `save_model` wrote, on the CPU, in evaluation mode. Nothing in the file is executed.

    Raises ProtolensError when the file is missing, damaged or not one of protolens.
    """
    try:
        state, metadata = read_tensors(path)
    except FileNotFoundError:
        raise ProtolensError(f"{path} does not exist; train it with `protolens fit`") from None
    except (SafetensorError, OSError) as error:
        raise ProtolensError(f"{path} is damaged or no safetensors file ({error})") from error
    if metadata.get("protolens") != FORMAT:
        raise ProtolensError(f"{path} was not written by this version of protolens; train or convert it again")
    task = build(Task, json.loads(metadata["task"]), str(path), "task")
    model = build_model(json.loads(metadata["model"]), task, seed=0, where=str(path))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ProtolensError(f"{path} does not fit the model that it names ({error})") from error
    model.provenance = [
        build(Provenance, origin, str(path), "provenance") if origin else None
        for origin in json.loads(metadata["provenance"])
    ]
    return model.eval()


def state_digest(model: torch.nn.Module) -> str:
    """Hex SHA-256 over every parameter and buffer: equal only for equal bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def identity(model: PrototypeModel) -> dict[str, str]:
    """What decides what the model says of images: the version of protolens, its bits, and its settings."""
    settings = json.dumps({"name": model.name, **to_mapping(model.settings)}, sort_keys=True)
    return {"protolens": __version__, "model": state_digest(model), "settings": settings}
