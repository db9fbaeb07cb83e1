"""The whole model at a glance: which prototype matters to which class, and what each prototype looks for."""

from typing import Any

import torch
from torch import Tensor

from protolens.data import DataSet, to_float
from protolens.data.pictures import to_png
from protolens.evaluation.interpretation import class_relevance
from protolens.explanation import PHOTOGRAPHS, Maximisation, maximise
from protolens.files import write_bytes
from protolens.models import PrototypeModel
from protolens.train import Run

CELLS = 20_000  # of the table of classes and prototypes that is worth writing down
PIXELS = 64 * 64 * 100  # of all pictures that are worth the time to draw: some 300 steps each


def overview(
    run: Run, model: PrototypeModel, data: DataSet, contributions: Tensor, predicted: Tensor
) -> dict[str, Any]:
    """Entries of evaluation.json. contributions: to the predicted class, [N, P]; predicted: [N], of the test images.

    relevance: FLINT's global explanation, [K][P], for tables that are not too large; maximised: for each prototype of
    a model that can neither decode it nor say where it stands, a picture that raises its similarity, begun at its
    nearest training image, for sets of small images.
    """
    classes = len(model.task.classes)
    table = class_relevance(contributions, predicted, classes) if classes * len(model.prototypes) <= CELLS else None
    return {"relevance": None if table is None else table.tolist(), "maximised": maximised(run, model, data)}


def maximised(run: Run, model: PrototypeModel, data: DataSet) -> list[str] | None:
    """The file names of the pictures, one a prototype."""
    with torch.inference_mode():
        drawn = model.network_of_places() is not None or model.decode_prototypes() is not None
    task, count = model.task, len(model.prototypes)
    if drawn or count * task.height * task.width > PIXELS:
        return None
    nearest = torch.tensor([entry["provenance"]["index"] for entry in run.prototypes])
    images = to_float(data.training.take(nearest), model.device)
    # the paper's two sets of values: for grey images on a dark background, and for photographs
    settings = Maximisation() if task.bands == 1 else PHOTOGRAPHS
    pictures = maximise(model, images, list(range(count)), settings, run.config.seed)
    names = [f"prototypes/{number:04d}-maximised.png" for number in range(count)]
    for name, picture in zip(names, pictures, strict=True):
        write_bytes(run.folder / name, to_png(picture))
    return names
