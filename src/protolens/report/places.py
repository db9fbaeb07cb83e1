"""What does it see where? The maps of test images, for models that decide place by place."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from protolens.report.about import path_of
from protolens.report.figures import Cell, Line, draw, in_lines
from protolens.report.gallery import Prototype
from protolens.report.masks import masks_of
from protolens.report.numbers import count, counted, percent
from protolens.report.painter import Painter, Seen, swatch
from protolens.report.pictures import Album
from protolens.report.reasons import Why
from protolens.train import Run

SEEN = 0.01  # a prototype counts as seen where it takes such a share of all places
COLUMNS = 10

Examples = Mapping[str, Sequence[Why]]


def painter_of(run: Run, evaluation: Mapping[str, Any], album: Album) -> Painter | None:
    """Draws what is seen in the examples of an evaluation; None for a model that decides as a whole.

    Raises ProtolensError where a file is missing.
    """
    import numpy as np

    mend = f"`protolens evaluate {path_of(run.folder)} --again` makes it anew"
    seen = {}
    for entry in (entry for entries in evaluation["examples"].values() for entry in entries):
        if name := entry.get("places"):  # evaluations of protolens 0.1.0 have none
            arrays = album.arrays(name, mend)
            mask = np.asarray(album.open(entry["mask"], mend).image) if entry["mask"] else None
            seen[name] = Seen(arrays["prototypes"], arrays["adds"], mask)
    return Painter(seen, len(run.prototypes), run.facts["data"]["classes"]) if seen else None


def with_maps(examples: Examples, evaluation: Mapping[str, Any], painter: Painter) -> dict[str, list[Why]]:
    """The examples with their maps. Raises ProtolensError where places do not sum to the logit."""
    return {
        kind: [
            replace(why, maps=painter.paint(entry["places"], why.picture, entry["logit"]))
            for why, entry in zip(whys, evaluation["examples"][kind], strict=True)
        ]
        for kind, whys in examples.items()
    }


def places_section(evaluation: Mapping[str, Any], prototypes: Sequence[Prototype], painter: Painter) -> dict[str, Any]:
    """What does it see where?"""
    shares, masks = evaluation["shares_of_places"], masks_of(evaluation)
    return {
        "sentence": _sentence(shares, masks),
        "legend": [
            {"prototype": prototypes[number], "colour": painter.colour_of(number), "share": percent(shares[number])}
            | _mostly(masks, number, painter.classes)
            for number in painter.coloured
        ],
        "others": count(len(prototypes) - len(painter.coloured)),
        "scale": painter.scale,
        "masks": masks is not None,
    }


def _sentence(shares: Sequence[float], masks: Mapping[str, Any] | None) -> str:
    seen, most = sum(share >= SEEN for share in shares), max(range(len(shares)), key=shares.__getitem__)
    whole = counted(len(shares), "prototype")
    said = f"{f'All {whole}' if seen == len(shares) else f'{count(seen)} of {whole}'} take a hundredth or more of the "
    said += f"places of the test images; prototype {most} takes most, {percent(shares[most])}."
    if masks:
        right, always = masks["pixel_accuracy"], masks["always_most_common_class"]["pixel_accuracy"]
        said += (
            " Saying at each place the class that its prototype shows most in the training images is right for "
            f"{percent(right)} of the pixels; always saying the most common class, for {percent(always)}."
        )
    return said


def _mostly(masks: Mapping[str, Any] | None, number: int, classes: Sequence[str]) -> dict[str, str]:
    """The class that a prototype stands for, and how purely."""
    if masks is None:
        return {"mostly": "", "purity": ""}
    found = masks["prototypes"][number]
    return {"mostly": classes[found["class"]], "purity": percent(found["purity"])}


def places_figure(whys: Sequence[Why], legend: Sequence[Mapping[str, Any]], painter: Painter) -> bytes:
    """The maps of images as a figure for a paper, with what its colours mean below. legend: of `places_section`."""
    each = [(why, why.maps) for why in whys if why.maps]
    lines = [
        Line([Cell(why.picture) for why, _ in each], "test image"),
        Line([Cell(maps.prototypes) for _, maps in each], "prototypes"),
        Line([Cell(maps.adds, (why.explained, f"logit {maps.sum}")) for why, maps in each], "adds to the logit"),
    ]
    means = []
    for entry in legend:
        name = f"prototype {entry['prototype'].number}"
        words = (name, entry["mostly"], entry["purity"]) if entry["mostly"] else (name, f"{entry['share']} of places")
        means.append(Cell(entry["prototype"].nearest.edged(entry["colour"]), words))
    if truth := [Cell(maps.mask) for _, maps in each if maps.mask]:
        lines.append(Line(truth, "true classes"))
        named = zip(painter.classes, painter.class_colours, strict=True)
        means += [Cell(swatch(colour), (name,)) for name, colour in named]
    return draw([*lines, *in_lines(means, COLUMNS)])
