"""What a run was made of: its model and data in words, its settings, and how to make it again."""

import importlib
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from protolens.config import RunConfig, Stage, settings_of, to_mapping, to_toml
from protolens.editing import as_options, edit_from, in_words
from protolens.models import MODELS, model_class, settings_class
from protolens.report.numbers import NONE, count, counted, percent, three
from protolens.train import Run, is_uneven
from protolens.train.progress import duration

BANDS = {1: "grey", 3: "colour"}
LEAKS = 20  # of which the names are shown


def name_of(run: Run) -> str:
    """What people call the run: its folder's name."""
    return run.folder.resolve().name


def head_of(run: Run) -> dict[str, str]:
    """What stands above every page of a run."""
    data, edited = run.facts["data"], run.edited
    model = model_words(run.facts, len(run.prototypes))
    if edited:
        model += " Edited by hand."
    return {"name": name_of(run), "model": model, "shape": shape_words(data), "set": data["name"]}


def edited_sentence(run: Run) -> str:
    """What was edited and what that changed, for a run that was; else nothing."""
    edited = run.edited
    if not edited:
        return ""
    said, found = in_words(map(edit_from, edited["edits"])), edited["consequences"]
    before = " (itself edited)" if edited["history"] else ""
    whole = count(found["after"]["images"])
    changed = f"{count(found['mended'])} decisions were mended and {count(found['broken'])} broken"
    made = f"This is {edited['of']}{before}, but {said}."
    return f"{made} Over {whole} validation images {changed}. {found['sentence']}"


def path_of(folder: Path) -> str:
    """The folder as a person in the working directory would type it."""
    path = folder.resolve()
    below = path.is_relative_to(Path.cwd())
    return shlex.quote(os.fspath(path.relative_to(Path.cwd())) if below and path != Path.cwd() else str(folder))


def option_words(options: Iterable[Mapping[str, Any]]) -> list[str]:
    """What to type for the options of methods; one that differs between methods cannot be typed."""
    given, words = list(options), []
    for name in ("samples", "precision"):
        values = {own[name] for own in given if name in own}
        words += [f"--{name}", str(*values)] if len(values) == 1 else []
    return words


def model_words(facts: Mapping[str, Any], prototypes: int) -> str:
    """The model in a sentence: what its module says of it, and its size."""
    name = facts["model"]["name"]
    what = name
    if name in MODELS:
        module = importlib.import_module(model_class(name).__module__)
        what = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    size = counted(facts["model"]["parameters"], "parameter")
    return f"{what}. {counted(prototypes, 'prototype')}, {size}."


def shape_words(data: Mapping[str, Any]) -> str:
    """Width, height and bands of an image in words."""
    bands = BANDS.get(data["bands"], f"{data['bands']} bands")
    return f"{data['width']} × {data['height']} pixels, {bands}"


def most_common(data: Mapping[str, Any]) -> str:
    """The class with the most training images."""
    images = data["splits"]["training"]["per_class"]
    return str(data["classes"][images.index(max(images))])


def data_section(run: Run) -> dict[str, Any]:
    """What was it trained on?"""
    data = run.facts["data"]
    splits = data["splits"]
    training = splits["training"]["per_class"]
    largest = max(training)
    classes = [
        {
            "name": name,
            "images": [count(split["per_class"][k]) for split in splits.values()],
            "bar": f"{100 * training[k] / largest:.1f}%" if largest else "0%",
            "share": percent(training[k] / max(1, splits["training"]["images"])),
        }
        for k, name in enumerate(data["classes"])
    ]
    return {
        "sentence": _data_sentence(data),
        "splits": [{"name": name, **split, "total": count(split["images"])} for name, split in splits.items()],
        "classes": classes,
        "leaks": [_leak_row(leak) for leak in data["leaks"][:LEAKS]],
        "leak_sentence": leak_sentence(data["leaks"]),
        "notes": data["notes"],
        "uneven": is_uneven(data),
    }


def _data_sentence(data: Mapping[str, Any]) -> str:
    splits, training = data["splits"], data["splits"]["training"]["per_class"]
    low, high = min(training), max(training)
    if is_uneven(data):
        rarest = data["classes"][training.index(low)]
        times = f"{three(high / low)} times the {count(low)} of {rarest}" if low else f"{rarest} has none"
        balance = f"the classes are uneven: {most_common(data)} has {count(high)}, {times}"
    else:
        each = count(low) if low == high else f"{count(low)} to {count(high)}"
        balance = f"the classes are even, {each} training images each"
    if data.get("several"):
        shown = three(sum(training) / splits["training"]["images"])
        balance += f"; an image shows {shown} classes on average"
    kept = f"{count(splits['validation']['images'])} were kept aside to choose the epoch"
    test = f"{count(splits['test']['images'])} for the test"
    seen = counted(splits["training"]["images"], "image")
    return f"On {seen} of {data['name']} in {counted(len(data['classes']), 'class')}; {kept} and {test}; {balance}."


