"""Which explanations can be believed: what `faithfulness` measured, as a page with curves and tables."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.evaluation import typed
from protolens.files import write_text
from protolens.report.about import head_of, option_words, path_of
from protolens.report.charts import MUTED, TEXT, Chart, set_height, to_svg
from protolens.report.comparison import TITLES
from protolens.report.numbers import SPACE, counted, percent, three, two
from protolens.report.page import render
from protolens.report.scatter import COLOURS
from protolens.train import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "faithfulness.html"
DASHES = {"random": (1, 2), "edges": (4, 2)}  # of the controls, which are grey
STEEP = 0.5  # power of the share along a chart: the first pixels decide, and need room
TICKS = (0.0, 0.05, 0.2, 0.5, 1.0)
WORDS = {
    "salt-and-pepper": "black or white by chance",
    "black": "black",
    "mean": "the image’s mean",
    "blur": "the blurred image",
    "inpaint": "what is around",
}


@dataclass(frozen=True)
class Line:
    """A method in the charts: its name, colour and dashes."""

    name: str
    colour: str
    dashes: tuple[float, ...]

    @property
    def title(self) -> str:
        """As people call it."""
        return TITLES[self.name]

    @property
    def dash_array(self) -> str:
        """For SVG, in pixels."""
        return " ".join(f"{1.5 * dash:g}" for dash in self.dashes)


@dataclass(frozen=True)
class Measure:
    """A column: its key in the file, its head, what it means, which way is better (+1, -1, or 0), how it is written."""

    key: str
    head: str
    about: str
    better: int
    write: Callable[[float], str]


MEASURES = (
    Measure("insertion", "insertion", "mean probability of the class while the highest pixels come first into a "
            "blurred image", 1, percent),
    Measure("deletion", "deletion", "mean probability while the highest pixels go first, to the image’s mean", -1,
            percent),
    Measure("aopc", "AOPC", "mean fall of the probability over the first 20 % of that", 1, two),
    Measure("road", "ROAD", "accuracy without the lowest pixels less that without the highest, inpainted, mean over "
            "shares", 1, two),
    Measure("randomised", "random weights", "rank correlation with the map of the same model with shuffled weights: "
            "a map that stays says nothing of the model; near 0 is good", 0, two),
    Measure("sensitivity", "sensitivity", "largest change of a map, beside its length, for a change of the image by "
            "0.02", -1, two),
    Measure("infidelity", "infidelity", "what a map leaves unexplained of changes by noise; 1 is nothing explained",
            -1, two),
    Measure("in_box", "in the box", "share of images whose highest pixel lies in the object’s box: the pointing game",
            1, percent),
    Measure("at_parts", "at a part", "share of images whose highest pixel lies near a part of the object that is seen",
            1, percent),
    Measure("complexity", "complexity", "entropy of a map in nats: low for few pixels", 0, two),
)  # fmt: skip


def write_faithfulness(run: Run, found: Mapping[str, Any]) -> Path:
    """Write RUN/faithfulness.html from what `faithfulness` found; returns its path."""
    lines = lines_of(list(found["methods"]))
    page = render(
        PAGE,
        **head_of(run),
        answer=answer(found),
        images=counted(found["images"], "test image"),
        closer=counted(found["closer"], "image"),
        accuracy=percent(found["accuracy"]["mean"]),
        kept=whole_percent(found["kept"]),
        lines=lines,
        charts=charts(found, lines),
        fillings=[WORDS[filling] for filling in found["fillings"]],
        left=[(line, left_cells(found, line.name)) for line in lines],
        measures=measures_of(found),
        measured=[(line, measured_cells(found, line.name)) for line in lines],
        bought=found.get("bought"),
        command=command(run, found),
    )
    path = run.folder / PAGE
    write_text(path, page)
    return path


def lines_of(names: Sequence[str]) -> list[Line]:
    """How each method is drawn: the controls grey and broken, the others in colours of their own."""
    colours = iter(COLOURS * (1 + len(names) // len(COLOURS)))
    return [Line(name, MUTED if name in DASHES else next(colours), DASHES.get(name, ())) for name in names]


def charts(found: Mapping[str, Any], lines: Sequence[Line]) -> list[Chart]:
    """Accuracy against the share of pixels that is kept, for each filling; and what is left without the highest."""
    drawn = [
        share_chart(
            f"kept-{filling}",
            f"Accuracy with the highest pixels alone; the others show {WORDS[filling]}",
            found["shares"],
            [(line, found["methods"][line.name]["curves"][filling]) for line in lines],
        )
        for filling in found["fillings"]
    ]
    for key, title in (
        ("without", "Accuracy without the highest pixels, which show what is around"),
        ("removed", "Probability without the highest pixels, which show the image’s mean"),
    ):
        curves = [(line, found["methods"][line.name][key]) for line in lines]
        drawn.append(share_chart(key, title, found["shares"], curves))
    return drawn


def share_chart(
    name: str, title: str, shares: Sequence[float], curves: Sequence[tuple[Line, Sequence[float]]]
) -> Chart:
    """A curve a method over the share of pixels. name: unique on the page."""

    def draw(axes: "Axes") -> None:
        axes.set_xlim(0, 1)
        set_height(axes, 0.0, 1.0, "percent")
        axes.set_xticks([tick**STEEP for tick in TICKS], [f"{100 * tick:g} %" for tick in TICKS])
        axes.set_xlabel("share of the pixels", color=MUTED, fontsize=TEXT, labelpad=4)
        for line, values in curves:
            places = [share**STEEP for share in shares]
            axes.plot(places, values, color=line.colour, linewidth=1.8, dashes=line.dashes or (None, None))

    at = len(shares) // 2
    said = "; ".join(f"{line.title} {percent(values[at])}" for line, values in curves)
    return Chart(title, to_svg(name, draw), f"{title}. At {whole_percent(shares[at])} of the pixels: {said}", ())


def left_cells(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Accuracy with the share that is kept, for each filling."""
    own, cells = found["methods"], []
    for filling in found["fillings"]:
        figure = own[name]["kept"][filling]
        best = max(other["kept"][filling]["mean"] for other in own.values())
        cells.append(cell(figure, figure["mean"] == best, overlapping(found, figure, filling, name), percent))
    return cells


