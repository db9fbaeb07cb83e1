"""A whole set explained into shards, beside the way one would begin with: image by image, a line of JSON each.

Both explain training images of the digits at 28 x 28 by a network of PrototypeDL, without maps and with those of LRP.
Ours are all 1,295 images, opened, explained and written; the other way takes the first 200, opened before.
"""

import json
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import Figure, arguments, in_turn, show

from protolens import Run, attribute, fit, read_run
from protolens.data import Images, open_data, to_float
from protolens.explanation import Subject, explain_images, explain_set
from protolens.models import PrototypeModel

IMAGES, ALONE = 1295, 200


def one_by_one(model: PrototypeModel, images: Images, method: str | None, path: Path) -> None:
    """A line of JSON an image, with its map if there is a method."""
    with path.open("w") as file:
        for row in range(ALONE):
            pixels = to_float(images.take(torch.tensor([row])), "cpu")
            (explanation,) = explain_images(model, pixels, [Subject(images.names[row], row)])
            content = explanation.to_dict()
            if method:
                content["map"] = attribute(model, pixels, method=method)[0].tolist()
            file.write(json.dumps(content) + "\n")


def compare(run: Run, method: str | None, folder: Path, goal: float) -> Figure:
    """Rows a second."""
    methods, number = [method] if method else [], count()
    model, images = run.model(), open_data(run.config.data).training
    ours, theirs = in_turn(
        lambda: explain_set(run, "digits", folder / str(next(number)), split="training", methods=methods, device="cpu"),
        lambda: one_by_one(model, images, method, folder / "lines.jsonl"),
        rounds=3,
    )
    name = f"digits explained, {f'maps of {method}' if method else 'no maps'}"
    ours, theirs = IMAGES / ours, ALONE / theirs
    return Figure(name, ours, theirs, "rows/s", ours / theirs, goal)


def main() -> None:
    given = arguments(__doc__)
    with TemporaryDirectory() as place:
        folder = Path(place)
        settings, where = read_run("digits-prototypedl", {"stages": {"train": {"epochs": 1}}})
        run = fit(settings, folder / "run", where=where)
        show([compare(run, None, folder / "plain", 3.0), compare(run, "lrp", folder / "maps", 2.0)], given.json)


if __name__ == "__main__":
    main()