def leak_sentence(leaks: Sequence[Mapping[str, Any]]) -> str:
    """Whether an image stood in two splits, and what was done."""
    if not leaks:
        return "No: every image was compared with all others, and no two splits share one."
    done = Counter(leak["action"] for leak in leaks)
    said = ", ".join(f"{count(number)} {action}" for action, number in sorted(done.items()))
    shown = f"; the first {LEAKS} stand below, all in run.json" if len(leaks) > LEAKS else ""
    nouns = {"pixels": "picture", "group": "group"}
    kinds = " and ".join(
        counted(len({leak["key"] for leak in leaks if leak["why"] == why}), noun)
        for why, noun in nouns.items()
        if any(leak["why"] == why for leak in leaks)
    )
    return f"Yes: {counted(len(leaks), 'pair')} of images with {kinds} in common, {said}{shown}."


def _leak_row(leak: Mapping[str, Any]) -> dict[str, str]:
    return {
        "first": f"{leak['first']} in {leak['first_split']}",
        "second": f"{leak['second']} in {leak['second_split']}",
        "why": "equal pixels" if leak["why"] == "pixels" else f"{leak['why']} {leak['key']}",
        "done": f"dropped from {leak['first_split']}" if leak["action"] == "dropped" else leak["action"],
    }


def settings_rows(run: Run) -> list[dict[str, str]]:
    """Every setting that decides the run, with what it means."""
    meaning = _meanings(run.config)
    rows = []
    for name, value in _flat(without_place(run.config)):
        parts = name.split(".")
        known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        help = next((meaning[place] for place in known if place in meaning), "")
        rows.append({"name": name, "value": _value(value), "help": help})
    return rows


def _meanings(config: RunConfig) -> dict[str, str]:
    meaning = {name: help for name, _, _, help in settings_of(RunConfig, "")}
    for stage in config.stages:
        meaning |= {name: help for name, _, _, help in settings_of(Stage, f"stages.{stage}")}
    if config.model.get("name") in MODELS:
        meaning |= {name: help for name, _, _, help in settings_of(settings_class(config.model["name"]), "model")}
    return meaning


def without_place(config: RunConfig) -> dict[str, Any]:
    """The settings as tables, without where the images lie on this machine: that is nobody else's business."""
    tables = to_mapping(config)
    tables["data"].pop("root", None)
    return tables


def _flat(tables: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, value


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def again_section(run: Run) -> dict[str, Any]:
    """How can I make it again?"""
    made, folder = run.facts["made_with"], path_of(run.folder)
    origin = f", from the run {run.edited['of']}, which was trained" if run.edited else ""
    facts = [("edited from", f"{run.edited['of']}, model {run.edited['model']}")] if run.edited else []
    versions = ", ".join(f"{name} {made[name]}" for name in ("protolens", "torch", "python") if name in made)
    threads, processes = made.get("threads"), made.get("processes", 1)
    device = {"cpu": "the CPU"}.get(made.get("device", NONE), made.get("device", NONE))
    where = f"{device} with {counted(threads, 'thread')}" if threads else device
    if processes > 1:
        where += f", {counted(processes, 'process')}"
    return {
        "sentence": f"With the two commands below{origin}; it took {duration(run.facts['seconds'])} on {where}.",
        "commands": [making(run), f"protolens evaluate {folder}-again"],
        "toml": to_toml(without_place(run.config)),
        "facts": [
            ("made with", versions),
            ("on", where),
            *facts,
            ("model", run.digest),
            *((f"{name} images", split["digest"]) for name, split in run.facts["data"]["splits"].items()),
        ],
    }


def making(run: Run) -> str:
    """The command that makes the run again beside itself."""
    folder, edited = path_of(run.folder), run.edited
    if not edited:
        return f"protolens fit {folder}/config.toml --out {folder}-again"
    beside = run.folder.resolve().parent / edited["of"]
    origin = path_of(beside) if beside.exists() else shlex.quote(edited["of"])
    words = shlex.join(as_options(map(edit_from, edited["edits"])))
    return f"protolens edit {origin} {words} --out {folder}-again"
