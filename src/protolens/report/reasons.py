"""Why an image was decided so: its reasons as rows of a waterfall that starts at the usual and ends at the logit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protolens.errors import ProtolensError
from protolens.report.gallery import Prototype
from protolens.report.numbers import fixed, percent, places, signed, ticks
from protolens.report.painter import Maps
from protolens.report.patches import to_box
from protolens.report.pictures import Box, Picture

SHOWN = 5  # reasons in sight; the others are folded
EXACT = 4  # decimals of the table that adds up
HIDDEN = ("picture", "reconstruction", "heat_maps", "mask")  # files beside an evaluation, which mean nothing without it
TOLERANCE = 1e-3  # between the sum of the reasons and the logit, as a share of the largest summand
LIKELY = 3  # classes whose probability is told


@dataclass(frozen=True)
class Bar:
    """A step of the waterfall, in per cent of the scale."""

    start: float
    end: float
    speaks: str  # "for" or "against"

    @property
    def low(self) -> str:
        """Its left end."""
        return f"{min(self.start, self.end):.2f}%"

    @property
    def high(self) -> str:
        """Its right end."""
        return f"{max(self.start, self.end):.2f}%"

    @property
    def width(self) -> str:
        """Its length."""
        return f"{abs(self.end - self.start):.2f}%"


@dataclass(frozen=True)
class Row:
    """A reason, or several in one."""

    prototype: Prototype | None
    similarity: str
    usual: str
    weight: str
    contribution: str
    lift: str
    bar: Bar
    nearer: bool = False  # than usual
    box: Box | None = None  # where in the image it is most similar, for prototypes at places
    heat: Picture | None = None  # how similar each place is


@dataclass(frozen=True)
class Why:
    """An explanation as the page shows it."""

    anchor: str
    image: str  # its name
    label: str | None
    predicted: str
    explained: str
    sentence: str
    likely: str
    closest: Prototype
    closest_similarity: str
    picture: Picture
    reconstruction: Picture | None
    alt: str
    rows: tuple[Row, ...]
    folded: tuple[Row, ...]
    more: Row | None
    start: Row
    end: Row
    ticks: tuple[tuple[str, str], ...]  # place and label
    exact: tuple[tuple[int, str, str, str, str], ...]  # prototype, class, similarity, weight, contribution
    exact_bias: str
    exact_sum: str
    exact_logit: str
    facts: Mapping[str, Any]  # the same as data
    several: bool = False  # whether label and prediction can name several classes
    maps: Maps | None = None  # what it sees where, for models that decide place by place

    @property
    def placed(self) -> bool:
        """Whether its prototypes stand at places, here and in the training images."""
        every = [row.prototype for row in (*self.rows, *self.folded) if row.prototype]
        return any(row.box for row in self.rows) and all(prototype.patch for prototype in every)

    @property
    def title(self) -> str:
        """The decision beside the truth, where that is known."""
        if self.label is None:
            return f"taken for {self.predicted}"
        found = "recognised" if self.label == self.predicted else f"taken for {self.predicted}"
        return f"{self.label}{':' if self.several else ','} {found}"


class Scale:
    """Logits to per cent of a bar's width, over all steps of one waterfall."""

    def __init__(self, values: Sequence[float]):
        # a little air, so that no bar touches the edge
        low, high = min(values), max(values)
        air = 0.02 * (high - low) or 0.5
        self.places = ticks(low - air, high + air, 3)
        self.low, self.high = self.places[0], self.places[-1]

    def place(self, value: float) -> float:
        """Where a logit stands."""
        return 100 * (value - self.low) / (self.high - self.low)

    def bar(self, start: float, end: float) -> Bar:
        """A step from one logit to another."""
        return Bar(self.place(start), self.place(end), "for" if end >= start else "against")

    def ticks(self) -> tuple[tuple[str, str], ...]:
        """Place and label of the marks."""
        step = self.places[1] - self.places[0]
        decimals = next(number for number in range(7) if number == 6 or abs(round(step, number) - step) < 1e-9)
        return tuple((f"{self.place(value):.2f}%", fixed(value, decimals)) for value in self.places)


