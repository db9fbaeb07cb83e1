"""The verb `convert`: a trained run becomes one that decides by its nearest prototype (KMEx)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protolens.config import RunConfig, build, merge, to_mapping
from protolens.errors import ProtolensError
from protolens.train.fitting import fit
from protolens.train.record import Run


def convert(
    run: Run | Path | str, folder: Path | str, changes: Mapping[str, Any] | None = None, *, resume: bool = False
) -> Run:
    """Cluster the codes of a run's training images, class by class, and leave a run that decides by the centres.

    The network stays as it is, and nothing but its training split is read, as the run split it. changes: other settings
    in nested tables, such as {"model": {"per_class": 10}}; resume: go on where a killed conversion stopped. Raises
    ProtolensError for a run that was converted already, for unknown settings, and for images that differ from those of
    the run.
    """
    run = Run.open(run)
    if run.config.model["name"] == "kmex":
        raise ProtolensError(f"{run.folder} was converted already; convert the run that it came from")
    weights = run.folder / "model.safetensors"
    tables = {
        "data": to_mapping(run.config.data),
        "model": {"name": "kmex", "of": run.config.model, "weights": str(weights.resolve())},
        "train": to_mapping(run.config.train),
        "seed": run.config.seed,
    }
    config = build(RunConfig, merge(tables, changes or {}), f"convert {run.folder}")
    return fit(config, folder, resume=resume, where=f"convert {run.folder}")
