"""The same decisions as several methods see them, side by side: a page, a figure, and the same as JSON."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.data.pictures import to_png
from protolens.explanation import Comparison
from protolens.files import write_bytes, write_json, write_text
from protolens.report.about import head_of, name_of, option_words, path_of
from protolens.report.colours import adds_to_colours, scale_colours
from protolens.report.figures import Cell, Line, draw
from protolens.report.gallery import short_name
from protolens.report.numbers import counted, fixed, percent, three
from protolens.report.page import render
from protolens.report.pictures import Picture
from protolens.train import Run

if TYPE_CHECKING:
    from torch import Tensor

FULL = 0.995  # share of a method's pixels that its colours tell apart; beyond, they stay
TITLES = {
    "self": "the model itself",
    "lime": "LIME",
    "kernelshap": "KernelSHAP",
    "lrp": "LRP",
    "prp": "PRP",
    "gradient": "gradient",
    "integrated-gradients": "integrated gradients",
    "smoothgrad": "SmoothGrad",
    "gradcam": "Grad-CAM",
    "occlusion": "occlusion",
    "random": "random (control)",
    "edges": "edges (control)",
}


@dataclass(frozen=True)
class Method:
    """A column: its name, the value at which its colours are full, and the time for an image."""

    title: str
    end: str
    seconds: str


@dataclass(frozen=True)
class Row:
    """An image, what was said of it, and its map by each method."""

    picture: Picture
    name: str
    label: str | None
    predicted: str
    explained: str
    probability: str
    maps: Sequence[Picture]

    @property
    def right(self) -> bool | None:
        """Whether the label was said; None where there is none."""
        return None if self.label is None else self.label == self.predicted


def write_comparison(run: Run, comparison: Comparison, folder: Path) -> Path:
    """Write comparison.html, .png and .json to a folder; returns the page's path."""
    ends = {name: end_of(maps) for name, maps in comparison.maps.items()}
    methods = [
        Method(TITLES[name], three(end), f"{three(comparison.seconds[name] / len(comparison.subjects))} s")
        for name, end in ends.items()
    ]
    rows = [make_row(comparison, number, ends) for number in range(len(comparison.subjects))]
    agreement = agreements(comparison)
    page = render(
        "comparison.html",
        **head_of(run),
        sentence=sentence(comparison, agreement),
        methods=methods,
        rows=rows,
        colours=scale_colours(),
        full=percent(FULL),
        agreement=[
            (TITLES[name], [None if value is None else fixed(value, 2) for value in values])
            for name, values in agreement.items()
        ],
        command=command(run, comparison),
        drawn=bool(comparison.each),
    )
    write_json(folder / "comparison.json", facts(run, comparison, ends, agreement))
    write_bytes(folder / "comparison.png", draw(figure(rows, methods)))
    path = folder / "comparison.html"
    write_text(path, page)
    return path


def end_of(maps: "Tensor") -> float:
    """The value at which a method's colours are full: the same for all its images. maps: [B, H, W]."""
    import numpy as np

    return float(np.quantile(maps.abs().numpy(), FULL)) or float(maps.abs().max())


def make_row(comparison: Comparison, number: int, ends: dict[str, float]) -> Row:
    """An image with its maps in colours."""
    import torch

    subject = comparison.subjects[number]
    coloured = (adds_to_colours(maps[number].numpy(), ends[name]) for name, maps in comparison.maps.items())
    return Row(
        Picture(to_png(comparison.pixels[number])),
        short_name(subject.image),
        subject.label,
        comparison.predicted[number],
        comparison.explained[number],
        percent(comparison.probability[number]),
        [Picture(to_png(torch.from_numpy(colours).permute(2, 0, 1))) for colours in coloured],
    )


def agreements(comparison: Comparison) -> dict[str, list[float | None]]:
    """Mean rank correlation over images of each method's map with each other's; None where it is undefined."""
    from protolens.evaluation.maps import spearman

    found = {}
    for name, own in comparison.maps.items():
        means = (float(spearman(own, other).nanmean()) for other in comparison.maps.values())
        found[name] = [None if mean != mean else mean for mean in means]
    return found


def sentence(comparison: Comparison, agreement: dict[str, list[float | None]]) -> str:
    """What the page shows, and which two methods agree least and most."""
    images = counted(len(comparison.subjects), "image")
    names = list(agreement)
    pairs = [
        (value, names[row], names[column])
        for row, values in enumerate(agreement.values())
        for column, value in enumerate(values[:row])
        if value is not None
    ]
    if len(pairs) < 2:
        return f"{images}, each as {counted(len(names), 'method')} of explanation sees it."
    (least, *two), (most, *other) = min(pairs), max(pairs)
    return (
        f"{images} by {counted(len(names), 'method')}. {TITLES[other[0]]} and {TITLES[other[1]]} agree most (rank "
        f"correlation {fixed(most, 2)}), {TITLES[two[0]]} and {TITLES[two[1]]} least ({fixed(least, 2)})."
    )


def figure(rows: Sequence[Row], methods: Sequence[Method]) -> list[Line]:
    """The page's table for a paper; the last row names the columns."""
    lines = []
    for number, row in enumerate(rows):
        words = ("image", *(method.title for method in methods)) if number == len(rows) - 1 else ()
        pictures = (row.picture, *row.maps)
        cells = [Cell(picture, (words[place],) if words else ()) for place, picture in enumerate(pictures)]
        said = row.predicted if row.right is not False else f"{row.label} → {row.predicted}"
        lines.append(Line(cells, said))
    return lines


def command(run: Run, comparison: Comparison) -> str:
    """What to type to get the same."""
    words = ["protolens", "explain", path_of(run.folder)]
    if not comparison.each:
        words += [shlex.quote(subject.image) for subject in comparison.subjects]
    words += ["--method", ",".join(comparison.maps), "--seed", str(comparison.seed)]
    words += option_words(comparison.options.get(name, {}) for name in comparison.maps)
    return " ".join([*words, "--each", str(comparison.each)] if comparison.each else words)


def facts(
    run: Run, comparison: Comparison, ends: dict[str, float], agreement: dict[str, list[float | None]]
) -> dict[str, Any]:
    """What the page shows, as data."""
    data = run.facts["data"]
    return {
        "run": name_of(run),
        "model": run.facts["model"],
        "data": {"name": data["name"], "classes": data["classes"], "split": "validation" if comparison.each else None},
        "seed": comparison.seed,
        "command": command(run, comparison),
        "methods": {
            name: {"seconds": comparison.seconds[name], "full_colour_at": ends[name], "agreement": agreement[name]}
            for name in comparison.maps
        },
        "images": [
            {
                "image": subject.image,
                "index": subject.index,
                "label": subject.label,
                "predicted": comparison.predicted[number],
                "explained": comparison.explained[number],
                "probability": comparison.probability[number],
                "maps": {name: maps[number].tolist() for name, maps in comparison.maps.items()},
            }
            for number, subject in enumerate(comparison.subjects)
        ],
    }
