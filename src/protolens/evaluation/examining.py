"""The verb `doctor`: which prototypes of a finished run are sick, of what, and what can be done about it.

It looks at training and validation images alone. What it finds leads to mends, and mends that were chosen by test
images would make the figures of the test split a promise that nobody can keep.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.data import DataSet, Images, open_data, to_float
from protolens.data.pictures import to_png
from protolens.evaluation.background import NEAREST, background_of_places, middles
from protolens.evaluation.findings import KINDS, Finding, Patient, find, reasons_not_to_ask
from protolens.evaluation.illnesses import COINCIDE
from protolens.evaluation.mends import mends_of
from protolens.evaluation.parts import REGION
from protolens.evaluation.promises import shows_class_of
from protolens.evaluation.seeing import Seen, see
from protolens.files import write_bytes, write_json
from protolens.models import PrototypeModel, state_digest
from protolens.train import Run, assemble, classes_shown, in_words, refuse_other_images

FILE, FOLDER = "doctor.json", "doctor"
SHOWN = 4  # images beside a finding
SIDE = 112  # pixels of the longer side of their pictures
BESIDE = ("class-mixed", "background")  # illnesses that images show better than the prototype itself


def doctor(run: Run | Path | str, *, device: str = "auto") -> dict[str, Any]:
    """Examine a finished run's prototypes by its training and validation images, and write RUN/doctor.json.

    Pictures of images that show what is wrong go to RUN/doctor/. Returns what the file holds: `findings`, a line for
    each illness of each prototype, `kinds`, what was asked and with which result, and how many are `healthy`. Raises
    ProtolensError when the images differ from those that the run was made with.
    """
    run, begun = Run.open(run), time.monotonic()
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        seen = see(model, (data.training, data.validation), run.config.seed)
        assert state_digest(model) == before, "looking changed the model"
    patient = patient_of(model, seen, data)
    refused = reasons_not_to_ask(patient)
    findings = find(patient, refused)
    sick = Counter(finding.kind for finding in findings)
    mends = mends_of(run, sick)
    content: dict[str, Any] = {
        "model": before,
        "data": {images.name: images.digest for images in splits(data)},
        "images": {images.name: len(images) for images in splits(data)},
        "prototypes": len(patient.class_of),
        "healthy": len(patient.class_of) - len({finding.prototype for finding in findings}),
        "kinds": {kind: {"sick": sick[kind], "not_asked": refused.get(kind)} for kind in KINDS},
        "findings": [entry_of(run.folder, finding, patient, data, mends) for finding in findings],
        "seconds": round(time.monotonic() - begun, 2),
    }
    if team.leads:
        write_json(run.folder / FILE, content)
    return content


def entry_of(
    folder: Path, finding: Finding, patient: Patient, data: DataSet, mends: Mapping[str, str]
) -> dict[str, Any]:
    """A finding as doctor.json holds it; its pictures are written."""
    return asdict(finding) | {
        "class": patient.name(finding.prototype),
        "others": list(finding.others),
        "mend": mends[finding.kind],
        "images": pictures(folder, finding, patient, data),
    }


def splits(data: DataSet) -> tuple[Images, Images]:
    """What is looked at."""
    return data.training, data.validation


@torch.no_grad()
def patient_of(model: PrototypeModel, seen: Seen, data: DataSet) -> Patient:
    """All that findings rest on, on the CPU."""
    class_of = model.class_of().cpu()
    nearest = seen.similarity.topk(min(NEAREST, len(seen.similarity)), dim=0).indices
    ground = expected = None
    if seen.places is not None and seen.grid is not None and not data.training.has_masks:
        ground, expected = grounds(seen, nearest, data)
    source = sources(model, seen)
    projected = (source >= 0).nonzero().flatten()
    wins = seen.wins.clone()
    # a prototype is always the most similar one to its own image, which says nothing of its use
    wins[source[projected], projected] = 0
    return Patient(
        seen=seen,
        wins=wins,
        source=source,
        vectors=model.prototypes.vectors.detach().cpu(),
        weights=model.prototype_weights().cpu(),
        class_of=class_of,
        own=shows_class_of(seen.labels, class_of),
        shown=classes_shown(seen.labels, len(data.task.classes)),
        classes=data.task.classes,
        several=data.task.several,
        linear=model.linear,
        nearest=nearest,
        ground=ground,
        expected_ground=expected,
        marked=data.training.has_marks,
        masked=data.training.has_masks,
    )


def sources(model: PrototypeModel, seen: Seen) -> Tensor:
    """The training image that each prototype is a code of, as projection makes it: [P], -1 for other prototypes.

    That of its provenance, where its nearest code is a hundred times nearer than codes are to each other.
    """
    numbers = torch.tensor([-1 if origin is None else origin.index for origin in model.provenance])
    if seen.nearest is None or seen.usual_nearest is None or len(numbers) != len(seen.nearest):
        return torch.full((seen.wins.shape[1],), -1)
    usual = seen.usual_nearest.median() if len(seen.usual_nearest) else torch.inf
    return torch.where(seen.nearest <= COINCIDE * usual, numbers, -1)


def grounds(seen: Seen, nearest: Tensor, data: DataSet) -> tuple[Tensor, float]:
    """Whether each prototype is found on background in its nearest images, [n, P], and the share of places that are.

    nearest: [n, P], numbers of images, counted over both splits.
    """
    assert seen.places is not None
    assert seen.grid is not None
    asked, place_of = nearest.unique(return_inverse=True)
    parts = [background_of_places(images, own, seen.grid) for images, own in by_split(asked, data) if len(own)]
    background = torch.cat(parts).flatten(1)
    found = background[place_of, seen.places.gather(0, nearest)]
    return found, float(background.double().mean())


def by_split(numbers: Tensor, data: DataSet) -> Iterable[tuple[Images, Tensor]]:
    """The images with these numbers, counted over both splits and in order, as positions in each."""
    start = 0
    for images in splits(data):
        yield images, numbers[(numbers >= start) & (numbers < start + len(images))] - start
        start += len(images)


def pictures(folder: Path, finding: Finding, patient: Patient, data: DataSet) -> list[dict[str, Any]]:
    """Images that show what is wrong: their pictures below the run folder, names and classes, and where to look."""
    if finding.kind not in BESIDE:
        return []
    seen, prototype = patient.seen, finding.prototype
    numbers = patient.nearest[:SHOWN, prototype]
    if finding.kind == "class-mixed":
        strange = (patient.wins[:, prototype] * ~patient.own[:, prototype] > 0).nonzero().flatten()
        numbers = strange[seen.similarity[strange, prototype].argsort(descending=True, stable=True)[:SHOWN]]
    return [picture(folder, seen, prototype, number, data) for number in numbers.tolist()]


def picture(folder: Path, seen: Seen, prototype: int, number: int, data: DataSet) -> dict[str, Any]:
    """An image with this number, counted over both splits; its picture is written once."""
    images, index = next((images, int(own)) for images, own in by_split(torch.tensor([number]), data) if len(own))
    path = f"{FOLDER}/{images.name}-{index:06d}.png"
    pixels = to_float(images.take(torch.tensor([index])), "cpu")
    scale = min(1.0, SIDE / max(images.shape[1:]))
    if not (folder / path).exists():
        small = F.interpolate(pixels, scale_factor=scale, mode="area") if scale < 1 else pixels
        write_bytes(folder / path, to_png(small[0]))
    shown = classes_shown(images.labels[[index]], len(data.task.classes))[0]
    box = None
    if seen.places is not None and seen.grid is not None:
        box = window(int(seen.places[number, prototype]), seen.grid, images.shape[1:], scale)
    return {"picture": path, "name": images.names[index], "label": in_words(shown, data.task.classes), "box": box}


def window(place: int, grid: Sequence[int], size: Sequence[int], scale: float) -> list[int]:
    """The window around a place in pixels of a picture: left, top, right, bottom. size: of the image."""
    row, column = divmod(place, grid[1])
    middle = (float(middles(grid[1], size[1])[column]), float(middles(grid[0], size[0])[row]))
    halves = (REGION * size[1] / 2, REGION * size[0] / 2)
    first = [round(scale * max(0.0, at - half)) for at, half in zip(middle, halves, strict=True)]
    last = [round(scale * min(side, at + half)) for at, half, side in zip(middle, halves, reversed(size), strict=True)]
    return [*first, *last]
