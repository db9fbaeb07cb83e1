"""What a table leaves: NAME.json and NAME.csv for programs, NAME.md and a page of `compare` for people."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from protolens.config import to_mapping
from protolens.errors import ProtolensError, did_you_mean
from protolens.evaluation import compare_some, to_csv
from protolens.evaluation.comparing import over_runs
from protolens.files import as_part_of_a_name, read_json, write_json, write_text
from protolens.report import write_compared
from protolens.report.compared import COLUMNS, column_of
from protolens.tables.markdown import to_markdown
from protolens.tables.plan import Table, flat_goals
from protolens.tables.rows import find, make_row

Entry = Mapping[str, Any]


def write_table(table: Table, entries: Sequence[Entry], file: Path, out: Path) -> dict[str, Any]:
    """Write all files of a table from the runs that are done; returns what NAME.json holds.

    Raises ProtolensError for a figure that is asked for and that none of the runs has.
    """
    goals = {label: flat_goals(own) for label, own in table.goals.items()}
    wanted = list(dict.fromkeys([*table.figures, *(name for own in goals.values() for name in own)]))
    by_images: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry["state"] == "done":
            by_images[entry["images"]].append(entry)
    found = [compared(own, wanted) for own in by_images.values()]
    refuse_unknown_figures(found, wanted, file)
    rows = [row for each in found for row in rows_of(each, entries, table.figures, goals)]
    told = f"protolens table {place_of(file)}"
    content: dict[str, Any] = {"title": table.title, "made_by": told, "settings": to_mapping(table)}
    content |= {"rows": rows, "comparisons": found, "cells": list(entries)}
    lines = [line for each in found for line in to_csv(each).splitlines(keepends=True)[1:]]
    write_text(out / f"{file.stem}.csv", to_csv({"kinds": []}) + "".join(lines))
    pages = write_pages(content, out, file.stem)
    write_text(out / f"{file.stem}.md", to_markdown(content, table.figures, pages))
    write_json(out / f"{file.stem}.json", content)  # the last: with it the others are written
    return content


def write_pages(content: Mapping[str, Any], out: Path, stem: str) -> list[str]:
    """Write the page of `compare` for each set of images in what NAME.json holds; returns their file names."""
    found, figures, pages = content["comparisons"], content["settings"]["figures"], list[str]()
    for number, each in enumerate(found):
        name = stem if len(found) == 1 else f"{stem}-{as_part_of_a_name(each['data'])}"
        if f"{name}.html" in pages:  # the same set, split or sized in another way
            name += f"-{number}"
        pages.append(write_compared(each, out, name, content["title"], figures, content["made_by"]).name)
    return pages


def compared(entries: Sequence[Entry], wanted: Sequence[str]) -> dict[str, Any]:
    """What `compare` finds of these runs, with the figures of evaluation.json that are wanted beside its own."""
    names = {Path(entry["run"]).resolve(): entry["run"] for entry in entries}
    found = compare_some([Path(entry["run"]) for entry in entries])
    for kind in found["kinds"]:
        contents = [read_json(Path(run) / "evaluation.json") for run in kind["runs"]]
        kind["runs"] = [names[Path(run).resolve()] for run in kind["runs"]]
        for name in wanted:
            values = [figure_in(content, name) for content in contents]
            if name not in kind["figures"] and values != [None] * len(values):
                kind["figures"][name] = over_runs(values)
    return found


def figure_in(content: Mapping[str, Any], name: str) -> float | None:
    """A figure of an evaluation by its dotted name; None where there is none."""
    with suppress(KeyError, TypeError, ValueError):
        return find(content, name)
    return None


def refuse_unknown_figures(found: Sequence[Mapping[str, Any]], wanted: Sequence[str], file: Path) -> None:
    """Raise ProtolensError for a figure that neither the page of `compare` nor any of these runs knows."""
    if not found:
        return
    known = COLUMNS.keys() | {name for each in found for kind in each["kinds"] for name in kind["figures"]}
    for name in wanted:
        if name not in known:
            raise ProtolensError(f"{file.name}: {name} is no figure of these runs{did_you_mean(name, known)}")


def rows_of(
    found: Mapping[str, Any],
    entries: Sequence[Entry],
    figures: Sequence[str],
    goals: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    """The rows of one set of images as docs/results keeps them: the figures that are shown, and those with a goal."""
    shown = figures or list(COLUMNS)
    of_run = {entry["run"]: entry for entry in entries}
    rows = []
    for kind in found["kinds"]:
        own = [of_run[run] for run in kind["runs"]]
        label = own[0]["recipe"]
        made = [{"seconds": entry["seconds"]["training"], "commit": entry["commit"]} for entry in own]
        aims = goals.get(label, {})
        for name in dict.fromkeys([*shown, *aims]):
            if name in kind["figures"]:
                values, better = kind["figures"][name]["values"], column_of(name).better or 1
                place = (label, own[0]["data"], kind["seeds"], name)
                rows.append(make_row(*place, values, made, aims.get(name), better))
    return rows


def place_of(path: Path) -> str:
    """A path as it is below the working directory, if it is there, so that tables name no one's home."""
    whole, here = path.resolve(), Path.cwd()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else path.as_posix()
