"""What replaced pixels and noise look like: pictures of one test image beside the figures of robustness."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.data import Images, to_float
from protolens.data.pictures import to_png
from protolens.evaluation.drops import CONVENTIONS, FILLINGS, Damage, map_of, own_prototypes
from protolens.evaluation.shaking import NOISES, shaken
from protolens.files import write_bytes
from protolens.models import PrototypeModel, evaluation_mode

FOLDER = "robustness"


def damaged(
    model: PrototypeModel, images: Images, kinds: Sequence[str], damage: Damage, seed: int, folder: Path | None
) -> dict[str, Any]:
    """The first image whose class has a prototype, shaken, and without half of its pixels by the map of one prototype.

    kinds: of maps, see `kinds_of_maps`. Pictures are written below a run's folder, where one is given. Without such an
    image the first one is only shaken: `prototype` is None.
    """
    own = own_prototypes(images.labels, model.class_of().cpu())[:, 0]
    row = int((own >= 0).int().argmax())  # the first one if there is none
    image, prototype = to_float(images.take(torch.tensor([row])), model.device), int(own[row])
    pictures = {"plain": image[0]} | {name: shaken(image, torch.tensor([row]), name, 0, seed)[0] for name in NOISES}
    if prototype >= 0:
        pictures |= replaced(model, image, torch.tensor([[prototype]], device=image.device), kinds, damage)
    names = {key: f"{FOLDER}/{key.replace(' ', '-')}.png" for key in pictures}
    if folder is not None:
        for key, pixels in pictures.items():
            write_bytes(folder / names[key], to_png(pixels))
    return {
        "image": images.names[row],
        "prototype": prototype if prototype >= 0 else None,
        "pictures": names,
    }


@torch.no_grad()
def replaced(
    model: PrototypeModel, image: Tensor, prototype: Tensor, kinds: Sequence[str], damage: Damage
) -> dict[str, Tensor]:
    """An image [1, C, H, W] without half of its pixels, [C, H, W] by "MAP FILLING CONVENTION". prototype: [1, 1]."""
    found = {}
    with evaluation_mode(model):
        for kind in kinds:
            order = damage.order(map_of(model, image, prototype, kind, damage.seed))
            for filling, convention in product(FILLINGS, CONVENTIONS):
                found[f"{kind} {filling} {convention}"] = damage.done(image, order, filling, convention)[0, 0]
    return found
