"""A model's explanations beside those of its black box: the gap as numbers, and as pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.data.pictures import to_png
from protolens.evaluation import typed
from protolens.explanation import Comparison
from protolens.files import write_bytes, write_text
from protolens.report.about import head_of, option_words, path_of
from protolens.report.colours import adds_to_colours, scale_colours
from protolens.report.comparison import FULL, TITLES, end_of
from protolens.report.figures import Cell, Line, draw
from protolens.report.numbers import counted, fixed, percent, two
from protolens.report.page import render
from protolens.report.pictures import Picture
from protolens.train import Run

if TYPE_CHECKING:
    from torch import Tensor

PAGE, FIGURE = "gap.html", "gap.png"
ALIKE, LOOSE = 0.7, 0.3  # rank correlations from which on maps are called alike, and below which unlike


@dataclass(frozen=True)
class Row:
    """An image, what both say of it, and the maps: of the model itself, of the model and the black box by a method."""

    picture: Picture
    name: str
    said: str
    maps: Sequence[Picture]
    correlation: str  # of the model's own map with that of the black box


def write_gap(run: Run, found: Mapping[str, Any], own: Comparison, black: Comparison) -> Path:
    """Write RUN/gap.html and RUN/gap.png; returns the page's path.

    found: what `explanation_gap` found; own, black: maps of the same images for the same classes, those of the model
    by "self" and the first method, those of the black box by that method.
    """
    method = next(iter(found["methods"]))
    rows = rows_of(own, black, method)
    heads = heads_of(method)
    path = run.folder / PAGE
    write_bytes(run.folder / FIGURE, draw(lines_of(rows, heads)))
    page = render(
        PAGE,
        **head_of(run),
        answer=answer(found),
        images=counted(found["images"], "test image"),
        agreement=figure(found["agreement"], percent),
        methods=[(TITLES[name], cells_of(own)) for name, own in found["methods"].items()],
        heads=heads,
        rows=rows,
        full=percent(FULL),
        colours=scale_colours(),
        bought=found["bought"],
        command=command(run, found),
    )
    write_text(path, page)
    return path


def heads_of(method: str) -> tuple[str, ...]:
    """Of the columns of pictures."""
    return ("image", "the model itself", f"the model by {TITLES[method]}", f"the black box by {TITLES[method]}")


def rows_of(own: Comparison, black: Comparison, method: str) -> list[Row]:
    """Each image with its three maps, each on its own scale: places are compared, not amounts."""
    from protolens.evaluation.maps import spearman

    columns = (own.maps["self"], own.maps[method], black.maps[method])
    alike = spearman(own.maps["self"], black.maps[method]).tolist()
    rows = []
    for number, subject in enumerate(own.subjects):
        both = (own.predicted[number], black.predicted[number])
        said = both[0] if both[0] == both[1] else f"{both[0]}; black box: {both[1]}"
        pictures = [coloured(maps[number]) for maps in columns]
        correlation = "–" if alike[number] != alike[number] else fixed(alike[number], 2)
        rows.append(Row(Picture(to_png(own.pixels[number])), subject.image, said, pictures, correlation))
    return rows


def coloured(maps: "Tensor") -> Picture:
    """A map [H, W] in colours."""
    import torch

    colours = adds_to_colours(maps.numpy(), end_of(maps))
    return Picture(to_png(torch.from_numpy(colours).permute(2, 0, 1)))


def lines_of(rows: Sequence[Row], heads: Sequence[str]) -> list[Line]:
    """The rows for a paper; the last one names the columns."""
    lines = []
    for row in rows:
        words = heads if row is rows[-1] else ("",) * len(heads)
        pictures = zip((row.picture, *row.maps), words, strict=True)
        lines.append(Line([Cell(picture, (word,) if word else ()) for picture, word in pictures], row.said))
    return lines


def cells_of(own: Mapping[str, Any]) -> list[str]:
    """A line of the table."""
    return [
        figure(own[f"{key}{ending}"], write)
        for ending, write in (("", two), ("_overlap", percent))
        for key in ("own", "same", "edges")
    ]


def figure(found: Mapping[str, Any], write: Callable[[float], str]) -> str:
    """A mean with its interval."""
    if found["mean"] is None:
        return "–"
    low, high = found["interval"]
    return f"{write(found['mean'])} ({write(low)} to {write(high)})"


def answer(found: Mapping[str, Any]) -> str:
    """The gap by the first method, beside what edges would say."""
    method, own = next(iter(found["methods"].items()))
    mean = own["own"]["mean"]
    if mean is None:
        return "The maps have one value everywhere: nothing can be said of the gap."
    word = "alike" if mean >= ALIKE else "unlike" if mean < LOOSE else "somewhat alike"
    same, alike = percent(found["agreement"]["mean"]), figure(own["own"], two)
    sentence = (
        f"The model gives the class of its black box to {same} of the images. What it says itself and {TITLES[method]} "
        f"of the black box are {word}: rank correlation {alike}; the gap is {fixed(1 - mean, 2)}."
    )
    if own["edges"]["mean"] is not None and own["edges"]["mean"] >= mean:
        sentence += (
            f" Edges of the image, which know neither, come nearer to the black box: {figure(own['edges'], two)}."
        )
    return sentence


def command(run: Run, found: Mapping[str, Any]) -> str:
    """What to type to get the same."""
    beside = "--beside" if found["beside"] is None else f"--beside {found['beside']}"
    words = ["protolens evaluate", path_of(run.folder), beside, "--method", ",".join(found["methods"])]
    words += ["--images", str(found["asked"]), "--seed", str(found["seed"])]
    words += ["--budget", typed(found["budget"])] if found["budget"] else []
    return " ".join([*words, *option_words(found["options"].values())])
