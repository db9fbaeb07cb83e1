"""An ONNX file of a run: made, held against the model, and only then written."""

import time
from pathlib import Path
from typing import Any

from protolens.errors import ProtolensError
from protolens.exporting.checking import TOLERANCE, Difference, check, subject_of
from protolens.exporting.graph import INPUT, left_out, make_graph, randomness, refuse_without_packages
from protolens.files import write_bytes, write_json
from protolens.models import evaluation_mode, state_digest
from protolens.train import Run
from protolens.train.progress import Narrator

PARTS = 3  # the graph, the images, and both on them


def export_onnx(run: Run, path: Path) -> dict[str, Any]:
    """Write PATH and PATH.json, which tells how far it is from the model; returns what the latter holds.

    Raises ProtolensError where the file is off by more than the tolerance; nothing is written then.
    """
    refuse_without_packages()
    begun = time.monotonic()
    model = run.model()
    before = state_digest(model)
    with evaluation_mode(model), Narrator(True) as narrator, narrator.counting("exporting, part", PARTS) as step:
        proto = make_graph(run, model)
        content = proto.SerializeToString()
        step()
        subject = subject_of(run)
        step()
        found, about = check(content, model, subject)
        step()
    assert state_digest(model) == before, "exporting changed the model"
    refuse_differences(run, found, about)
    shapes = {value.name: _shape(value) for value in (*proto.graph.input, *proto.graph.output)}
    report: dict[str, Any] = {
        "run": str(run.folder),
        "format": "onnx",
        "file": str(path),
        "bytes": len(content),
        "opset": next(entry.version for entry in proto.opset_import if not entry.domain),
        "model": before,
        "input": {INPUT: shapes[INPUT]},
        "outputs": {
            name: {"shape": shapes[name], "difference": each.largest, "allowed": each.allowed}
            for name, each in found.items()
        },
        "left_out": left_out(list(found)),
        "randomness": randomness(model),
        "compared": about,
        "tolerance": TOLERANCE,
        "seconds": round(time.monotonic() - begun, 2),
    }
    write_bytes(path, content)
    write_json(path.with_name(f"{path.name}.json"), report)
    return report


def refuse_differences(run: Run, found: dict[str, Difference], about: dict[str, Any]) -> None:
    """Raise ProtolensError at the output that is furthest above what is allowed."""
    name, worst = max(found.items(), key=lambda entry: entry[1].share)
    if worst.share > 1:
        raise ProtolensError(
            f"{run.folder}: {name} of the ONNX file differ from the model's by up to {worst.largest:.2g} on "
            f"{about['images']} {about['of']}, where {worst.allowed:.2g} is allowed; nothing was written, and "
            "--format hf exports the model itself"
        )


def _shape(value: Any) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
