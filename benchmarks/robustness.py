"""Average drop and increase of prototypes: ours, in batches, against a loop over images and prototypes.

Both make the relevance of each image for each prototype of its class, replace half of the pixels by one image of noise,
by both conventions, and look again; beside random maps. Both must find the same. ProtoVAE with 5 prototypes a class on
images of 28 pixels, and ProtoPNet with 5 on images of 32 x 32 x 3; weights are random, which changes no time.
"""

from statistics import median

import torch
from common import Figure, arguments, seconds, show
from torch import Tensor

from protolens.attribution import chance, prp
from protolens.config import Task
from protolens.evaluation import drops
from protolens.evaluation.drops import CONVENTIONS, Damage, drops_of
from protolens.models import PrototypeModel, build_model
from protolens.train.device import keep_freed_memory

IMAGES, CLASSES, ROUNDS = 20, 10, 3
MODELS = {"protovae": (1, 28), "protopnet": (3, 32)}


def loop(model: PrototypeModel, images: Tensor, labels: Tensor, damage: Damage) -> dict[str, Tensor]:
    """Mean drop of each image by "MAP CONVENTION", [B]: one image and one prototype at a time."""
    found: dict[str, list[Tensor]] = {f"{kind} {end}": [] for kind in ("prp", "random") for end in CONVENTIONS}
    for image, label in zip(images, labels.tolist(), strict=True):
        lost: dict[str, list[float]] = {key: [] for key in found}
        for number in (model.class_of() == label).nonzero().flatten().tolist():
            with torch.no_grad():
                before = float(model.evidence(image[None]).similarity[0, number])
            for kind in ("prp", "random"):
                alone = image[None]
                made = prp(model, alone, [number])[:, 0].sum(dim=1) if kind == "prp" else chance(alone, damage.seed)
                order = damage.order(made[None])
                for convention in CONVENTIONS:
                    changed = damage.done(image[None], order, "noise", convention)[0]
                    with torch.no_grad():
                        after = float(model.evidence(changed).similarity[0, number])
                    lost[f"{kind} {convention}"].append(max(0.0, before - max(0.0, after)) / (before + 1e-8))
        for key, values in lost.items():
            found[key].append(torch.tensor(values, dtype=torch.float64).mean())
    return {key: torch.stack(values) for key, values in found.items()}


def ours(model: PrototypeModel, images: Tensor, labels: Tensor, damage: Damage) -> dict[str, Tensor]:
    """The same by the function of `evaluate --robustness`."""
    found = drops_of(model, images, labels, ["prp", "random"], damage)
    return {
        f"{kind} {end}": found[f"{kind} noise average_drop {end}"] for kind in ("prp", "random") for end in CONVENTIONS
    }


def main() -> None:
    given = arguments(__doc__)
    keep_freed_memory()
    drops.FILLINGS = ("noise",)  # the loop inpaints nothing
    figures = []
    for name, (bands, side) in MODELS.items():
        task = Task(tuple(map(str, range(CLASSES))), bands, side, side)
        model = build_model({"name": name, "per_class": 5}, task, 0).eval()
        images = torch.rand(IMAGES, bands, side, side, generator=torch.Generator().manual_seed(0))
        labels, damage = torch.arange(IMAGES) % CLASSES, Damage.drawn((bands, side, side), 0)
        asked = (model, images, labels, damage)
        mine, theirs = ours(*asked), loop(*asked)
        for key, values in theirs.items():
            # an order may differ in pixels whose relevance is equal but for rounding
            torch.testing.assert_close(mine[key], values, rtol=2e-2, atol=2e-3)
        times = [(seconds(lambda a=asked: ours(*a)), seconds(lambda a=asked: loop(*a))) for _ in range(ROUNDS)]
        fast, slow = (median(column) for column in zip(*times, strict=True))
        what = f"average drop and increase, {IMAGES} images x 5 prototypes, {name}"
        figures.append(Figure(what, fast, slow, "s", slow / fast, 5.0))
    show(figures, given.json)


if __name__ == "__main__":
    main()
