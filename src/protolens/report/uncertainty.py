"""Does it know when it does not know? What `uncertainty` measured, as a page with charts, tables and pictures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.evaluation import typed
from protolens.files import write_text
from protolens.report.about import head_of, path_of
from protolens.report.charts import ACCENT, INK, MUTED, RULE, TEXT, Chart, across, set_height, to_svg
from protolens.report.numbers import counted, fixed, percent, three, with_interval
from protolens.report.page import render
from protolens.report.pictures import Album, Picture
from protolens.report.scatter import COLOURS
from protolens.train import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "uncertainty.html"
TEST = "test"
DOUBTS = {
    "entropy": "doubt in all (entropy)",
    "mutual_information": "disagreement between draws (mutual information)",
}
# from which area under the ROC curve on which word
APART = (
    (0.9, "well for"),
    (0.7, "somewhat for"),
    (0.5, "hardly for"),
    (0.0, "the wrong way round, surer of these, for"),
)
SIZE = 84  # of a picture


@dataclass(frozen=True)
class Shown:
    """An image, what it shows, what the model said of it, and with which probability."""

    picture: Picture
    name: str
    label: str | None
    said: str
    probability: str


def write_uncertainty(run: Run, found: Mapping[str, Any]) -> Path:
    """Write RUN/uncertainty.html from what `uncertainty` found; returns its path."""
    page = render(
        PAGE,
        **head_of(run),
        answer=answer(found),
        rule=rule(found),
        bought=found["bought"],
        names=dict(zip(kinds_of(found), colours_of(found), strict=True)),
        cuts=[(name, percent(least)) for name, least in found["least"].items()],
        refused=refused_rows(found),
        refusing=[over_refused(found), over_least(found)],
        sure=sure(found),
        figures=figure_rows(found),
        reliability=reliability(found),
        doubts=[histogram(found, kind) for kind in doubts_of(found)],
        apart=apart(found),
        areas=[
            (name, [area(one["doubt"][kind]) for kind in doubts_of(found)]) for name, one in found["others"].items()
        ],
        kinds=[DOUBTS[kind] for kind in doubts_of(found)],
        explained=explained(found),
        pictures=pictures(run, found),
        size=SIZE,
        draws=found["draws"],
        command=command(run, found),
    )
    path = run.folder / PAGE
    write_text(path, page)
    return path


def kinds_of(found: Mapping[str, Any]) -> list[str]:
    """Kinds of images: its own test images first."""
    return [TEST, *found["others"]]


def colours_of(found: Mapping[str, Any]) -> list[str]:
    """A colour for each kind of images."""
    return [COLOURS[number % len(COLOURS)] for number in range(len(kinds_of(found)))]


def doubts_of(found: Mapping[str, Any]) -> list[str]:
    """Kinds of doubt: draws cannot disagree where there is one."""
    return [kind for kind in DOUBTS if kind == "entropy" or found["draws"] > 1]


def answer(found: Mapping[str, Any]) -> str:
    """What it is worth when it must answer, when it may refuse, and before strangers."""
    own, least = found["refusal"]["chosen"], found["least"]["chosen"]
    forced = f"Forced to answer, it is right for {percent(found['forced']['accuracy'])} of the test images."
    wanted = percent(found["wanted"])
    if least == 0:
        return (
            f"{forced} On validation images {wanted} and more were right without refusing any: it need refuse nothing."
        )
    if own["accuracy"] is None:
        return f"{forced} No probability is high enough for {wanted} right answers: it would have to refuse everything."
    others = ", ".join(
        f"{percent(one['refusal']['chosen']['refused'])} of {name}" for name, one in found["others"].items()
    )
    return (
        f"{forced} When it may refuse, it answers {percent(1 - own['refused'])} and is right for "
        f"{percent(own['accuracy'])} of those; it refuses {others}."
    )


def rule(found: Mapping[str, Any]) -> str:
    """When it answers."""
    draws, least, wanted = found["draws"], found["least"]["chosen"], percent(found["wanted"])
    middle = f"the middle one of {counted(draws, 'draw')} of its weights" if draws > 1 else "its weights are fixed"
    says = f"It answers where the probability of the likeliest class ({middle}) is above a least one."
    published = f"The published one is {percent(found['least']['published'])}, which asks for little"
    chosen = (
        f"the chosen one, {percent(least)}, is the lowest that makes {wanted} of its answers to validation images right"
    )
    cautious = f"the cautious one, {percent(found['least']['cautious'])}, refuses {percent(found['cautious'])} of them"
    own = "No test image and none of the other data had a part in choosing them."
    return f"{says} {published}; {chosen}; {cautious}. {own}"


def refused_rows(found: Mapping[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """Shares refused with each least probability, and of the test images how many of the rest are right."""
    rows = []
    for name in kinds_of(found):
        own = found["refusal"] if name == TEST else found["others"][name]["refusal"]
        cells = []
        for cut in found["least"]:
            refused = with_interval(own[cut]["refused"], own[cut]["refused_interval"], percent)
            right = with_interval(own[cut].get("accuracy"), own[cut].get("accuracy_interval"), percent)
            cells += [refused, right]
        rows.append(("test images" if name == TEST else name, cells))
    return rows


def over_refused(found: Mapping[str, Any]) -> Chart:
    """Accuracy when answering, over the share of test images that is refused."""
    curves = found["curves"]
    points = [
        (refused, right)
        for refused, right in zip(curves["refused"][TEST], curves["accuracy"], strict=True)
        if right is not None
    ]
    cuts = {
        name: (own["refused"], own["accuracy"]) for name, own in found["refusal"].items() if own["accuracy"] is not None
    }
    title = "Right answers, over the share of test images refused"

    def draw(axes: "Axes") -> None:
        widest = max(0.05, *(refused for refused, _ in points))
        set_height(axes, min(right for _, right in points), 1.0, "percent")
        across(axes, widest, "test images refused")
        axes.plot(*zip(*points, strict=True), color=INK, linewidth=2)
        for name, (refused, right) in cuts.items():
            axes.plot([refused], [right], "o", color=colour_of_cut(name), markersize=8, clip_on=False)

    said = "; ".join(
        f"{name}: {percent(right)} right with {percent(refused)} refused" for name, (refused, right) in cuts.items()
    )
    return Chart(title, to_svg("over-refused", draw), f"{title}. {said}", ())


def over_least(found: Mapping[str, Any]) -> Chart:
    """Share refused of each kind of images, over the least probability."""
    curves, title = found["curves"], "Share refused, over the least probability of an answer"

    def draw(axes: "Axes") -> None:
        set_height(axes, 0.0, 1.0, "percent")
        across(axes, 1.0, "least probability")
        for name, least in found["least"].items():
            axes.axvline(least, color=colour_of_cut(name), linewidth=1.5, dashes=(3, 2), clip_on=False)
        for name, colour in zip(kinds_of(found), colours_of(found), strict=True):
            axes.plot(curves["least"], curves["refused"][name], color=colour, linewidth=2)

    at = curves["least"].index(0.5)
    said = "; ".join(f"{name} {percent(curves['refused'][name][at])}" for name in kinds_of(found))
    return Chart(title, to_svg("over-least", draw), f"{title}. Below 50 %: {said}", ())


def colour_of_cut(name: str) -> str:
    """Of a least probability in charts."""
    return MUTED if name == "published" else ACCENT


def reliability(found: Mapping[str, Any]) -> Chart:
    """Share right over mean confidence in each bin, with intervals; on the diagonal both are equal."""
    bins, title = found["forced"]["bins"], "Right answers, over how sure it is"

    def draw(axes: "Axes") -> None:
        set_height(axes, 0.0, 1.0, "percent")
        across(axes, 1.0, "probability of its answer")
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=2)
        for one in bins:
            axes.plot([one["confidence"]] * 2, one["interval"], color=MUTED, linewidth=1.5)
            axes.plot([one["confidence"]], [one["accuracy"]], "o", color=ACCENT, markersize=7, clip_on=False)

    said = "; ".join(f"{percent(one['confidence'])} sure, {percent(one['accuracy'])} right" for one in bins)
    return Chart(title, to_svg("reliability", draw), f"{title}. {said}", ())


def sure(found: Mapping[str, Any]) -> str:
    """Whether probabilities mean what they say, beside a model that is right as often as it says."""
    own = found["forced"]
    images = sum(one["images"] for one in own["bins"])
    says = sum(one["images"] * one["confidence"] for one in own["bins"]) / images
    error, chance = own["calibration_error"], own["calibration_by_chance"]
    off = (
        f"Its probabilities are off by {fixed(100 * error, 2)} points on average (calibration error {fixed(error, 4)})."
    )
    if error <= chance:
        return f"{off} One that is right as often as it says may show {four(chance)} by chance: no fault is seen."
    word = "surer than it is right" if says > own["accuracy"] else "right more often than it is sure"
    return (
        f"{off} One that is right as often as it says shows no more than {fixed(chance, 4)} in 95 of 100 cases. On the "
        f"whole it is {word}: it says {percent(says)}, and {percent(own['accuracy'])} are right."
    )


def figure_rows(found: Mapping[str, Any]) -> list[tuple[str, str, dict[str, str], str]]:
    """Name, meaning, value with interval, and what stands beside it, of the figures when forced."""
    own = found["forced"]
    return [
        ("accuracy", "share of all test images that are recognised",
         with_interval(own["accuracy"], own["interval"], percent), "no image may be refused"),
        ("calibration error", "how far probability and share right are apart, mean over images in 15 bins",
         with_interval(own["calibration_error"], own["calibration_interval"], four),
         f"as sure as right: up to {four(own['calibration_by_chance'])}"),
        ("Brier score", "squared distance of the probabilities from what was true, mean",
         with_interval(own["brier_score"], own["brier_interval"], four), "0 is best, 2 is worst"),
        ("negative log-likelihood", "minus the log of the true class’s probability in nats, mean: sure mistakes cost",
         with_interval(own["negative_log_likelihood"], own["likelihood_interval"], four), "0 is best"),
    ]  # fmt: skip


def four(value: float) -> str:
    """With four decimals."""
    return fixed(value, 4)


def histogram(found: Mapping[str, Any], kind: str) -> Chart:
    """How much of a kind of doubt there is about each kind of images."""
    own, title = found["histograms"][kind], f"Images with so much {DOUBTS[kind]}"
    highest, shares = own["highest"], own["shares"]

    def draw(axes: "Axes") -> None:
        axes.set_xlim(0, highest)
        set_height(axes, 0.0, max(map(max, shares.values())), "percent")
        axes.set_xticks([0, highest / 2, highest], [three(place) for place in (0, highest / 2, highest)])
        axes.set_xlabel("nats", color=MUTED, fontsize=TEXT, labelpad=4)
        for name, colour in zip(kinds_of(found), colours_of(found), strict=True):
            heights = shares[name]
            edges = [highest * place / len(heights) for place in range(len(heights) + 1)]
            axes.plot(edges, [heights[0], *heights], drawstyle="steps", color=colour, linewidth=1.8)

    said = "; ".join(f"{name} {percent(shares[name][0])}" for name in kinds_of(found))
    return Chart(title, to_svg(f"doubt-{kind}", draw), f"{title}. With hardly any: {said}", ())


def apart(found: Mapping[str, Any]) -> str:
    """How well doubt tells strangers from its own images."""
    words: dict[str, list[str]] = defaultdict(list)
    for name, one in found["others"].items():
        value = one["doubt"]["entropy"]["area_under_roc"]
        word = next(word for least, word in APART if value >= least)
        words[word].append(f"{name} ({three(value)})")
    said = "; ".join(f"{word} {' and '.join(names)}" for word, names in words.items())
    return f"By its doubt, one of its own images and one of another kind can be told apart: {said}. 0.5 is guessing."


def area(doubt: Mapping[str, Any]) -> dict[str, str]:
    """An area under the ROC curve with its interval."""
    return with_interval(doubt["area_under_roc"], doubt["area_interval"], three)


def explained(found: Mapping[str, Any]) -> str:
    """How far explanations of the same decision differ between draws."""
    own = found["explanations"]
    if own is None:
        return "Its weights are fixed: it gives one explanation of a decision, and nothing tells how sure that is."
    if own["contributions"] is None:
        return "One draw of the weights was made: two or more would tell how sure explanations are."
    maps = (
        "have one value"
        if own["maps"] is None
        else f"correlate by {fixed(own['maps'], 2)} (1: the same order of pixels)"
    )
    return (
        f"Between {own['draws']} draws of the weights, what prototypes add to a decision differs by "
        f"{percent(own['contributions'])} of all that is added, on {own['images']} test images; LRP’s maps of two "
        f"draws {maps}."
    )


def pictures(run: Run, found: Mapping[str, Any]) -> list[tuple[str, str, list[Shown]]]:
    """Head, what to say where there are none, and the pictures of each kind."""
    album, mend = Album(run.folder), f"`protolens evaluate {path_of(run.folder)} --uncertainty` makes it anew"

    def read(entries: Sequence[Mapping[str, Any]]) -> list[Shown]:
        return [
            Shown(
                album.open(one["picture"], mend), one["image"], one["label"], one["said"], percent(one["probability"])
            )
            for one in entries
        ]

    own = found["pictures"]
    groups = [
        ("Refused: the test images that it is least sure of", "It refuses no test image.", read(own["refused"])),
        ("Wrong and sure: the surest of its wrong answers", "None of its answers is wrong.", read(own["wrong"])),
    ]
    for name, entries in own["others"].items():
        groups.append(
            (f"Answered though it is {name}: the surest answers", f"It answers no image of {name}.", read(entries))
        )
    return groups


def command(run: Run, found: Mapping[str, Any]) -> str:
    """What to type to get the same."""
    others = [name for name in found["others"] if name != "noise"]
    words = [
        "protolens evaluate",
        path_of(run.folder),
        "--uncertainty",
        *others,
        "--draws",
        str(found["forecast"]["wanted"]),
    ]
    words += ["--seed", str(found["seed"])]
    return " ".join([*words, "--budget", typed(found["budget"])] if found["budget"] else words)
