"""What the prototypes are like that a network has built in, beside those that the run has found for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protolens.report.gallery import MEND, Prototype, short_name
from protolens.report.numbers import NONE, count, counted, percent, three
from protolens.report.pictures import Album, Picture
from protolens.report.scatter import Scatter, draw_scatters, make_scatter, star, times
from protolens.train import Run

FIGURE = "built-in.png"
TITLES = {"distance": "By distance", "dot_product": "By dot product"}


@dataclass(frozen=True)
class Near:
    """The training image nearest to a built-in prototype by one of the measures."""

    picture: Picture
    name: str
    label: str
    own: bool  # whether it is of the prototype's class
    value: str


@dataclass(frozen=True)
class Plot:
    """A map of codes and prototypes, and what is said of it."""

    title: str
    about: str
    scatter: Scatter
    words: str  # what it shows, for those who do not see it


def built_in_section(run: Run, prototypes: Sequence[Prototype], album: Album) -> dict[str, Any] | None:
    """What are the network's own prototypes like? None for a run that reads no network, or not its code."""
    found = run.built_in
    if found is None:
        return None
    classes = run.facts["data"]["classes"]
    return {
        "sentence": _sentence(found, run.prototypes),
        "figures": figure_rows(found, run.prototypes),
        "rows": [_row(entry, found["unit"], prototypes, album) for entry in found["built_in"]],
        "plots": [_plot(found, measure, classes, run.prototypes) for measure in TITLES],
        "star": star(),
    }


def built_in_figures(section: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The maps as a PNG file by its name."""
    if section is None:
        return {}
    return {FIGURE: draw_scatters([(plot.title, plot.scatter) for plot in section["plots"]])}


def own_of(found: Mapping[str, Any], measure: str) -> int:
    """For how many classes the image nearest to the built-in prototype is of that class."""
    return sum(entry[measure]["label"] == entry["class"] for entry in found["built_in"])


def different(found: Mapping[str, Any], measure: str) -> int:
    """How many different images are nearest to some built-in prototype."""
    return len({entry[measure]["index"] for entry in found["built_in"]})


def own_of_run(found: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> int:
    """How many prototypes of the run have a nearest image, by distance, of their class. entries: of prototypes.json."""
    return sum(near["label"] == entry["class"] for near, entry in zip(found["prototypes"], entries, strict=True))


def farness(found: Mapping[str, Any]) -> tuple[float, float]:
    """Mean distance of the built-in prototypes, and of the run's, to their nearest images, in units."""
    unit = found["unit"] or 1.0
    built_in = [entry["distance"]["value"] for entry in found["built_in"]]
    own = [near["value"] for near in found["prototypes"]]
    return sum(built_in) / len(built_in) / unit, sum(own) / len(own) / unit


def _sentence(found: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str:
    classes, total = len(found["built_in"]), count(len(entries))
    own = {measure: count(own_of(found, measure)) for measure in TITLES}
    images = different(found, "distance")
    same = "the same image" if images == 1 else counted(images, "different image")
    far, near = map(three, farness(found))
    return (
        f"One for each class, a row of its last layer. The training image nearest to it is of its class for "
        f"{own['dot_product']} of {count(classes)} by dot product, and for {own['distance']} of {count(classes)} by "
        f"distance ({same} for all). By distance it is so for {count(own_of_run(found, entries))} of this run’s "
        f"{total} prototypes. The built-in ones lie {far} units from their nearest image, this run’s {near}."
    )


def figure_rows(found: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What is measured, and its value for built-in prototypes by dot product, by distance, and for those of the run."""
    classes, total = len(found["built_in"]), len(entries)
    far, near = map(three, farness(found))
    length = {name: three(value) for name, value in found["length"].items()}
    own = [own_of(found, measure) / classes for measure in ("dot_product", "distance")]
    of = [f"{count(different(found, measure))} of {count(classes)}" for measure in ("dot_product", "distance")]
    images = len({near["index"] for near in found["prototypes"]})
    return [
        (f"nearest training image is of the prototype’s class (chance: {percent(1 / classes)})",
         *map(percent, own), percent(own_of_run(found, entries) / total)),
        ("different images among the nearest", *of, f"{count(images)} of {count(total)}"),
        ("mean distance to the nearest image, in units", NONE, far, near),
        (f"mean length (of the images’ codes: {length['codes']})", NONE, length["built_in"], length["prototypes"]),
    ]  # fmt: skip


def _row(entry: Mapping[str, Any], unit: float, prototypes: Sequence[Prototype], album: Album) -> dict[str, Any]:
    name = entry["class"]
    values = {
        "dot_product": f"dot product {three(entry['dot_product']['value'])}",
        "distance": f"{three(entry['distance']['value'] / (unit or 1.0))} units away",
    }
    near = {
        measure: Near(
            album.open(entry[measure]["image"], MEND),
            short_name(entry[measure]["name"]),
            entry[measure]["label"],
            entry[measure]["label"] == name,
            value,
        )
        for measure, value in values.items()
    }
    return {"name": name, **near, "prototypes": [each for each in prototypes if each.class_name == name]}


def _plot(found: Mapping[str, Any], measure: str, classes: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> Plot:
    drawn = found["map"]
    linear = drawn["how"] == "pca"
    own = [classes.index(entry["class"]) for entry in entries]
    scatter = make_scatter(drawn[measure], classes, drawn["classes"], own, linear and measure == "dot_product")
    title = TITLES[measure]
    images, both = counted(len(drawn["images"]), "training image"), counted(len(classes), "built-in prototype")
    words = f"{title}: {images}, {both} and {counted(len(entries), 'prototype')} of this run in a plane"
    return Plot(title, _about(drawn, measure, scatter), scatter, words)


def _about(drawn: Mapping[str, Any], measure: str, scatter: Scatter) -> str:
    kept = drawn[measure]["kept"]
    if kept is None:
        metric = "Euclidean distance" if measure == "distance" else "cosine"
        return f"UMAP by {metric}: neighbours stay neighbours, but how far groups are from each other means little."
    codes, built_in, prototypes = (percent(kept[name]) for name in ("codes", "built_in", "prototypes"))
    if measure == "distance":
        how = "The plane through the mean code that keeps most of the distances (PCA)"
        what = "squared distance from the mean"
    else:
        how = "The plane through zero that keeps most of the dot products (SVD without centring)"
        what = "squared length"
    longer = f" The lines from zero are the built-in prototypes, {times(scatter)}." if scatter.origin else ""
    return (
        f"{how}. Of the {what} it keeps {codes} for the codes, {prototypes} for this run’s prototypes and {built_in} "
        f"for the built-in ones: the rest is not seen.{longer}"
    )
