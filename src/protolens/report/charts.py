"""Curves of a training run as inline SVG: text stays text, and colours are classes that follow light and dark."""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan, log10
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from protolens.report.numbers import MINUS, percent, three, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 320, 210  # of a chart, in the pixels of a small telephone, so that 14 px of text stay 14 px
TEXT = 14
MARGIN = (58, 14, 14, 44)  # left, right, top, bottom
# colours that matplotlib draws with, and the classes of style.css that replace them
COLOURS = {"#010101": "ink", "#020202": "muted", "#030303": "accent", "#040404": "rule"}
INK, MUTED, ACCENT, RULE = COLOURS
STYLES: dict[str, dict[str, Any]] = {
    "solid": {"color": INK, "linewidth": 2},
    "dashed": {"color": INK, "linewidth": 1.5, "dashes": (4, 2)},
    "dotted": {"color": MUTED, "linewidth": 1.5, "dashes": (1, 2)},
}
SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Curve:
    """One value an epoch, NaN where there is none. style: solid, dashed or dotted."""

    label: str
    style: str
    values: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """A drawn chart, and what stands around it."""

    title: str
    svg: Markup
    words: str  # what it shows, for those who do not see it
    curves: tuple[Curve, ...]


def line_chart(
    name: str, title: str, curves: Sequence[Curve], low: float, high: float, marks: "Marks", kind: str = "number"
) -> Chart:
    """Curves over epochs. name: unique on the page; kind: "number", "percent" or "logarithm" (low must be above 0)."""

    def draw(axes: "Axes") -> None:
        _scales(axes, len(curves[0].values), low, high, kind)
        for start in marks.starts:
            axes.axvline(start + 0.5, color=RULE, linewidth=1, dashes=(2, 2))
        for chosen in marks.chosen:
            axes.axvline(chosen, color=ACCENT, linewidth=1)
        for curve in curves:
            _draw(axes, curve)
        for chosen in marks.chosen:
            axes.plot([chosen], [curves[0].values[chosen - 1]], "o", color=ACCENT, markersize=8, clip_on=False)

    return Chart(title, to_svg(name, draw), _words(title, curves, kind), tuple(curves))


