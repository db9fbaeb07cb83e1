"""What a doctor says of each prototype: the illnesses that its figures prove, in plain sentences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from protolens.evaluation.background import MOST
from protolens.evaluation.illnesses import (
    ALIKE,
    COINCIDE,
    ERRORS,
    FEWEST,
    PURE,
    SURE,
    edge_of_data,
    own_and_other_weight,
    relative_distances,
    shared_variation,
    shares_of_own,
    speaks_for_own,
    strongest_stranger,
)
from protolens.evaluation.scores import wilson_interval
from protolens.evaluation.seeing import Seen

NAMED = 3  # other prototypes that a sentence names


@dataclass(frozen=True)
class Patient:
    """A model's prototypes and what was seen of them, on the CPU: N images, P prototypes, K classes."""

    seen: Seen
    wins: Tensor  # [N, P], how much of each image a prototype wins, without the image that it is a code of
    source: Tensor  # [P], number of the image that a prototype is a code of, after projection; -1 for the others
    vectors: Tensor  # [P, D]
    weights: Tensor  # [P, K]
    class_of: Tensor  # [P]
    own: Tensor  # [N, P] of bool, whether an image shows the class of a prototype
    shown: Tensor  # [N, K], the classes that it shows
    classes: tuple[str, ...]
    several: bool  # whether an image can show several classes
    linear: bool  # whether the same weights make the logits of every image
    nearest: Tensor  # [n, P], numbers of the images most similar to each prototype
    ground: Tensor | None  # [n, P] of bool, whether it is found on background there; None where that is not asked
    expected_ground: float | None  # share of all places of these images that are background
    marked: bool  # whether boxes and parts of what is shown are known
    masked: bool  # whether the class of each pixel is known

    def name(self, prototype: int) -> str:
        """The class of a prototype."""
        return self.classes[int(self.class_of[prototype])]


@dataclass(frozen=True)
class Finding:
    """An illness of a prototype. figure: of `measure`; threshold: where health ends; beside: what chance would give."""

    prototype: int
    kind: str
    measure: str
    figure: float
    threshold: float
    sentence: str
    beside: float | None = None
    others: tuple[int, ...] = ()  # prototypes that it is sick with


def find(patient: Patient, refused: Mapping[str, str]) -> list[Finding]:
    """All illnesses of all prototypes, by kind, then by number. refused: kinds that are not asked."""
    return [finding for kind, look in KINDS.items() if kind not in refused for finding in look(patient)]


def reasons_not_to_ask(patient: Patient) -> dict[str, str]:
    """The kinds of illness that make no sense for this model or these images, with the reason."""
    found, seen = {}, patient.seen
    if seen.nearest is None or seen.usual_nearest is None:
        found["out-of-distribution"] = "its prototypes are rows of a linear layer, which need not lie near any code"
    elif len(seen.usual_nearest) < FEWEST:
        found["out-of-distribution"] = "there are too few images to say how far one usually is from the next"
    if not patient.linear:
        found["wrong-signed"] = "each class is spoken for by its most similar prototype alone, and none has weights"
    if seen.grid is None:
        found["background"] = "its prototypes stand for whole images"
    elif seen.places is None:
        found["background"] = "every place of an image counts, and none is where a prototype is found"
    elif patient.masked:
        found["background"] = "every pixel of these images belongs to a class"
    elif not patient.marked and min(seen.grid) < 3:
        found["background"] = f"a map of {seen.grid[0]} x {seen.grid[1]} places has no middle to tell from its edge"
    return found


def duplicates(patient: Patient) -> Iterator[Finding]:
    """Prototypes that coincide, or that say the same of the images of their class."""
    apart = relative_distances(patient.vectors)
    alike = shared_variation(patient.seen.similarity, patient.own, patient.class_of)
    together, same = apart <= COINCIDE, alike >= ALIKE
    for j in (together | same).any(dim=1).nonzero().flatten().tolist():
        others = tuple((together[j] | same[j]).nonzero().flatten().tolist())
        if together[j].any():
            figure, twins = float(apart[j].min()), tuple(together[j].nonzero().flatten().tolist())
            strangers = sorted({patient.name(k) for k in twins} - {patient.name(j)})
            of = f", of {' and '.join(strangers[:NAMED])}" if strangers else ""
            said = f"It coincides with {listed(twins)}{of}: {shares(figure)} of the usual distance of two prototypes."
            measure, least = "distance, by the usual one of two prototypes", COINCIDE
        else:
            figure = float(alike[j].max())
            said = f"It says the same as {listed(others)}: similarities of images correlate by {below_one(figure)}."
            measure, least = "correlation with another of its class", ALIKE
        yield Finding(j, "duplicate", measure, figure, least, said, None, others)


def never_used(patient: Patient) -> Iterator[Finding]:
    """Prototypes that win nothing."""
    seen, images = patient.seen, len(patient.seen.labels)
    leads = seen.leads.sum(dim=0)
    for j in (patient.wins.sum(dim=0) == 0).nonzero().flatten().tolist():
        but = " but the one that it was taken from" if patient.source[j] >= 0 else ""
        said = {
            "similarity": f"Every one of {images:,} images{but} is more like another prototype",
            "places": f"Every place of {images:,} images is more like another prototype",
            "contribution": f"It adds most to the decision about none of {images:,} images",
        }[seen.by]
        if seen.by != "contribution":
            most = round(float(leads[j]))
            said += (
                f", yet it adds most to {most:,} decision{'s' * (most != 1)}"
                if most
                else ", and it adds most to no decision"
            )
        yield Finding(j, "never-used", "images that it wins", 0.0, 1.0, f"{said}.", float(leads[j]))


