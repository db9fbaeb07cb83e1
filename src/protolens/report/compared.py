"""Runs held against each other: which is more accurate, three predicates side by side, diversity as a plane."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, floor, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.evaluation import METRICS, REFUSED_OF
from protolens.evaluation.metric import HIGHER, LOWER, NEITHER
from protolens.files import write_text
from protolens.report.about import path_of
from protolens.report.charts import ACCENT, INK, MUTED, TEXT, Chart, set_height, to_svg
from protolens.report.numbers import SPACE, count, counted, fixed
from protolens.report.page import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

X, Y = "diversity.vendi_score.distance", "diversity.attribute_entropy"


def hundredths(share: float) -> str:
    """A share in percent, two decimals."""
    return f"{fixed(100 * share, 2)}{SPACE}%"


def thousandths(value: float) -> str:
    """A number with three decimals."""
    return fixed(value, 3)


def four(value: float) -> str:
    """A number with four decimals."""
    return fixed(value, 4)


@dataclass(frozen=True)
class Column:
    """A figure. better: HIGHER, LOWER or NEITHER; write: to text."""

    figure: str
    head: str
    about: str
    better: int
    write: Callable[[float], str] = hundredths


@dataclass(frozen=True)
class Group:
    """What belongs to a question."""

    name: str
    question: str
    columns: tuple[Column, ...]
    measured: str = ""  # the figure that tells on how many images, where not on all test images


MANY = 10  # pairs that are all read
LEADER = {"arrowstyle": "-", "color": MUTED, "linewidth": 1, "shrinkA": 0, "shrinkB": 3}  # from a dot to its number
NUMBER_FROM_DOT = (15, 23, 31)  # pixels
DROP = "trust.prototypes.maps.{}.inpaint.average_drop.{}"
# trust too: of `evaluate --beside` and `evaluate --robustness`
OF_GAP = (
    Column("trust.gap.lrp.own", "its own map", "rank correlation of its own map with the black box’s by LRP, for the "
           "class that the black box says; 1 less it is the gap", HIGHER, thousandths),
    Column("trust.gap.lrp.same", "its map by LRP", "the same of its map by LRP", HIGHER, thousandths),
    Column("trust.gap.lrp.edges", "the image’s edges", "the same of edges, which know neither: the control", NEITHER,
           thousandths),
)  # fmt: skip
OF_ROBUSTNESS = (
    Column(DROP.format("prp", "remove_top"), "without its reasons", "share of the similarity to prototypes of its "
           "class that an image loses with the half of its pixels that PRP ranks first, inpainted; more than by chance "
           "is good, but similarities differ, so models cannot be ranked by it", NEITHER),
    Column(DROP.format("random", "remove_top"), "without chance’s", "the same of random pixels: the control", NEITHER),
    Column(DROP.format("prp", "keep_top"), "with them alone", "the same when the other half goes; less than by chance "
           "is good", NEITHER),
    Column(DROP.format("random", "keep_top"), "with chance’s alone", "the same of random pixels: the control", NEITHER),
    Column("trust.noise.gaussian.decision_stays", "stays under noise", "share of decisions that stay under noise of a "
           "standard deviation of 0.05", HIGHER),
    Column("trust.noise.gaussian.nearest_stays", "and its prototype", "of these, share whose most similar prototype "
           "stays", HIGHER),
    Column("trust.noise.gaussian.maps.self.correlation", "and its map", "of these, rank correlation of the model’s own "
           "map before and after", HIGHER, thousandths),
    Column("trust.noise.gaussian.early_failure", "fails early", "share of the images recognised under noise that are "
           "nearer to a prototype of another class", LOWER),
    Column("trust.prototypes_again.both.distance", "found again", "distance of prototypes to their partners when other "
           "codes are clustered from another start, in spreads of a class", LOWER, thousandths),
)  # fmt: skip
GROUPS = (
    Group("right", "How often is it right?", (
        Column("accuracy", "accuracy", "share of the test images that are recognised", HIGHER),
        Column("balanced_accuracy", "balanced accuracy", "mean over classes of the share of each that is recognised",
               HIGHER),
        Column("area_under_roc", "area under ROC", "chance that an image of a class is ranked above one of another",
               HIGHER, thousandths),
        Column("mean_average_precision", "mean average precision", "mean over classes of the area under precision and "
               "recall", HIGHER),
        Column("macro_f1", "macro F1", "mean over classes of F1", HIGHER),
        Column("loss", "loss", "cross-entropy in nats", LOWER, thousandths),
    )),
    Group("doubt", "Does it know when it does not know?", (
        Column("calibration_error", "calibration error", "how far probabilities are from the share that is right, mean "
               "over test images; of a Bayesian network with its weights at their means", LOWER, four),
        Column("brier_score", "Brier score", "squared distance of the probabilities from what was true", LOWER, four),
        Column("uncertainty.accuracy", "right when it answers", "share of the answered test images, where it may "
               "refuse: below the probability that refuses one in ten validation images; as measured by evaluate "
               "--uncertainty", HIGHER),
        Column("uncertainty.refused", "refuses of its own", "share of the test images that it then gives no answer",
               NEITHER),
    )),
    Group("trust", "Does it decide as its black box does?", (
        Column("trust.agreement", "agreement", "share of images that both give the same class", HIGHER),
        Column("trust.accuracy_gap", "accuracy gap", "accuracy of the black box less that of the model", LOWER),
        Column("trust.divergence", "divergence", "Kullback-Leibler divergence from the black box’s probabilities, in "
               "nats; it tells how sure both are more than whether they agree", LOWER, thousandths),
        Column("trust.divergence_as_published", "as published", "the same with a softmax over the similarities of "
               "prototypes, summed by class, as for KMEx", LOWER, thousandths),
        Column("trust.calibrated_divergence", "calibrated", "the same after one temperature, fitted on validation "
               "images", LOWER, thousandths),
        Column("trust.matched_correlation", "stays in re-runs", "rank correlation of prototypes with their partners in "
               "runs of other seeds, over the test images", HIGHER, thousandths),
    )),
    Group("reasons", "Does it decide for the reasons of its black box?", OF_GAP, "trust.gap_images"),
    Group("robustness", "Do its reasons hold?", OF_ROBUSTNESS, "trust.robustness_images"),
    Group("transparency", "Can its decisions be read?", (
        Column("transparency.by_similarity.unused", "never used", "share of prototypes that are the most similar one "
               "to no test image", LOWER),
        Column("transparency.by_contribution.unused", "never decides", "share that adds most to no decision", LOWER),
        Column("transparency.by_similarity.nearest_agreement", "decides by nearest", "share of decisions that are the "
               "class of the most similar prototype", HIGHER),
        Column("transparency.by_similarity.purity", "purity", "share of the most common class among the images that "
               "are most similar to a prototype, mean", HIGHER),
        Column("transparency.by_similarity.entropy_of_use", "even use", "entropy of how images are spread over "
               "prototypes; 1 is even", HIGHER, thousandths),
        Column("transparency.parts.consistency", "part consistency", "share of prototypes that have a part of the "
               "object in their region in 80 % of their class’s images", HIGHER),
        Column("transparency.parts.stability", "part stability", "share of images in which weak noise changes no part "
               "in a prototype’s region", HIGHER),
        Column("transparency.parts.purity", "part purity", "share of a prototype’s nearest images whose patch holds "
               "its best part", HIGHER),
    )),
    Group("diversity", "Do its prototypes differ?", (
        Column(X, "different, by distance", "how many prototypes there effectively are, by their number (Vendi score)",
               HIGHER),
        Column("diversity.vendi_score.cosine", "by direction", "the same by the cosine", HIGHER),
        Column("diversity.volume", "volume", "of the directions of a class’s prototypes; 1: at right angles", HIGHER,
               thousandths),
        Column("diversity.davies_bouldin.own", "Davies-Bouldin", "width of cells beside their distance", LOWER,
               thousandths),
        Column("diversity.coverage", "coverage", "area of a class that its prototypes span, in two principal "
               "components", HIGHER),
        Column("diversity.entropy_of_similarity.own", "entropy of similarity", "as published: 0 where each is like "
               "itself alone; nearly 0 unless prototypes coincide", LOWER, thousandths),
        Column(Y, "different, by attributes", "entropy of attributes such as thickness or hue among the images that "
               "stand for prototypes; 100 % is even", HIGHER),
        Column("diversity.attribute_divergence", "attributes unlike the images’", "divergence from how all images have "
               "them, in nats", LOWER, thousandths),
    )),
)  # fmt: skip
COLUMNS = {column.figure: column for group in GROUPS for column in group.columns}


def write_compared(
    found: Mapping[str, Any],
    folder: Path,
    name: str = "comparison",
    title: str = "comparison",
    figures: Sequence[str] = (),
    made_by: str | None = None,
) -> Path:
    """Write NAME.html from what `compare` found; returns its path.

    figures: dotted names of those that are shown, none for all of GROUPS; made_by: the command that made it, if it was
    another one. NAME.json beside it is the caller's.
    """
    page = render(
        "compared.html",
        name=title,
        file=f"{name}.json",
        data=found["data"],
        images=counted(found["images"], "test image"),
        answer=answer(found),
        verdicts=verdicts(found),
        kinds=[(kind["name"], counted(len(kind["runs"]), "run"), kind["model"]) for kind in found["kinds"]],
        groups=groups_of(found, figures),
        plane=plane(found),
        command=made_by or command(found, folder),
    )
    path = folder / f"{name}.html"
    write_text(path, page)
    return path


def strangers(found: Mapping[str, Any]) -> list[Column]:
    """A column for each other set of images that some kind may have refused."""
    names = dict.fromkeys(name for kind in found["kinds"] for name in kind["figures"] if name.startswith(REFUSED_OF))
    return [
        Column(name, f"refuses of {other}", f"share of images of {other}, which are none of its own", HIGHER)
        for name in names
        for other in [name.removeprefix(REFUSED_OF)]
    ]


def groups_of(found: Mapping[str, Any], figures: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Columns and cells of each question that some kind of run has an answer to.

    figures: dotted names of the columns that are wanted, none for all; what GROUPS does not know stands last.
    """
    kinds = found["kinds"]
    others = tuple(
        column_of(figure) for figure in figures if figure not in COLUMNS and not figure.startswith(REFUSED_OF)
    )
    groups = []
    for group in (*GROUPS, Group("others", "What else was asked for?", others)):
        asked = (*group.columns, *(strangers(found) if group.name == "doubt" else ()))
        wanted = [column for column in asked if not figures or column.figure in figures]
        columns = [column for column in wanted if any(known(kind, column) for kind in kinds)]
        if columns:
            rows = [(kind["name"], [cell(kind, column, kinds) for column in columns]) for kind in kinds]
            own = {"name": group.name, "question": group.question, "columns": columns, "rows": rows}
            groups.append(own | {"measured": measured(group, kinds)})
    return groups


