"""The verb `convert`: a trained classifier becomes one that decides by its nearest prototype (KMEx)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protolens.config import RunConfig, build, merge, to_mapping
from protolens.errors import ProtolensError
from protolens.train.fitting import fit
from protolens.train.record import Run


def convert(model: Run | Path | str, folder: Path | str, changes: Mapping[str, Any] | None = None) -> Run:
    """Cluster the codes of the training images, class by class, and leave a run that decides by the centres.

    model: a run, whose images and splits are taken over; or any network as "torchvision:NAME", "timm:NAME" or
    "FILE.py:FUNCTION", with {"data": ..., "model": {"of": {"weights": FILE}}} in the changes. changes: other settings
    in nested tables, such as {"model": {"per_class": 10}}. The network stays as it is, and only the training split is
    read. Raises ProtolensError for a run that was converted already, for unknown settings, for images that differ from
    those of the run, and for a network without its weights.
    """
    changes = changes or {}
    where = f"convert {model.folder if isinstance(model, Run) else model}"
    tables = _of_network(str(model), changes) if _is_source(model) else _of_run(Run.open(model))
    return fit(build(RunConfig, merge(tables, changes), where), folder, where=where)


def _is_source(model: Run | Path | str) -> bool:
    return not isinstance(model, Run) and ":" in str(model) and not Path(model).exists()


def _of_run(run: Run) -> dict[str, Any]:
    if run.config.model["name"] == "kmex":
        raise ProtolensError(f"{run.folder} was converted already; convert the run that it came from")
    weights = run.folder / "model.safetensors"
    return {
        "data": to_mapping(run.config.data),
        "model": {"name": "kmex", "of": run.config.model, "weights": str(weights.resolve())},
        "train": to_mapping(run.config.train),
        "seed": run.config.seed,
    }


def _of_network(source: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    place, _, function = source.rpartition(":")
    if place.endswith(".py"):
        source = f"{Path(place).resolve()}:{function}"  # the run can be opened from any folder
    weights = changes.get("model", {}).get("of", {}).get("weights", "")
    if not weights:
        raise ProtolensError(f"convert {source}: give the file with its weights as --weights FILE")
    of = {"name": "network", "source": source, "weights": weights}
    return {"model": {"name": "kmex", "of": of}}
