"""The model card of a hub folder: what evaluation.json and run.json say, in words, and what they do not say."""

import importlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from protolens.evaluation.metric import HIGHER, LOWER, NEITHER
from protolens.evaluation.predicates import flat
from protolens.exporting.front_matter import front_matter
from protolens.models import MODELS, model_class
from protolens.report.about import data_section, model_words, shape_words
from protolens.report.compared import GROUPS
from protolens.report.gallery import Prototype
from protolens.report.numbers import count, counted
from protolens.report.parts import part_rows, parts_of
from protolens.report.quality import quality_section, verdict
from protolens.train import Run, is_uneven
from protolens.train.progress import duration

NAMED = 20  # classes that are listed
FEW = 30  # test images of a class below which its figures say little
SHOWN = 3  # prototypes on the card
MARKS = re.compile(r"[\\`*_{}\[\]<>#|~&]")
BETTER = {HIGHER: "higher is better", LOWER: "lower is better", NEITHER: ""}
MORE = {  # what further evaluations leave in a run folder
    "faithfulness.json": ("which explanations can be believed", "--method self,lime,lrp"),
    "robustness.json": ("whether explanations hold when an image changes a little", "--robustness"),
    "uncertainty.json": ("whether it knows when it does not know, and what it says of images of other kinds",
                         "--uncertainty DATA"),
}  # fmt: skip


@dataclass(frozen=True)
class Exhibit:
    """A prototype on the card. file: its picture, below the folder."""

    file: str
    alt: str
    words: str