def measures_of(found: Mapping[str, Any]) -> list[Measure]:
    """The columns that there are: boxes and parts are seldom known."""
    first = next(iter(found["methods"].values()))
    return [measure for measure in MEASURES if measure.key in first]


def measured_cells(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The other figures of a method, and its seconds."""
    own, cells = found["methods"], []
    for measure in measures_of(found):
        figure = own[name][measure.key]
        # a control does not look at the model: that it is insensitive and simple is no merit
        values = [
            o[measure.key]["mean"] for n, o in own.items() if n not in DASHES and o[measure.key]["mean"] is not None
        ]
        best = max if measure.better > 0 else min
        is_best = bool(measure.better and values) and figure["mean"] == best(values)
        cells.append(cell(figure, is_best, False, measure.write))
    cells.append({"text": f"{three(own[name]['seconds'])} s", "interval": "", "best": False, "as_chance": False})
    return cells


def cell(figure: Mapping[str, Any], best: bool, as_chance: bool, write: Callable[[float], str]) -> dict[str, Any]:
    """A figure with its interval; best of its column, or not told apart from a control."""
    if figure["mean"] is None:
        return {"text": "–", "interval": "", "best": False, "as_chance": False}
    low, high = figure["interval"]
    return {
        "text": write(figure["mean"]),
        "interval": f"{write(low)} to {write(high)}",
        "best": best,
        "as_chance": as_chance,
    }


def overlapping(found: Mapping[str, Any], figure: Mapping[str, Any], filling: str, name: str) -> bool:
    """Whether a method's interval does not lie above that of both controls."""
    if name in DASHES:
        return False
    controls = [found["methods"][control]["kept"][filling]["interval"] for control in DASHES]
    return figure["interval"][0] <= max(high for _, high in controls)


def answer(found: Mapping[str, Any]) -> str:
    """Which method keeps most of the decisions, by each filling that tells methods from controls."""
    own = {name: figures for name, figures in found["methods"].items() if name not in DASHES}
    if not own:
        return "Only controls were measured: name a method."
    silent = [filling for filling in found["fillings"] if is_silent(found, filling)]
    nothing = " or ".join(WORDS[filling] for filling in silent)
    warning = f"Replaced by {nothing}, no method is told apart from the controls: that test says nothing here."
    if len(silent) == len(found["fillings"]):
        return warning
    firsts: dict[str, list[str]] = defaultdict(list)
    for filling in found["fillings"]:
        if filling not in silent:
            accuracy = {name: float(figures["kept"][filling]["mean"]) for name, figures in own.items()}
            best = [TITLES[name] for name, value in accuracy.items() if value == max(accuracy.values())]
            firsts[" and ".join(best)].append(WORDS[filling])
    kept = whole_percent(found["kept"])
    said = "; ".join(f"{best} where they show {' or '.join(fillings)}" for best, fillings in firsts.items())
    sentence = f"Most decisions are kept with {kept} of the pixels, the others replaced, by {said}."
    return f"{sentence} {warning}" if silent else sentence


def is_silent(found: Mapping[str, Any], filling: str) -> bool:
    """Whether by a filling no method is told apart from the controls, so that the test says nothing."""
    own = found["methods"]
    return all(overlapping(found, own[name]["kept"][filling], filling, name) for name in own if name not in DASHES)


def whole_percent(share: float) -> str:
    """A round share: 20 %."""
    return f"{100 * share:g}{SPACE}%"


def command(run: Run, found: Mapping[str, Any]) -> str:
    """What to type to get the same."""
    asked = found["asked"]
    words = ["protolens evaluate", path_of(run.folder), "--method", ",".join(asked["methods"])]
    words += ["--images", str(asked["images"]), "--seed", str(asked["seed"])]
    words += ["--budget", typed(asked["budget"])] if "budget" in asked else []
    classifier = {"precision": asked["precision"]} if asked["precision"] != "float32" else {}
    return " ".join([*words, *option_words([*asked["options"].values(), classifier])])
