"""Test images beside what the model makes of them: their reconstructions, their closest prototypes, their reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from protolens.report.about import path_of
from protolens.report.figures import Cell, Line, draw, in_lines
from protolens.report.gallery import Prototype
from protolens.report.numbers import count, counted
from protolens.report.pictures import Album
from protolens.report.reasons import Why, explain_why
from protolens.report.several import shows
from protolens.train import Run

COLUMNS = 10


def read_examples(
    run: Run, evaluation: Mapping[str, Any], prototypes: Sequence[Prototype], album: Album
) -> dict[str, list[Why]]:
    """The examples of an evaluation by kind: sample, right, wrong. Raises ProtolensError where a picture is missing."""
    command = f"protolens evaluate {path_of(run.folder)} --again"
    mend = f"`{command}` makes it anew"

    def read(kind: str, entry: Mapping[str, Any]) -> Why:
        picture = album.open(entry["picture"], mend)
        drawn = album.open(entry["reconstruction"], mend) if entry["reconstruction"] else None
        maps = entry.get("heat_maps", {})  # evaluations of protolens 0.1.0 have none
        heat = {int(number): album.open(name, mend) for number, name in maps.items()}
        return explain_why(entry, prototypes, picture, drawn, f"{kind}-{entry['index']}", command, heat)

    return {kind: [read(kind, entry) for entry in entries] for kind, entries in evaluation["examples"].items()}


def sample_section(examples: Mapping[str, Sequence[Why]], several: bool = False) -> dict[str, Any]:
    """What does it keep of an image? several: whether an image can show several classes."""
    sample = examples["sample"]
    right = sum(why.label == why.predicted for why in sample)
    alike = sum(shows(str(why.label), why.closest.class_name, several) for why in sample)
    whose = "a class that the image shows" if several else "the image’s own class"
    drawn = unique([*examples["sample"], *examples["right"], *examples["wrong"]])
    return {
        "sentence": (
            f"Of {counted(len(sample), 'test image')} drawn at random, {count(right)} are recognised, and the closest "
            f"prototype of {count(alike)} speaks for {whose}."
        ),
        "sample": sample,
        "decoded": bool(sample) and sample[0].reconstruction is not None,
        "lines": [drawn[first : first + COLUMNS] for first in range(0, len(drawn), COLUMNS)],
    }


def unique(whys: Sequence[Why]) -> list[Why]:
    """Each image once."""
    return list({why.image: why for why in whys}.values())


def make_figures(prototypes: Sequence[Prototype], examples: Mapping[str, Sequence[Why]] | None) -> dict[str, bytes]:
    """The figures for a paper, PNG files by name."""
    made = {"prototypes.png": draw(in_lines([prototype_cell(prototype) for prototype in prototypes], COLUMNS))}
    if examples and examples["sample"]:
        made["sample.png"] = draw(sample_lines(examples["sample"]))
    drawn = [why for why in unique([*examples["sample"], *examples["right"], *examples["wrong"]])
             if why.reconstruction] if examples else []  # fmt: skip
    if drawn:
        lines = [line for first in range(0, len(drawn), COLUMNS) for line in _pair(drawn[first : first + COLUMNS])]
        made["decoder-samples.png"] = draw(lines)
    return made


def prototype_cell(prototype: Prototype) -> Cell:
    """A prototype with its class and its use below."""
    words = (prototype.class_name, counted(prototype.images, "image"))
    return Cell(prototype.picture, words, prototype.patch.box if prototype.patch else None)


def sample_lines(sample: Sequence[Why]) -> list[Line]:
    """Images, their reconstructions where there are, and their closest prototypes."""
    inputs = Line([Cell(why.picture) for why in sample], "test image")
    closest = [replace(prototype_cell(why.closest), words=(_said(why), f"prototype {why.closest.number}"))
               for why in sample]  # fmt: skip
    drawn = [Cell(why.reconstruction) for why in sample if why.reconstruction]
    middle = [Line(drawn, "reconstruction")] if drawn else []
    return [inputs, *middle, Line(closest, "closest prototype")]


def _said(why: Why) -> str:
    return str(why.label) if why.label == why.predicted else f"{why.label} → {why.predicted}"


def _pair(whys: Sequence[Why]) -> list[Line]:
    drawn = [Cell(why.reconstruction) for why in whys if why.reconstruction]
    return [Line([Cell(why.picture) for why in whys], "test image"), Line(drawn, "reconstruction")]
