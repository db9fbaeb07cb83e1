"""Whether prototypes mean parts, where the parts of what images show are known: evaluation.json["parts"]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protolens.report.gallery import short_name
from protolens.report.numbers import count, counted, percent
from protolens.report.pictures import Album, Box, Picture

ENDS = ("Most consistent", "Least consistent")


@dataclass(frozen=True)
class Looked:
    """A test image, and where in it a prototype looks."""

    picture: Picture
    box: Box | None  # None where it looks nowhere
    words: str


def parts_of(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an evaluation says of parts; None where none are known, and in evaluations by earlier versions."""
    found = evaluation.get("parts")
    return found if found and "figures" in found else None


def part_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures, each with what it means and what the controls reach. found: of `parts_of`."""
    least, nearest = percent(found["least"]), count(found["nearest"])
    rows = [
        ("consistency", "part consistency",
         f"share of prototypes that have a part in their region in {least} of the images of their class that show it"),
        ("stability", "part stability",
         "share of the images of a prototype’s class in which weak noise changes no part in its region"),
        ("purity", "part purity",
         f"of the {nearest} images most similar to a prototype, the share whose patch holds its best part"),
    ]  # fmt: skip
    return [
        {
            "id": name.replace(" ", "-"),
            "name": name,
            "about": about,
            "value": percent(found["figures"][key]),
            **{control: percent(found["controls"][control][key]) for control in ("random", "centre")},
        }
        for key, name, about in rows
    ]


def part_sentence(found: Mapping[str, Any]) -> str:
    """The verdict: how many prototypes mean a part, beside looking at the middle of every image."""
    own, middle = found["figures"]["consistency"], found["controls"]["centre"]["consistency"]
    if own is None:
        return "No prototype can be asked: no test image of their classes shows a part."
    said = f"{percent(own)} of {counted(found['asked'], 'prototype')} keep to one part; always looking at the middle "
    return f"{said}of the image would let {percent(middle)} of them do so."


def meaning_sentences(found: Mapping[str, Any]) -> list[str]:
    """What the most and the least consistent prototype mean."""
    numbers = [entry["prototype"] for entry in found["shown"]]
    return [f"{end}: prototype {number} {meaning(found, number)}" for end, number in zip(ENDS, numbers, strict=False)]


def meaning(found: Mapping[str, Any], prototype: int) -> str:
    """What a prototype means, as the end of a sentence."""
    own = found["meanings"][prototype]
    part, share = own["part"], percent(own["share"])
    images = f"{counted(own['images'], 'test image')} of its class that show it"
    if not own["share"]:
        return "means no part: none is in its region in any test image of its class."
    if own["share"] < found["least"]:
        return f"means no part; the {part}, which it meets most often, is in its region in {share} of the {images}."
    return f"means the {part}, in {share} of the {images}."


def parts_section(evaluation: Mapping[str, Any], album: Album, mend: str) -> dict[str, Any] | None:
    """Do its prototypes mean parts? mend: what to do where a picture is missing."""
    found = parts_of(evaluation)
    if not found:
        return None
    return {
        "sentence": part_sentence(found),
        "rows": part_rows(found),
        "region": percent(found["region"]),
        "patch": percent(found["patch"]),
        "prototypes": [
            {
                "end": end,
                "number": entry["prototype"],
                "means": meaning(found, entry["prototype"]),
                "images": looked(entry["images"], album, mend),
            }
            for end, entry in zip(ENDS, found["shown"], strict=False)
        ],
    }


def looked(images: Sequence[Mapping[str, Any]], album: Album, mend: str) -> list[Looked]:
    """The pictures of test images with the region in each."""
    found = []
    for entry in images:
        box = entry["box"] and (entry["box"][0], entry["box"][1], entry["box"][2], entry["box"][3])
        found.append(Looked(album.open(entry["picture"], mend), box, short_name(entry["image"])))
    return found
