"""What edits change on 10,000 validation images: from what was seen once, beside running the edited model again.

Both end with the same: accuracy before and after, the paired verdict, flips and classes. The models are as they are
built, and the images of 28 x 28 are drawn: neither changes the time. Every other prototype is switched off, one moves.
"""

from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from common import Figure, arguments, seconds, show

from protolens.config import Task
from protolens.data import DataSet, MemoryImages
from protolens.editing import Consequences, Edit, Move, SwitchOff, Workbench, edited_model, reasons_not_to
from protolens.editing.consequences import compare_logits
from protolens.editing.workbench import look
from protolens.models import build_model
from protolens.train import predict
from protolens.train.team import Team

IMAGES, SIDE = 10_000, 28
CLASSES = tuple("0123456789")
GOAL = 10.0
ROUNDS = 5
CASES: dict[str, dict[str, Any]] = {
    "PrototypeDL, 15 prototypes": {"name": "prototypedl"},
    "KMEx, 500 prototypes": {"name": "kmex", "per_class": 50},
    "KMEx at 49 places, 50 prototypes": {
        "name": "kmex",
        "of": {"name": "protopnet"},
        "places": "map",
        "layer": "add_on",
    },
    "concepts at 49 places, 20 concepts": {
        "name": "concepts",
        "of": {"name": "protopnet"},
        "layers": ["add_on"],
        "head": "fitted",
    },
}


def drawn(name: str, count: int) -> MemoryImages:
    """Images of noise."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    return MemoryImages(name, pixels, torch.arange(count) % len(CLASSES), [f"image {i}" for i in range(count)])


def benched(chosen: dict[str, Any]) -> Workbench:
    """A model on the bench, without a run."""
    model = build_model(chosen, Task(CLASSES, 1, SIDE, SIDE), seed=0).eval()
    if hasattr(model, "weight"):
        model.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    data = DataSet("drawn", model.task, drawn("training", 1), drawn("validation", IMAGES), drawn("test", 1), (), ())
    seen, base = look(model, data.validation)
    run: Any = SimpleNamespace(facts={"data": {"splits": {"training": {"per_class": [1] * len(CLASSES)}}}})
    return Workbench(run, model, data, reasons_not_to(model), base, seen)


def again(bench: Workbench, edits: list[Edit]) -> Consequences:
    """The same by the edited model."""
    images = bench.images
    after = predict(edited_model(bench.model, edits), images, Team(torch.device("cpu")))
    return compare_logits(bench.base, after, images.labels, images.names, bench.model.task, uneven=False)


def compare(name: str, chosen: dict[str, Any]) -> Figure:
    """Milliseconds."""
    bench = benched(chosen)
    own = int(bench.model.class_of()[1])
    edits: list[Edit] = [SwitchOff(number) for number in range(0, len(bench.model.prototypes), 2)]
    edits.append(Move(1, CLASSES[(own + 1) % len(CLASSES)]))
    mine, other = bench.consequences(edits), again(bench, edits)
    assert abs(mine.after.right - other.after.right) <= 1, f"{mine.after} is not {other.after}"
    ours = median(seconds(lambda: bench.consequences(edits)) for _ in range(ROUNDS))
    theirs = min(seconds(lambda: again(bench, edits)) for _ in range(2))
    title = f"consequences on {IMAGES:,} images, {name}"
    return Figure(title, 1000 * ours, 1000 * theirs, "ms", theirs / ours, GOAL)


def main() -> None:
    given = arguments(__doc__)
    torch.set_num_threads(1)
    for name, chosen in CASES.items():
        show([compare(name, chosen)], given.json)


if __name__ == "__main__":
    main()