def card(
    run: Run, published: Run, name: str, folder: str, evaluation: Mapping[str, Any], pictures: Sequence[Exhibit],
    license: str | None,
) -> str:  # fmt: skip
    """The text of README.md.

    run: where further evaluations are looked for; published: the same run without paths of this machine, from which all
    else is told; name: what people call it; folder: the hub folder's name; pictures: at most SHOWN of them.
    """
    facts, prototypes = published.facts, published.prototypes
    data, model = facts["data"], facts["model"]["name"]
    quality = quality_section(evaluation, data, prototypes)
    about, papers, predicates = data_section(published), papers_of(model), predicates_of(evaluation)
    told = {row["name"] for group in predicates for row in group["rows"]}
    claims = [row for row in quality["promises"] if row["name"] not in told]
    text: str = _template().render(
        front=front_matter(name, facts, evaluation, papers, license),
        name=name,
        folder=folder,
        model=model_words(facts, len(prototypes)),
        asked=asked_of(data),
        verdict=verdict(evaluation, data),
        version=facts["made_with"]["protolens"],
        needs=needs(published),
        classes=len(data["classes"]),
        **{key: data[key] for key in ("bands", "height", "width")},
        diagram=diagram_of(model),
        papers=papers,
        decides=decides(published, quality["conciseness"]),
        pictures=pictures,
        files=counted(len(list((published.folder / "prototypes").glob("*.png"))), "file"),
        images=counted(evaluation["images"], "test image"),
        scores=quality["scores"],
        before=quality["before"],
        claims=[*claims, *quality["fidelity"], *quality["masks"]],
        predicates=predicates,
        data=about["sentence"],
        leaks=f"Do images stand in two splits? {about['leak_sentence']}",
        notes=about["notes"],
        training=trained(published),
        facts=origin(published),
        limits=limits(run, published, folder, evaluation),
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def asked_of(data: Mapping[str, Any]) -> str:
    """What the model is asked, in a sentence. data: as in run.json."""
    names = data["classes"]
    said = ", ".join(names[:NAMED]) + (f" and {count(len(names) - NAMED)} more" if len(names) > NAMED else "")
    which = "which of" if data.get("several") else "which one of"
    return f"It says {which} {counted(len(names), 'class')} an image of {shape_words(data)}, shows: {said}."


def needs(run: Run) -> str:
    """Which packages opening it needs beyond protolens itself."""
    return " It needs `pip install timm`." if '"timm:' in json.dumps(run.facts["settings"]) else ""


def decides(run: Run, conciseness: Sequence[tuple[str, str]]) -> str:
    """How prototypes make a decision, and how many of them do. conciseness: of `quality_section`."""
    name = run.facts["model"]["name"]
    said = "The logit of a class is the sum of what each prototype adds, its similarity by its weight, and a bias."
    if name in MODELS and not model_class(name).linear:
        said = (
            "The logit of a class is the similarity to the nearest of its prototypes, by a temperature; where "
            "prototypes stand at places, the mean over places."
        )
    found = run.facts["model"].get("found", "")
    few = [
        f"In a decision {number} of {counted(len(run.prototypes), 'prototype')} add more than {share} of what the "
        "strongest adds, on average."
        for share, number in conciseness[-1:]
    ]
    return " ".join(filter(None, [said, found, *few]))


def predicates_of(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Transparency and diversity: the questions of `compare`, each with its figures that this run has."""
    known = flat(evaluation.get("predicates", {}))
    groups = []
    for group in GROUPS:
        rows = [
            {"name": each.head, "value": each.write(value), "about": each.about, "beside": BETTER[each.better]}
            for each in group.columns
            if (value := known.get(each.figure)) is not None
        ]
        if rows:
            groups.append({"question": group.question, "rows": rows})
    parts = parts_of(evaluation)
    if parts:
        rows = [
            {
                "name": row["name"],
                "value": row["value"],
                "about": row["about"],
                "beside": f"random places: {row['random']}; the middle: {row['centre']}",
            }
            for row in part_rows(parts)
        ]
        groups.append({"question": "Do its prototypes mean parts?", "rows": rows})
    return groups


def trained(run: Run) -> str:
    """Stages, epochs that were taken, and time."""
    taken = {entry["stage"]: entry for entry in run.facts["chosen"] if entry["score"] is not None}
    stages = []
    for stage in run.facts["stages"]:
        said = f"{stage['name']} ({counted(stage['epochs'], 'epoch')}"
        said += f", the weights of epoch {taken[stage['name']]['epoch']} were taken" if stage["name"] in taken else ""
        stages.append(said + "".join(f", then {step}" for step in stage["then"]) + ")")
    figure = run.config.train.select.replace("_", " ")
    chosen = f" Validation {figure} chose the epoch." if taken else ""
    word = "stage" if len(stages) == 1 else "stages"
    return f"In {len(stages)} {word}: {'; '.join(stages)}.{chosen} All settings stand in config.toml."


def origin(run: Run) -> list[tuple[str, str]]:
    """Where the weights come from, as rows of a table."""
    made, splits = run.facts["made_with"], run.facts["data"]["splits"]
    device = "the CPU" if made["device"] == "cpu" else made["device"]
    processes = made.get("processes", 1)
    on = f"{device}, {counted(processes, 'process')}" if processes > 1 else device
    on += f", processor {made['processor']}" if made.get("processor") else ""
    on += f", {counted(made['threads'], 'thread')}" if made.get("threads") else ""
    versions = ", ".join(f"{name} {made[name]}" for name in ("protolens", "torch", "python") if name in made)
    return [
        ("recipe", recipe(run)),
        ("seed", str(run.config.seed)),
        ("commit", str(made.get("commit", "unknown"))),
        ("versions", versions),
        ("hardware", on),
        ("time", duration(run.facts["seconds"])),
        ("digest of the model", run.digest),
        *((f"digest of the {split} images", facts["digest"]) for split, facts in splits.items()),
    ]


def recipe(run: Run) -> str:
    """What it takes to train the model again. run: without paths of this machine."""
    began = list(weights_of(run.config.model))
    if began:
        return f"config.toml, and the weights that it begins with, which are not in this folder: {', '.join(began)}"
    return "config.toml; `protolens fit config.toml` trains the model again where the data lie"


def weights_of(settings: Mapping[str, Any]) -> Iterator[str]:
    """The files of weights that nested settings name."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from weights_of(value)
        elif key == "weights" and value:
            yield str(value)


def limits(run: Run, published: Run, folder: str, evaluation: Mapping[str, Any]) -> list[str]:
    """What nobody has measured, as sentences."""
    data = published.facts["data"]
    said = [
        f"How it does on other images than those of {data['name']}: other cameras, places, people or years.",
        f"How much of the figures is chance of training: this is one run, of seed {published.config.seed}. The "
        "interval counts other test images alone.",
    ]
    few = [entry["name"] for entry in evaluation["classes"] if entry["images"] < FEW]
    if few:
        names = ", ".join(few[:NAMED]) + (f" and {count(len(few) - NAMED)} more" if len(few) > NAMED else "")
        said.append(f"How well it knows classes with fewer than {FEW} test images: {names}.")
    if is_uneven(data):
        said.append("How it does where classes are as frequent as each other: in its training images they are not.")
    if "fidelity" not in evaluation.get("interpretation", {}):
        said.append("Whether it decides as a black box does: `protolens compare` tells, beside a run of one.")
    for file, (what, words) in MORE.items():
        if run.told(file) is None:
            command = f"protolens evaluate {shlex.quote(folder)} {words}"
            said.append(f"{what[0].upper()}{what[1:]}: not measured; `{command}` would say so.")
    return said


def diagram_of(model: str) -> str:
    """The picture in the text of a model's module: its indented lines."""
    lines = [line for line in _text_of(model).splitlines() if line.startswith("    ")]
    return "\n".join(line.removeprefix("    ") for line in lines)


def papers_of(model: str) -> list[str]:
    """The arXiv numbers that the text of a model's module names."""
    return list(dict.fromkeys(re.findall(r"arXiv:(\d{4}\.\d{4,5})", _text_of(model))))


def _text_of(model: str) -> str:
    return importlib.import_module(model_class(model).__module__).__doc__ or "" if model in MODELS else ""


def exhibited(prototypes: Sequence[Prototype]) -> list[Prototype]:
    """The SHOWN that most training images are like, of different classes first."""
    most = sorted(prototypes, key=lambda each: -each.images)
    first = {each.class_name: each for each in reversed(most)}
    ranked = sorted(most, key=lambda each: first[each.class_name] is not each)
    return ranked[:SHOWN]


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= {"plain": plain, "quoted": repr, "typed": shlex.quote}
    environment.globals["table"] = table
    source = resources.files("protolens.exporting") / "templates/card.md.jinja"
    return environment.from_string(source.read_text(encoding="utf-8"))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Figures with what they mean and what they are held against, as a table of Markdown."""
    lines = ["| figure | value | what it is | beside |", "| --- | ---: | --- | --- |"]
    for row in rows:
        lines.append("| " + " | ".join(plain(row[key]) for key in ("name", "value", "about", "beside")) + " |")
    return "\n".join(lines)


def plain(value: str) -> str:
    """Words as Markdown that shows them as they are, in a line; what stands between backticks stays a command."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"[^\S \u00a0]+", " ", value))
    return "".join(
        part.replace("|", r"\|") if number % 2 else MARKS.sub(r"\\\g<0>", part) for number, part in enumerate(parts)
    )