def measured(group: Group, kinds: Sequence[Mapping[str, Any]]) -> str:
    """On how many test images the figures of a group were measured, in words; nothing where on all of them."""
    found = [kind["figures"].get(group.measured, {}).get("values", ()) for kind in kinds]
    numbers = sorted({int(value) for values in found for value in values if value is not None})
    if not numbers:
        return ""
    few = f"{count(numbers[0])} to " if len(numbers) > 1 else ""
    return f"Measured on {few}{counted(numbers[-1], 'test image')} of each run, drawn by a seed."


def column_of(figure: str) -> Column:
    """The column of a figure: that of GROUPS, else one with what the metric of its last name says of itself."""
    if figure in COLUMNS:
        return COLUMNS[figure]
    metric = METRICS.get(figure.rpartition(".")[2])
    if metric is None:
        return Column(figure, figure, "as evaluation.json has it", NEITHER, thousandths)
    about = metric.says[:1].lower() + metric.says[1:].rstrip(".")
    return Column(figure, figure, about, metric.better, hundredths if metric.unit.startswith("share") else thousandths)


def known(kind: Mapping[str, Any], column: Column) -> bool:
    """Whether a kind of run has the figure."""
    return kind["figures"].get(column.figure, {}).get("mean") is not None


def cell(kind: Mapping[str, Any], column: Column, kinds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A mean with its spread, and whether no other kind has a better one."""
    if not known(kind, column):
        return {"text": "–", "spread": "", "best": False}
    own = kind["figures"][column.figure]
    means = [other["figures"][column.figure]["mean"] for other in kinds if known(other, column)]
    best = column.better and len(means) > 1 and own["mean"] == max(means, key=lambda mean: column.better * mean)
    spread = "" if own["spread"] is None else f"± {column.write(own['spread'])}"
    return {"text": column.write(own["mean"]), "spread": spread, "best": bool(best)}


def answer(found: Mapping[str, Any]) -> str:
    """The most accurate kind, and those that cannot be told apart from it."""
    if not found["pairs"]:
        return f"{found['kinds'][0]['name']} stands alone: there is no other kind of run to hold it against."
    first = found["pairs"][0]["better"]
    alike = [pair["worse"] for pair in found["pairs"] if pair["better"] == first and not pair["told_apart"]]
    if len(found["pairs"]) == 1:
        other = found["pairs"][0]["worse"]
        return f"{first} and {other} cannot be told apart." if alike else f"{first} is the more accurate of the two."
    if not alike:
        return f"{first} is the most accurate; every other one is told apart from it."
    apart = [kind["name"] for kind in found["kinds"] if kind["name"] not in (first, *alike)]
    if not apart:
        return f"{first} has the highest accuracy, and none of the others can be told apart from it."
    if len(apart) < len(alike):
        return f"{first} has the highest accuracy; of the others only {', '.join(apart)} can be told apart from it."
    return f"{first} has the highest accuracy; {', '.join(alike)} cannot be told apart from it."


def verdicts(found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """A sentence for each pair: those to read, and the others, none of which is told apart, where there are many."""
    first = found["pairs"][0]["better"] if len(found["pairs"]) > MANY else None
    to_read = [pair for pair in found["pairs"] if first in (None, pair["better"]) or pair["told_apart"]]
    others = [pair for pair in found["pairs"] if pair not in to_read]
    return [pair["sentence"] for pair in to_read], [pair["sentence"] for pair in others]


def of_others(others: Sequence[str]) -> str:
    """What is said, where there is no room for them, of the pairs that `verdicts` gives last."""
    return f"The other {len(others)} pairs cannot be told apart; the page has them."


def plane(found: Mapping[str, Any]) -> Chart | None:
    """Each kind as a dot by its two diversities; None where none has both."""
    dots = [
        (kind["name"], kind["figures"][X]["mean"], kind["figures"][Y]["mean"])
        for kind in found["kinds"]
        if all(kind["figures"].get(axis, {}).get("mean") is not None for axis in (X, Y))
    ]
    if not dots:
        return None

    def draw(axes: "Axes") -> None:
        axes.set_xlim(0, 1)
        set_height(axes, min(0.9, floor(10 * min(y for _, _, y in dots)) / 10), 1.0, "percent")
        axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        axes.set_xlabel("by distance", color=MUTED, fontsize=TEXT, labelpad=4)
        points = [(x, y) for _, x, y in dots]
        axes.plot(*zip(*points, strict=True), "o", color=ACCENT, markersize=7, clip_on=False)
        places = axes.transData.transform(points).tolist()
        for number, (point, shift) in enumerate(zip(points, shifts(places), strict=True), start=1):
            axes.annotate(str(number), point, shift, textcoords="offset points", color=INK, fontsize=TEXT,
                          ha="center", va="center", arrowprops=LEADER)  # fmt: skip

    said = "; ".join(f"{number}: {name}" for number, (name, _, _) in enumerate(dots, start=1))
    return Chart("Different by attributes, over different by distance", to_svg("plane", draw), said, ())


def shifts(dots: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """From each dot to the middle of its number: beside it, and as far from other dots and numbers as it can be.

    dots: places in pixels. One after another takes the direction and distance where the least other thing is in its
    way, the nearest of equal ones.
    """
    turns = [step * pi / 6 for step in range(12)]
    ways = [(far * cos(turn), far * sin(turn)) for far in NUMBER_FROM_DOT for turn in turns]
    taken = [tuple(dot) for dot in dots]
    found = []
    for x, y in dots:
        crowds = [sum(crowd(x + right, y + up, other) for other in taken) for right, up in ways]
        shift = ways[crowds.index(min(crowds))]
        found.append(shift)
        taken.append((x + shift[0], y + shift[1]))
    return found


def crowd(x: float, y: float, other: Sequence[float]) -> float:
    """How much a number of two digits there would be in another thing's way: 0 where they are apart."""
    return max(0.0, 1 - abs(x - other[0]) / (1.5 * TEXT)) * max(0.0, 1 - abs(y - other[1]) / TEXT)


def command(found: Mapping[str, Any], folder: Path) -> str:
    """What to type to get the same."""
    runs = [path_of(Path(run)) for kind in found["kinds"] for run in kind["runs"]]
    return " ".join(["protolens compare", *runs, "--out", path_of(folder)])
