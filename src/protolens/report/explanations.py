"""Explanations of a person's own images: a page, a figure and the same as JSON."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from protolens.data.pictures import to_png
from protolens.explanation import Explanation, heat_map
from protolens.files import write_bytes, write_json, write_text
from protolens.report.about import head_of, name_of, path_of
from protolens.report.figures import Cell, Line, draw
from protolens.report.gallery import read_prototypes
from protolens.report.numbers import counted
from protolens.report.page import render
from protolens.report.painter import Painter, Seen
from protolens.report.pictures import Album, Picture
from protolens.report.reasons import Why, explain_why
from protolens.report.samples import prototype_cell
from protolens.train import Run

STRONGEST = 4  # prototypes beside each image in the figure


def write_explanations(run: Run, explanations: Sequence[Explanation], pictures: Sequence[bytes], folder: Path) -> Path:
    """Write explanations.html, .json and .png to a folder; returns the page's path.

    pictures: of each image, the PNG file of what the model saw. Raises ProtolensError when a file of the run is
    missing, or reasons do not sum to their logit.
    """
    prototypes = read_prototypes(run, Album(run.folder))
    whys = [
        explain_why(
            explanation.to_dict(),
            prototypes,
            picture,
            None,
            f"image-{number}",
            command_of(run, explanation),
            heat_maps(explanation, picture),
        )
        for number, (explanation, picture) in enumerate(zip(explanations, map(Picture, pictures), strict=True))
    ]
    painter = painter_of(explanations, run)
    if painter:
        drawn = zip(whys, explanations, strict=True)
        whys = [
            replace(why, maps=painter.paint(why.anchor, why.picture, explanation.logit)) for why, explanation in drawn
        ]
    page = render(
        "explanations.html",
        **head_of(run),
        sentence=f"{counted(len(whys), 'image')}, each with the prototypes that decided it.",
        whys=whys,
        scale=painter.scale if painter else None,
        several=run.facts["data"].get("several", False),
        prototypes=prototypes,
    )
    write_json(folder / "explanations.json", facts(run, explanations))
    write_bytes(folder / "explanations.png", draw([line for why in whys for line in lines(why)]))
    path = folder / "explanations.html"
    write_text(path, page)
    return path


def command_of(run: Run, explanation: Explanation) -> str:
    """What to type to get an explanation again."""
    words = ["protolens explain", path_of(run.folder), quote(explanation.image)]
    other = explanation.explained != explanation.predicted
    return " ".join([*words, "--target", quote(explanation.explained)] if other else words)


def facts(run: Run, explanations: Sequence[Explanation]) -> dict[str, object]:
    """The explanations with what they rest on: model, data and versions."""
    data = run.facts["data"]
    return {
        "run": name_of(run),
        "model": run.facts["model"],
        "data": {
            "name": data["name"],
            "classes": data["classes"],
            "digests": {name: split["digest"] for name, split in data["splits"].items()},
        },
        "made_with": run.facts["made_with"],
        "explanations": [explanation.to_dict() for explanation in explanations],
    }


def heat_maps(explanation: Explanation, picture: Picture) -> dict[int, Picture]:
    """For each prototype whose map is known, the map over the picture of the image."""
    import numpy as np
    import torch

    if not explanation.maps:
        return {}
    pixels = torch.from_numpy(np.atleast_3d(np.array(picture.image))).permute(2, 0, 1)
    return {number: Picture(to_png(heat_map(pixels, own))) for number, own in explanation.maps.items()}


def painter_of(explanations: Sequence[Explanation], run: Run) -> Painter | None:
    """Draws what is seen in the images, by their anchors; None for a model that decides as a whole."""
    seen = {
        f"image-{number}": Seen(explanation.seen.prototypes.numpy(), explanation.seen.adds.numpy())
        for number, explanation in enumerate(explanations)
        if explanation.seen
    }
    return Painter(seen, len(run.prototypes), run.facts["data"]["classes"]) if seen else None


def lines(why: Why) -> list[Line]:
    """Rows of the figure: an image, then the prototypes that speak most about it.

    Where prototypes stand at places, two rows: where in the image each is most similar, above what that looks like.
    Before them, where the decision is a sum over places, the maps.
    """
    name = Path(why.image).name
    image = Cell(why.picture, (why.explained, f"logit {why.end.lift}"))
    strongest = [row for row in (*why.rows, *why.folded) if row.prototype][:STRONGEST]
    speaking = [
        replace(prototype_cell(row.prototype), words=(f"{row.prototype.number}: {row.prototype.class_name}",
                                                      f"{row.lift} {row.bar.speaks}"))
        for row in strongest
        if row.prototype
    ]  # fmt: skip
    if not why.placed:
        return [Line([image, *speaking], name)]
    maps = []
    if why.maps:
        adds = Cell(why.maps.adds, ("what places add", f"sum {why.maps.sum}"))
        maps = [Line([image, Cell(why.maps.prototypes, ("prototypes",)), adds], name)]
    found = [Cell(why.picture, (f"similarity {row.similarity}",), row.box) for row in strongest]
    return [*maps, Line(found, f"{why.explained}: {name}"), Line(speaking, "compared with")]
