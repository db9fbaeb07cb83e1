"""What a run has learnt: its prototypes by class, what they are used for, and what is odd about them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from protolens.evaluation.illnesses import PURE
from protolens.report.numbers import count, counted, fixed, percent, signed, three
from protolens.report.patches import Patch, read_patch
from protolens.report.pictures import Album, Picture
from protolens.report.several import shows
from protolens.train import Run

WEIGHT = 2  # decimals of a weight
LEVELS = 4  # of shade for each sign of a weight
MEND = "the run folder is damaged, make the run again with `protolens fit`"


@dataclass(frozen=True)
class Prototype:
    """A prototype as the report shows it."""

    number: int
    class_name: str
    images: int  # training images to which it is the most similar one
    nearest: Picture
    decoded: Picture | None
    nearest_words: str  # the training image that stands for it
    use: str
    findings: tuple[str, ...]
    patch: Patch | None = None  # where it stands in the nearest image, for prototypes at places
    maximised: Picture | None = None  # what raises its similarity, drawn by activation maximisation

    @property
    def picture(self) -> Picture:
        """What it looks like: its decoded picture, or the training image nearest to it."""
        return self.decoded or self.nearest

    @property
    def alt(self) -> str:
        """What its picture shows, for those who do not see it."""
        if self.decoded:
            return f"prototype {self.number}, which speaks for {self.class_name}, decoded to a picture"
        if self.patch:
            return f"a training image in which a box marks prototype {self.number}, which speaks for {self.class_name}"
        return f"the training image nearest to prototype {self.number}, which speaks for {self.class_name}"


def read_prototypes(run: Run, album: Album, maximised: Sequence[str] | None = None) -> list[Prototype]:
    """The prototypes of a run with their pictures. Raises ProtolensError where a picture is missing.

    maximised: files of the pictures that `evaluate` drew, one a prototype.
    """
    total = sum(map(images_of, run.prototypes))
    twins, reach = _same_nearest(run.prototypes), used_reach(run.prototypes)
    shares = shares_of_several(run.facts["data"])
    found = [_read(entry, album, total, twins[entry["prototype"]], reach, shares) for entry in run.prototypes]
    if not maximised:
        return found
    return [replace(each, maximised=album.open(name, MEND)) for each, name in zip(found, maximised, strict=True)]


def images_of(entry: Mapping[str, Any]) -> int:
    """How many training images use a prototype; runs of protolens 0.1.0 tell it by class alone."""
    return int(entry["images"] if "images" in entry else sum(entry["uses"]))


def is_unused(entry: Mapping[str, Any]) -> bool:
    """Whether no training image uses a prototype; one may be used by images that show no class."""
    return entry["most_used_by"] is None and not entry.get("images")


def shares_of_several(data: Mapping[str, Any]) -> dict[str, float] | None:
    """The share of training images that show a class, where an image can show several. data: as in run.json."""
    training = data["splits"]["training"]
    if not data.get("several"):
        return None
    return {name: n / training["images"] for name, n in zip(data["classes"], training["per_class"], strict=True)}


def _read(
    entry: Mapping[str, Any],
    album: Album,
    total: int,
    twins: list[int],
    reach: float | None,
    shares: Mapping[str, float] | None,
) -> Prototype:
    origin, images = entry["provenance"], images_of(entry)
    use = "used by no training image"
    if images:
        use = f"used by {counted(images, 'training image')} ({percent(images / total)}), "
        most = entry["most_used_by"] or "no class"
        use += f"{percent(entry['purity'])} of them {'show ' if shares and entry['most_used_by'] else ''}{most}"
    decoded = album.open(entry["decoded"], MEND) if entry["decoded"] else None
    nearest = album.open(entry["image"], MEND)
    return Prototype(
        number=entry["prototype"],
        class_name=entry["class"],
        images=images,
        nearest=nearest,
        decoded=decoded,
        nearest_words=f"{short_name(origin['name'])} ({origin['label']})" if origin else "of unknown name",
        use=use,
        findings=tuple(findings(entry, twins, decoded is not None and decoded.blank, reach, shares)),
        patch=read_patch(origin, nearest),
    )


def short_name(name: str) -> str:
    """A file by its last name, its folder being its class; "train/31204" stays whole."""
    path = PurePosixPath(name)
    return path.name if path.suffix else name


def findings(
    entry: Mapping[str, Any],
    twins: Sequence[int] = (),
    blank: bool = False,
    reach: float | None = None,
    shares: Mapping[str, float] | None = None,
) -> list[str]:
    """What is odd about a prototype, as words.

    twins: prototypes with the same nearest training image, or patch; blank: whether its decoded picture shows nothing;
    reach: the largest distance from a used prototype to its nearest code; shares: of `shares_of_several`.
    """
    own, origin, user = entry["class"], entry["provenance"], entry["most_used_by"]
    said = []
    if is_unused(entry):
        said.append("never used: every training image is more like another prototype")
        if has_left(entry, reach):
            distances = f"{three(entry['nearest_distance'])}, that of a used prototype at most {three(reach)}"
            said.append(f"left the data (out of distribution): its distance to the nearest code is {distances}")
    elif shares:
        said += _seldom_own(entry, shares)
    else:
        if user != own:
            said.append(f"stands for {own} by its weight but is used most by {user}")
        if entry["purity"] < PURE:
            said.append(f"mixed: only {percent(entry['purity'])} of its images are of one class")
    if origin and not shows(origin["label"], own, bool(shares)):
        said.append(f"looks like {origin['label']} (nearest training image) but speaks for {own}")
    if blank:
        said.append("its decoded picture is blank: the decoder has learnt nothing about it")
    if twins:
        same = "patch" if origin.get("place") else "nearest training image"
        said.append(f"its {same} is also that of {_listed(twins)}")
    return said


def _seldom_own(entry: Mapping[str, Any], shares: Mapping[str, float]) -> list[str]:
    """Whether the images that use a prototype show its class less often than all images do."""
    own = entry["class"]
    share = entry["uses"][list(shares).index(own)] / images_of(entry)
    if share >= shares[own]:
        return []
    return [f"stands for {own}, which {percent(share)} of its images show, and {percent(shares[own])} of all images"]


def used_reach(entries: Sequence[Mapping[str, Any]]) -> float | None:
    """The largest distance from a used prototype to its nearest code; None where no distance is known."""
    known = [entry["nearest_distance"] for entry in entries if not is_unused(entry)
             and entry.get("nearest_distance") is not None]  # fmt: skip
    return max(known, default=None)


def has_left(entry: Mapping[str, Any], reach: float | None) -> bool:
    """Whether a prototype is unused, and farther from every code than any used one is from its nearest."""
    distance = entry.get("nearest_distance")
    return is_unused(entry) and reach is not None and distance is not None and distance > reach


def _listed(numbers: Sequence[int]) -> str:
    words = [str(number) for number in numbers]
    if len(words) == 1:
        return f"prototype {words[0]}"
    return f"prototypes {', '.join(words[:-1])} and {words[-1]}"


def _same_nearest(entries: Sequence[Mapping[str, Any]]) -> dict[int, list[int]]:
    """For each prototype, the others that have the same nearest training image, and place in it where they have one."""
    place = {
        entry["prototype"]: origin and (origin["split"], origin["index"], origin.get("place"))
        for entry in entries
        for origin in [entry["provenance"]]
    }
    return {
        number: [other for other, there in place.items() if there == here and here and other != number]
        for number, here in place.items()
    }


def gallery_section(
    run: Run, prototypes: Sequence[Prototype], relevance: Sequence[Sequence[float]] | None = None
) -> dict[str, Any]:
    """What has it learnt? relevance: of each prototype to the images predicted as each class, [K][P], if known."""
    classes = run.facts["data"]["classes"]
    groups = [
        {"name": name, "prototypes": [prototype for prototype in prototypes if prototype.class_name == name]}
        for name in classes
    ]
    silent = [group["name"] for group in groups if not group["prototypes"]]
    reach = used_reach(run.prototypes)
    columns = zip(*relevance, strict=True) if relevance else ()
    relevant = [{**entry, "weights": column} for entry, column in zip(run.prototypes, columns, strict=False)]
    return {
        "sentence": _sentence(prototypes, silent, sum(has_left(entry, reach) for entry in run.prototypes)),
        "groups": [group for group in groups if group["prototypes"]],
        "silent": silent,
        "decoded": any(prototype.decoded for prototype in prototypes),
        "placed": any(prototype.patch for prototype in prototypes),
        "weights": weight_rows(run.prototypes, classes),
        "shades": weight_shades(run.prototypes),
        "relevance": weight_rows(relevant, classes),
        "relevance_shades": weight_shades(relevant),
        "classes": classes,
    }


def _sentence(prototypes: Sequence[Prototype], silent: Sequence[str], left: int) -> str:
    unused = sum(prototype.images == 0 for prototype in prototypes)
    odd = sum(bool(prototype.findings) for prototype in prototypes)
    per_class = Counter(prototype.class_name for prototype in prototypes)
    use = f"{count(unused)} of them never used" if unused else "every one of them used"
    if left:
        use += f", {count(left)} of these out of distribution"
    said = [f"{counted(len(prototypes), 'prototype')} for {counted(len(per_class), 'class')}, {use}"]
    if silent:
        said.append(f"no prototype speaks for {_some(silent)}")
    flagged = f"something is odd about {count(odd)}: read the lines marked with a flag"
    said.append(flagged if odd else "nothing is odd at first sight: the verb doctor looks closer")
    return "; ".join(said) + "."


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {count(len(names) - most)} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def largest_weight(entries: Sequence[Mapping[str, Any]]) -> float:
    """The largest weight in size; 1 where all are 0."""
    return max((abs(weight) for entry in entries for weight in entry["weights"]), default=0.0) or 1.0


def weight_rows(entries: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a prototype: what a unit of similarity to it adds to each class; its strongest class is marked."""
    largest = largest_weight(entries)
    rows = []
    for entry in entries:
        cells = [
            {"text": fixed(weight, WEIGHT), "shade": weight_shade(weight / largest), "own": name == entry["class"]}
            for name, weight in zip(classes, entry["weights"], strict=True)
        ]
        rows.append({"number": entry["prototype"], "class_name": entry["class"], "cells": cells})
    return rows


def weight_shade(share: float) -> str:
    """The class of a cell: how strongly it speaks "for" or "against", empty near 0. share: of the largest weight."""
    level = min(LEVELS, int((LEVELS + 1) * abs(share)))
    return f"{'for' if share > 0 else 'against'}-{level}" if level else ""


def weight_shades(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The shades and the smallest weight of each, from the strongest against to the strongest for."""
    step = largest_weight(entries) / (LEVELS + 1)
    levels = [*range(-LEVELS, 0), *range(1, LEVELS + 1)]
    return [(f"{'for' if level > 0 else 'against'}-{abs(level)}", signed(level * step, WEIGHT)) for level in levels]