def explain_why(
    entry: Mapping[str, Any],
    prototypes: Sequence[Prototype],
    picture: Picture,
    reconstruction: Picture | None,
    anchor: str,
    command: str,
    heat: Mapping[int, Picture] | None = None,
) -> Why:
    """An explanation, as Explanation.to_dict() gives it, made ready for the page.

    command: makes it again; heat: by prototype, a picture of how similar each place of the image is to it.
    Raises ProtolensError when its reasons do not sum to its logit: the page would show a sum that is none.
    """
    refuse_false_sum(entry)
    reasons = entry["reasons"]
    shown = _shown(reasons)
    levels = [entry["baseline"]]
    for reason in reasons:
        levels.append(levels[-1] + reason["lift"])
    scale = Scale([*levels, entry["logit"]])
    writer = _Writer(entry, prototypes, scale, heat or {})
    rows = [writer.row(reason, *levels[i : i + 2]) for i, reason in enumerate(reasons)]
    return Why(
        anchor=anchor,
        image=entry["image"],
        label=entry["label"],
        predicted=entry["predicted"],
        explained=entry["explained"],
        sentence=entry["sentence"],
        likely=_likely(entry["probabilities"]),
        closest=prototypes[entry["nearest"]],
        closest_similarity=_similarity(entry),
        picture=picture,
        reconstruction=reconstruction,
        alt=f"the image {entry['image']}" + (f", a picture of {entry['label']}" if entry["label"] else ""),
        rows=tuple(rows[:shown]),
        folded=tuple(rows[shown:]),
        more=writer.more(reasons[shown:], levels[shown]) if shown < len(reasons) else None,
        start=writer.start(),
        end=writer.end(),
        ticks=scale.ticks(),
        exact=tuple(_exact(reason) for reason in sorted(reasons, key=lambda reason: reason["prototype"])),
        exact_bias=signed(entry["bias"], EXACT),
        exact_sum=signed(entry["bias"] + sum(reason["contribution"] for reason in reasons), EXACT),
        exact_logit=signed(entry["logit"], EXACT),
        facts={"command": command} | {name: value for name, value in entry.items() if name not in HIDDEN},
        several=entry.get("several", False),
    )


def _shown(reasons: Sequence[Mapping[str, Any]]) -> int:
    """How many reasons are in sight: the strongest, without those that add nothing; a single one is not folded."""
    speaking = sum(abs(reason["lift"]) > 0 for reason in reasons)
    shown = max(1, min(SHOWN, speaking))
    return len(reasons) if len(reasons) <= shown + 1 else shown


def refuse_false_sum(entry: Mapping[str, Any]) -> None:
    """Raise ProtolensError when contributions and bias, or lifts and baseline, do not sum to the logit."""
    for word, first in (("contribution", "bias"), ("lift", "baseline")):
        values = [entry[first], *(reason[word] for reason in entry["reasons"])]
        if abs(sum(values) - entry["logit"]) > TOLERANCE * max(1.0, *map(abs, values)):
            raise ProtolensError(
                f"{entry['image']}: {first} and {word}s sum to {sum(values):.4g} and not to the logit "
                f"{entry['logit']:.4g}; explain it again, these reasons are not those of the model"
            )


class _Writer:
    """Writes the numbers of one explanation with as many decimals each as its column needs."""

    def __init__(
        self, entry: Mapping[str, Any], prototypes: Sequence[Prototype], scale: Scale, heat: Mapping[int, Picture]
    ):
        reasons = entry["reasons"]
        self.entry, self.prototypes, self.scale, self.heat = entry, prototypes, scale, heat
        self.alike = places(reason[word] for reason in reasons for word in ("similarity", "usual"))
        self.weight = places(reason["weight"] for reason in reasons)
        sums = [entry["logit"], entry["baseline"], *(reason["lift"] for reason in reasons)]
        self.sum = places(sums)

    def row(self, reason: Mapping[str, Any], before: float, after: float) -> Row:
        """A reason that takes the sum from one level to the next."""
        return Row(
            self.prototypes[reason["prototype"]],
            fixed(reason["similarity"], self.alike),
            fixed(reason["usual"], self.alike),
            signed(reason["weight"], self.weight),
            signed(reason["contribution"], self.sum),
            signed(reason["lift"], self.sum),
            self.scale.bar(before, after),
            reason["similarity"] >= reason["usual"],
            to_box(reason["box"]) if reason.get("box") else None,
            self.heat.get(reason["prototype"]),
        )

    def more(self, reasons: Sequence[Mapping[str, Any]], before: float) -> Row:
        """All other reasons as one step to the logit."""
        contribution = sum(reason["contribution"] for reason in reasons)
        lift = sum(reason["lift"] for reason in reasons)
        return self._sum(contribution, lift, self.scale.bar(before, before + lift))

    def start(self) -> Row:
        """What the sum begins with: the bias, or the average training image."""
        baseline = self.entry["baseline"]
        return self._sum(self.entry["bias"], baseline, self.scale.bar(baseline, baseline))

    def end(self) -> Row:
        """What it ends with."""
        logit = self.entry["logit"]
        return self._sum(logit, logit, self.scale.bar(logit, logit))

    def _sum(self, contribution: float, lift: float, bar: Bar) -> Row:
        return Row(None, "", "", "", signed(contribution, self.sum), signed(lift, self.sum), bar)


def _likely(probabilities: Mapping[str, float]) -> str:
    first = sorted(probabilities.items(), key=lambda pair: -pair[1])[:LIKELY]
    return ", ".join(f"{name} ({percent(share)})" for name, share in first)


def _similarity(entry: Mapping[str, Any]) -> str:
    """How similar the image is to its closest prototype."""
    value = next(reason["similarity"] for reason in entry["reasons"] if reason["prototype"] == entry["nearest"])
    return fixed(value, places([value]))


def _exact(reason: Mapping[str, Any]) -> tuple[int, str, str, str, str]:
    return (
        reason["prototype"],
        reason["class_name"],
        fixed(reason["similarity"], EXACT),
        signed(reason["weight"], EXACT),
        signed(reason["contribution"], EXACT),
    )
