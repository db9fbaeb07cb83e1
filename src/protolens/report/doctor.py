"""What a doctor found: sick prototypes by illness, each with its picture, what is wrong, and what can be done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from protolens.evaluation.findings import below_one
from protolens.files import write_text
from protolens.report.about import head_of, path_of
from protolens.report.gallery import MEND, Prototype, read_prototypes
from protolens.report.numbers import count, counted, percent, three
from protolens.report.page import render
from protolens.report.patches import to_box
from protolens.report.pictures import Album, Box, Picture
from protolens.train import Run

PAGE = "doctor.html"
# by the first word of what is measured
WRITERS: Mapping[str, Callable[[float], str]] = {
    "share": percent,
    "distance,": percent,
    "correlation": below_one,
    "images": lambda number: count(round(number)),
}


@dataclass(frozen=True)
class Illness:
    """What is said of a kind of illness. none, one, some: of as many prototypes, behind their number."""

    question: str
    one: str
    some: str
    about: str
    beside: str = ""  # what stands beside a figure
    pictures: str = ""  # what pictures beside a prototype are


ILLNESSES = {
    "duplicate": Illness(
        "Which say the same?", "is a duplicate", "are duplicates",
        "A prototype that lies a hundred times nearer to another than two do usually, or whose similarities "
        "correlate by 0.999 or more with those of another of its class, over all images and over those of the class: "
        "it adds a picture to each explanation, and no reason.",
    ),
    "never-used": Illness(
        "Which are never used?", "is never used", "are never used",
        "A prototype that is the most similar one to no image, but for the one that it was taken from, explains "
        "nothing that people see, and may still decide: a breach of transparency (Gautam et al. 2024). Where "
        "similarities have no common scale, one that adds most to no decision; where every place counts, one that no "
        "place is most like.",
        "decisions to which it adds most",
    ),
    "out-of-distribution": Illness(
        "Which have left the data?", "is out of distribution", "are out of distribution",
        "A prototype that is farther from its nearest code than 999 of 1,000 images are from another one: what it is "
        "decoded to, or its nearest image, need not show what it stands for (Kjaersgaard et al. 2024).",
        "usual for an image, to another one",
    ),
    "class-mixed": Illness(
        "Which stand for several classes?", "is class-mixed", "are class-mixed",
        "A prototype of whose images fewer than 80 % show its class, beyond chance of 1 %; where an image can show "
        "several, fewer than of all images.",
        "all images", "that it wins, of other classes",
    ),
    "wrong-signed": Illness(
        "Which count against their class?", "is wrong-signed", "are wrong-signed",
        "A prototype whose weight to its own class is negative, or smaller than to another, or that images of its "
        "class are less like than others: an explanation that shows it says the opposite of what it seems to say.",
    ),
    "background": Illness(
        "Which look past what is shown?", "looks at background", "look at background",
        "A prototype that is found off what is shown in more than half of the images most like it: farther than half a "
        "window of 72 of 224 pixels (Huang et al. 2023) from its parts, or outside of its box. Where neither is known, "
        "where pixels have no more detail than at the edge of the image: it may stand for a plain part of what is "
        "shown, or for what is missing there, and its picture tells neither.",
        "all places", "most like it, and where",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """An image beside a sick prototype. id: of its picture in the page, which holds it once."""

    id: str
    picture: Picture
    name: str
    label: str
    box: Box | None


@dataclass(frozen=True)
class Case:
    """A sick prototype."""

    prototype: Prototype
    sentence: str
    measured: str
    others: Sequence[Prototype]
    images: Sequence[Beside]


def write_doctor(run: Run, found: Mapping[str, Any], folder: Path) -> Path:
    """Write doctor.html into a folder from what `doctor` found; returns its path."""
    album = Album(run.folder)
    prototypes = read_prototypes(run, album)
    cases = [(finding, case_of(finding, prototypes, album)) for finding in found["findings"]]
    groups = []
    for kind, illness in ILLNESSES.items():
        own = [(finding, case) for finding, case in cases if finding["kind"] == kind]
        if own:
            mend, command = split_mend(own[0][0]["mend"])
            groups.append((kind, illness, [case for _, case in own], mend, command))
    pictured = {each.number: each for _, case in cases for each in (case.prototype, *case.others)}
    page = render(
        PAGE,
        **head_of(run),
        answer=answer(found),
        looked=looked_at(found),
        groups=groups,
        pictured=list(pictured.values()),
        beside=list({each.id: each for _, case in cases for each in case.images}.values()),
        healthy=[illness.question for kind, illness in ILLNESSES.items() if is_healthy(found["kinds"][kind])],
        refused=[
            (illness.question, found["kinds"][kind]["not_asked"])
            for kind, illness in ILLNESSES.items()
            if found["kinds"][kind]["not_asked"]
        ],
        command=command_of(run, folder),
    )
    path = folder / PAGE
    write_text(path, page)
    return path


def is_healthy(kind: Mapping[str, Any]) -> bool:
    """Whether a kind of illness was looked for and not found."""
    return not kind["sick"] and not kind["not_asked"]


def answer(found: Mapping[str, Any]) -> str:
    """How many are sick, and of what."""
    whole, healthy = found["prototypes"], found["healthy"]
    if healthy == whole:
        return f"{'All ' if whole > 1 else 'Its '}{counted(whole, 'prototype')} {'are' if whole > 1 else 'is'} healthy."
    said = [
        f"{counts['sick']:,} {illness.one if counts['sick'] == 1 else illness.some}"
        for kind, illness in ILLNESSES.items()
        for counts in [found["kinds"][kind]]
        if counts["sick"]
    ]
    sick = whole - healthy
    return f"{sick:,} of {counted(whole, 'prototype')} {'is' if sick == 1 else 'are'} sick: {'; '.join(said)}."


def looked_at(found: Mapping[str, Any]) -> str:
    """The images by which prototypes were judged."""
    return " and ".join(counted(number, f"{split} image") for split, number in found["images"].items())


def split_mend(mend: str) -> tuple[str, str]:
    """The sentence of a mend and its command, which stands between backticks; "" where there is none."""
    said, _, command = mend.partition("`")
    return said.strip().rstrip(":"), command.rstrip("`")


def case_of(finding: Mapping[str, Any], prototypes: Sequence[Prototype], album: Album) -> Case:
    """A finding with its pictures."""
    images = [
        Beside(
            PurePosixPath(each["picture"]).stem,
            album.open(each["picture"], MEND),
            each["name"],
            each["label"],
            each["box"] and to_box(each["box"]),
        )
        for each in finding["images"]
    ]
    others = [prototypes[number] for number in finding["others"]]
    return Case(prototypes[finding["prototype"]], finding["sentence"], measured(finding), others, images)


def measured(finding: Mapping[str, Any]) -> str:
    """The figure, where health ends, and what chance would give."""
    figure, threshold = finding["figure"], finding["threshold"]
    write = WRITERS.get(finding["measure"].split()[0], three)
    ends = "at most" if figure > threshold else "at least"
    said = f"{finding['measure']}: {write(figure)}; healthy: {ends} {write(threshold)}"
    beside = ILLNESSES[finding["kind"]].beside
    if finding["beside"] is None or not beside:
        return said
    return f"{said}; {beside}: {write(finding['beside'])}"


def command_of(run: Run, folder: Path) -> str:
    """What to type to get the same."""
    out = "" if folder.resolve() == run.folder.resolve() else f" --out {path_of(folder)}"
    return f"protolens doctor {path_of(run.folder)}{out}"
