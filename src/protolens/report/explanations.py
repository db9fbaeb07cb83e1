"""Explanations of a person's own images: a page, a figure and the same as JSON."""

from collections.abc import Sequence
from pathlib import Path

from protolens.explanation import Explanation
from protolens.files import write_bytes, write_json, write_text
from protolens.report.about import model_words, name_of, shape_words
from protolens.report.figures import Cell, Line, draw
from protolens.report.gallery import read_prototypes
from protolens.report.numbers import counted
from protolens.report.page import render
from protolens.report.pictures import Album, Picture
from protolens.report.reasons import Why, explain_why
from protolens.train import Run

STRONGEST = 4  # prototypes beside each image in the figure


def write_explanations(run: Run, explanations: Sequence[Explanation], pictures: Sequence[bytes], folder: Path) -> Path:
    """Write explanations.html, .json and .png to a folder; returns the page's path.

    pictures: of each image, the PNG file of what the model saw. Raises ProtolensError when a file of the run is
    missing, or reasons do not sum to their logit.
    """
    prototypes = read_prototypes(run, Album(run.folder))
    whys = [
        explain_why(explanation.to_dict(), prototypes, Picture(picture), None, f"image-{number}")
        for number, (explanation, picture) in enumerate(zip(explanations, pictures, strict=True))
    ]
    page = render(
        "explanations.html",
        name=name_of(run),
        model=model_words(run.facts, len(prototypes)),
        shape=shape_words(run.facts["data"]),
        set=run.facts["data"]["name"],
        sentence=f"{counted(len(whys), 'image')}, each with the prototypes that decided it.",
        whys=whys,
        prototypes=prototypes,
    )
    write_json(folder / "explanations.json", facts(run, explanations))
    write_bytes(folder / "explanations.png", draw([line(why) for why in whys]))
    path = folder / "explanations.html"
    write_text(path, page)
    return path


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


def line(why: Why) -> Line:
    """A row of the figure: an image, then the prototypes that speak most about it."""
    image = Cell(why.picture, (why.explained, f"logit {why.end.lift}"))
    strongest = [(row.prototype, row.lift, row.bar.speaks) for row in (*why.rows, *why.folded) if row.prototype]
    cells = [
        Cell(each.picture, (f"{each.number}: {each.class_name}", f"{lift} {speaks}"))
        for each, lift, speaks in strongest[:STRONGEST]
    ]
    return Line([image, *cells], Path(why.image).name)