def to_svg(name: str, draw: Callable[["Axes"], None]) -> Markup:
    """A chart that a function draws, for use inside a page. name: unique on the page."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
        left, right, top, bottom = MARGIN
        box = (left / WIDTH, bottom / HEIGHT, 1 - (left + right) / WIDTH, 1 - (top + bottom) / HEIGHT)
        draw(figure.add_axes(box))
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    return to_inline(file.getvalue())


@dataclass(frozen=True)
class Marks:
    """Epochs, counted from 1 over all stages: those whose weights were taken, and those after which a stage begins."""

    chosen: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()

    def known(self, values: Sequence[float]) -> "Marks":
        """Without the chosen epochs that have no value."""
        return Marks(tuple(epoch for epoch in self.chosen if not isnan(values[epoch - 1])), self.starts)


def _scales(axes: "Axes", epochs: int, low: float, high: float, kind: str) -> None:
    axes.set_xlim(0.5 if epochs < 3 else 1, epochs + (0.5 if epochs < 3 else 0))
    set_height(axes, low, high, kind)
    whole = sorted({max(1, round(tick)) for tick in ticks(0, epochs, 4) if tick <= epochs})
    axes.set_xticks(whole, [f"{tick:,}" for tick in whole])
    axes.set_xlabel("epoch", color=MUTED, fontsize=TEXT, labelpad=4)


def set_height(axes: "Axes", low: float, high: float, kind: str) -> None:
    """Bring values from low to high into a chart, at round numbers, with lines across it and no frame."""
    for side, spine in axes.spines.items():
        spine.set(color=RULE, visible=side == "bottom")
    axes.tick_params(length=0, labelsize=TEXT, colors=MUTED, pad=6)
    if kind == "logarithm":
        axes.set_yscale("log")
        places = logarithmic_ticks(low, high)
        low, high = min(low, places[0]), max(high, places[-1])
        axes.minorticks_off()
    else:
        places = ticks(low, high, 4)
        low, high = places[0], places[-1]
    axes.set_ylim(low, high)
    axes.set_yticks(places, [_tick(place, kind) for place in places])
    axes.grid(axis="y", color=RULE, linewidth=1)
    axes.set_axisbelow(True)


def set_rows(axes: "Axes", names: Sequence[str]) -> None:
    """A row for each name from the top at 0, 1, 2 and so on, with lines up the chart and no frame."""
    for spine in axes.spines.values():
        spine.set(visible=False)
    axes.tick_params(length=0, labelsize=TEXT, colors=MUTED, pad=6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.grid(axis="x", color=RULE, linewidth=1)
    axes.set_axisbelow(True)


def across(axes: "Axes", end: float, label: str) -> None:
    """Percentages along the bottom, from 0 to `end`."""
    places = [place for place in ticks(0, end, 3) if place <= end * (1 + 1e-9)]
    axes.set_xlim(0, end)
    axes.set_xticks(places, [f"{100 * place:.3g} %" for place in places])
    axes.set_xlabel(label, color=MUTED, fontsize=TEXT, labelpad=4)


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten that enclose low and high; powers alone where these are many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1.0, 2.0, 5.0) if len(powers) < 4 else (1.0,)
    every = [factor * 10.0**power for power in powers for factor in factors]
    below = max((tick for tick in every if tick <= low), default=every[0])
    above = min((tick for tick in every if tick >= high), default=every[-1])
    return [tick for tick in every if below <= tick <= above]


def _tick(place: float, kind: str) -> str:
    if kind == "percent":
        return f"{100 * place:.4g} %"
    return f"{place:.4g}".replace("-", MINUS)


def _draw(axes: "Axes", curve: Curve) -> None:
    epochs = range(1, len(curve.values) + 1)
    # a single value draws no line
    alone = sum(not isnan(value) for value in curve.values) == 1
    axes.plot(epochs, curve.values, marker="o" if alone else None, markersize=5, **STYLES[curve.style])


def _words(title: str, curves: Sequence[Curve], kind: str) -> str:
    write = percent if kind == "percent" else three
    said = []
    for curve in curves:
        known = [value for value in curve.values if not isnan(value)]
        if known and min(known) == max(known):
            said.append(f"{curve.label} {write(known[0])}")
        elif known:
            said.append(f"{curve.label} from {write(known[0])} to {write(known[-1])}")
    return f"{title} over the epochs: {'; '.join(said)}"


def to_inline(text: str) -> Markup:
    """A matplotlib SVG file for use inside a page under a strict policy: no style attributes, fonts, sizes or ids."""
    root = ElementTree.fromstring(text)
    inner = "".join(_write(child) for child in root)
    return Markup(f'<svg viewBox="{root.get("viewBox")}" class="chart" aria-hidden="true">{inner}</svg>')


def _write(element: ElementTree.Element) -> str:
    """An element and its children, without what a page does not need."""
    name = element.tag.removeprefix(f"{{{SVG}}}")
    if name in ("style", "metadata"):
        return ""
    inner = "".join(_write(child) for child in element) or Markup.escape((element.text or "").strip())
    if not inner and name in ("g", "defs"):
        return ""
    attributes = _attributes(element)
    if name == "g" and not attributes:
        return str(inner)
    written = "".join(f' {key}="{Markup.escape(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{inner}</{name}>"


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    kept: dict[str, str] = {}
    classes = []
    for key, value in element.attrib.items():
        if key == LINK:
            kept["href"] = value
        elif key == "id":
            # only markers and clips are referred to; their ids are hashes salted with the chart's name
            if re.fullmatch(r"[mp][0-9a-f]{10}", value):
                kept["id"] = value
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        elif key != "style":
            kept[key] = re.sub(r"\s+", " ", re.sub(r"(\.\d\d)\d+", r"\1", value)).strip()
    for key, value in (entry.split(":", 1) for entry in element.get("style", "").split(";") if ":" in entry):
        key, value = key.strip(), value.strip()
        if value in COLOURS:
            classes.append(f"{key}-{COLOURS[value]}")
        elif not key.startswith("font-family"):
            kept[key] = value
    return kept | ({"class": " ".join(classes)} if classes else {})
