"""Exported files in onnxruntime beside their models in PyTorch: the same images, outputs, process and threads.

Models are trained for one epoch on the digits, enlarged to 28 pixels: speed does not hang on what they have learnt.
`export` has held each file against its model before. Ours is the file, theirs our own forward pass; there is no goal,
for neither is a peer of the other.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from common import Figure, arguments, in_turn, show

from protolens import Run, convert, export, fit, read_run
from protolens.data import open_data, to_float
from protolens.exporting.graph import INPUT, Outputs

BATCHES = (1, 64)
MODELS = ("blackbox", "prototypedl", "protopnet")
IMAGES = 128  # a round


def trained(name: str, folder: Path) -> Run:
    """One epoch a stage."""
    stages = {"joint-1": {"epochs": 1}, "head-1": {"epochs": 1}} if name == "protopnet" else {"train": {"epochs": 1}}
    model = {"name": name, **({"rounds": 1} if name == "protopnet" else {})}
    settings, where = read_run(None, {"data": {"name": "digits", "size": 28}, "model": model, "stages": stages})
    return fit(settings, folder, where=where)


@torch.inference_mode()
def figures(run: Run, file: Path) -> list[Figure]:
    """Images a second at each size of a batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    outputs = Outputs(run.model())
    validation = open_data(run.config.data).validation
    images = to_float(validation.take(torch.arange(IMAGES)), "cpu")
    found = []
    for batch in BATCHES:
        parts = images.split(batch)
        arrays = [part.numpy() for part in parts]
        ours, theirs = in_turn(
            lambda arrays=arrays: [session.run(None, {INPUT: array}) for array in arrays],
            lambda parts=parts: [outputs(part) for part in parts],
        )
        name = f"{run.facts['model']['name']}, {batch} image{'s' * (batch > 1)} at a time: onnxruntime against PyTorch"
        found.append(Figure(name, IMAGES / ours, IMAGES / theirs, "images/s", theirs / ours, None))
    return found


def main() -> None:
    given = arguments(__doc__)
    with TemporaryDirectory() as place:
        folder = Path(place)
        runs = [trained(name, folder / name) for name in MODELS]
        runs.append(convert(runs[0], folder / "kmex"))
        found = []
        for run in runs:
            export(run, folder / "model.onnx")
            found += figures(run, folder / "model.onnx")
        show(found, given.json)


if __name__ == "__main__":
    main()
