"""The verb `convert`: a trained classifier becomes one that decides by prototypes of its codes, or by concepts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protolens.config import RunConfig, build, merge, to_mapping
from protolens.errors import ProtolensError, did_you_mean
from protolens.train.fitting import fit, fit_or_keep
from protolens.train.record import Run

MODELS_OF_NETWORKS = ("kmex", "concepts")


def convert(
    model: Run | Path | str,
    folder: Path | str,
    changes: Mapping[str, Any] | None = None,
    *,
    to: str = "kmex",
    resume: bool = False,
) -> Run:
    """Cluster the codes of the training images, and leave a run that decides by the centres.

    model: a run, whose images and splits are taken over; or any network as "torchvision:NAME", "timm:NAME" or
    "FILE.py:FUNCTION", with {"data": ..., "model": {"of": {"weights": FILE}}} in the changes. changes: other settings
    in nested tables, such as {"model": {"per_class": 10}}; to: "kmex", whose prototypes are centres of each class's
    codes, or "concepts", clusters of places; resume: go on where a killed conversion stopped. The network stays as it
    is, and only the training split is read. Raises ProtolensError for a run that was converted already, for unknown
    settings, for images that differ from those of the run, and for a network without its weights.
    """
    config, where = conversion(model, changes or {}, to)
    return fit(config, folder, resume=resume, where=where)


def convert_or_keep(
    model: Run | Path | str, folder: Path | str, changes: Mapping[str, Any] | None = None, *, to: str = "kmex"
) -> Run:
    """The finished conversion in the folder, if there is one with these settings; else what `convert` makes.

    Raises ProtolensError as `convert` does, and where the run in the folder was made with other settings.
    """
    config, where = conversion(model, changes or {}, to)
    return fit_or_keep(config, folder, where=where)


def conversion(model: Run | Path | str, changes: Mapping[str, Any], to: str) -> tuple[RunConfig, str]:
    """All settings of what is to come out, and the place to name in errors about them."""
    where = f"convert {model.folder if isinstance(model, Run) else model}"
    if to not in MODELS_OF_NETWORKS:
        raise ProtolensError(f"{where}: a network cannot become {to}{did_you_mean(to, MODELS_OF_NETWORKS)}")
    tables = _of_network(str(model), changes) if _is_source(model) else _of_run(Run.open(model))
    return build(RunConfig, merge(merge(tables, {"model": {"name": to}}), changes), where), where


def _is_source(model: Run | Path | str) -> bool:
    return not isinstance(model, Run) and ":" in str(model) and not Path(model).exists()


def _of_run(run: Run) -> dict[str, Any]:
    if run.config.model["name"] in MODELS_OF_NETWORKS:
        raise ProtolensError(f"{run.folder} was converted already; convert the run that it came from")
    weights = run.folder / "model.safetensors"
    return {
        "data": to_mapping(run.config.data),
        "model": {"of": run.config.model, "weights": str(weights.resolve())},
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
    return {"model": {"of": of}}