def strangers(patient: Patient) -> Iterator[Finding]:
    """Prototypes farther from every code than images are from each other."""
    nearest, usual = patient.seen.nearest, patient.seen.usual_nearest
    assert nearest is not None
    assert usual is not None
    edge, middle = edge_of_data(usual), float(usual.median())
    for j in (nearest.double() > edge).nonzero().flatten().tolist():
        far = float(nearest[j])
        times = f", {far / middle:.3g} times as far as an image usually lies from another one" if middle else ""
        said = f"It lies {far:.3g} from the nearest code{times}."
        yield Finding(j, "out-of-distribution", "distance to the nearest code", far, edge, said, middle)


def mixed(patient: Patient) -> Iterator[Finding]:
    """Prototypes that win images of other classes; where an image can show several, fewer of theirs than chance."""
    seen = patient.seen
    share, won = shares_of_own(patient.wins, patient.own), patient.wins.sum(dim=0)
    expected = patient.own.double().mean(dim=0)
    columns = (share, won, expected, *strongest_stranger(patient.wins, patient.shown, patient.class_of))
    for j, row in enumerate(zip(*(each.tolist() for each in columns), strict=True)):
        figure, count, chance, other, theirs = row
        if not count:
            continue
        least = chance if patient.several else PURE
        if wilson_interval(figure * count, count, SURE)[1] >= least:
            continue
        what = "image" if seen.by != "places" else "image’s worth of places"
        many = f"{count:,.0f} {what}{'s' * (round(count) != 1 and seen.by != 'places')}"
        said = (
            f"It stands for {patient.name(j)}, which {shares(figure)} of the {many} that it wins show, "
            f"and {shares(chance)} of all; {shares(theirs)} show {patient.classes[other]}."
        )
        yield Finding(j, "class-mixed", "share of what it wins that shows its class", figure, least, said, chance)


def wrong_signed(patient: Patient) -> Iterator[Finding]:
    """Prototypes that count against their class, or more for another, or that its images are less like than others.

    Of a softmax only differences between a prototype's weights decide; the sign is what people read as for or against.
    """
    weights = own_and_other_weight(patient.weights, patient.class_of)
    more, error = speaks_for_own(patient.seen.similarity, patient.own, weights[0])
    columns = (*weights, more, more + ERRORS * error)
    for j, (own, largest, other, adds, most) in enumerate(zip(*(each.tolist() for each in columns), strict=True)):
        name = patient.name(j)
        if own < 0:
            said = f"Its weight to its own class {name} is {own:.3g}: what is like it counts against {name}."
            yield Finding(j, "wrong-signed", "weight to its own class", own, 0.0, said)
        elif largest > own:
            said = f"Its weight to {patient.classes[other]} is {largest:.3g}, to its own class {name} only {own:.3g}."
            yield Finding(j, "wrong-signed", "weight to its own class", own, largest, said)
        elif most < 0:
            said = f"Images of its class {name} get {-adds:.3g} less from it for {name} than other images do."
            yield Finding(j, "wrong-signed", "what it adds to its class, beyond other images", adds, 0.0, said)


def on_background(patient: Patient) -> Iterator[Finding]:
    """Prototypes that are found off what most of their nearest images show."""
    assert patient.ground is not None
    assert patient.expected_ground is not None
    share = patient.ground.double().mean(dim=0)
    where = "off what is shown" if patient.marked else "where the image is as plain as at its edge"
    for j in (share > MOST).nonzero().flatten().tolist():
        off, count = int(patient.ground[:, j].sum()), len(patient.ground)
        chance = patient.expected_ground
        said = f"In {off} of the {count} images most like it, it is found {where}; {shares(chance)} of all places are."
        yield Finding(
            j, "background", "share of its nearest patches on background", float(share[j]), MOST, said, chance
        )


KINDS: Mapping[str, Callable[[Patient], Iterator[Finding]]] = {
    "duplicate": duplicates,
    "never-used": never_used,
    "out-of-distribution": strangers,
    "class-mixed": mixed,
    "wrong-signed": wrong_signed,
    "background": on_background,
}


def listed(numbers: tuple[int, ...]) -> str:
    """Prototypes by their numbers."""
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    words = ", ".join(map(str, numbers[:NAMED]))
    return f"prototype{'s' * (len(numbers) > 1)} {words}{more}"


def shares(share: float) -> str:
    """A share in percent, three significant digits; 0 and 1 only where they are true."""
    return "under 0.01 %" if 0 < share < 1e-4 else f"{min(100 * share, 99.9 if share < 1 else 100):.3g} %"


def below_one(value: float) -> str:
    """A correlation with four decimals, cut and not rounded to 1."""
    return f"{int(10000 * value + 1e-9) / 10000:.4f}"
