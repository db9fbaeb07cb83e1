"""The verb `export`: from a finished run to files that need no run folder."""

from pathlib import Path
from typing import Any

from protolens.errors import ProtolensError, did_you_mean
from protolens.exporting.hub import export_hub
from protolens.exporting.onnx_file import export_onnx
from protolens.train import Run

FORMATS = ("onnx", "hf")


def export(
    run: Run | Path | str, out: Path | str | None = None, *, format: str = "onnx", license: str | None = None
) -> dict[str, Any]:
    """Write a run's model for other programs; returns what was written, and how it was checked.

    format: "onnx", a file whose outputs are held against those of the model before it is written; or "hf", a folder
    with a model card that can be uploaded to a hub and opened again. out: file or folder, else RUN/model.onnx or
    RUN-hf. license: for the card, such as apache-2.0. The run and its model stay as they are, and the test split is not
    read. Raises ProtolensError for a model that cannot be exported or gives other values there, for a missing package,
    and for a card without an evaluation; nothing is left then.
    """
    run = Run.open(run)
    if format not in FORMATS:
        raise ProtolensError(f"{format} is no format of export{did_you_mean(format, FORMATS)}")
    if format == "hf":
        return export_hub(run, Path(out) if out else beside(run.folder), license)
    if license:
        raise ProtolensError("--license is for the model card of --format hf; leave it out")
    return export_onnx(run, Path(out) if out else run.folder / "model.onnx")


def beside(folder: Path) -> Path:
    """The hub folder where none is named: RUN-hf, also where the run is the working directory."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}-hf")
