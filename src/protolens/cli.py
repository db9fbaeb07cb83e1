"""The command line: words to calls. Nothing heavy is imported before a verb needs it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.config import merge
from protolens.errors import ProtolensError, did_you_mean
from protolens.words import dotted_settings, make_parser

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from protolens.evaluation import Evaluation
    from protolens.train import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Errors are one sentence on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return run(words)
    except ProtolensError as error:
        if "--debug" in words:
            raise
        print(f"protolens: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("protolens: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if "--debug" in words:
            raise
        first = (str(error).splitlines() or [""])[0]
        print(f"protolens: unexpected {type(error).__name__} ({first}); --debug shows where", file=sys.stderr)
        return 2


def run(words: list[str]) -> int:
    """Parse the words and call the verb."""
    parser = make_parser()
    plain, settings = dotted_settings(words)
    if plain and not plain[0].startswith("-") and plain[0] not in parser.verbs:
        raise ProtolensError(f"{plain[0]} is not a verb{did_you_mean(plain[0], parser.verbs)}")
    given, rest = parser.parse_known_args(plain)
    if given.verb is None:
        parser.print_help()
        return 0
    if rest:
        options = [word for action in parser.verbs[given.verb]._actions for word in action.option_strings]
        raise ProtolensError(f"{rest[0]} is not an option of {given.verb}{did_you_mean(rest[0], options)}")
    if given.verb == "fit":
        return do_fit(given, settings)
    if given.verb == "convert":
        return do_convert(given, settings)
    if settings:
        raise ProtolensError(f"--{next(iter(settings))}. is a setting: only fit and convert take those")
    return {"demo": do_demo, "evaluate": do_evaluate, "explain": do_explain, "list": do_list}[given.verb](given)


def leads() -> bool:
    """Whether this process is the only one, or of those that torchrun started the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def do_fit(given: argparse.Namespace, settings: dict[str, Any]) -> int:
    """The verb `fit`."""
    from protolens.config import read_run

    data = {"name": given.data, "root": given.data_root, "leakage": given.leakage, "group": given.group}
    named: dict[str, Any] = {
        "data": data | {"skip_unreadable": given.skip_unreadable or None},
        "model": {"name": given.model, "weights": given.weights},
        "train": {"device": given.device},
        "seed": given.seed,
    }
    changes = merge(_given(named), settings)
    config, where = read_run(given.recipe, changes)
    from protolens.report import write_report
    from protolens.train import fit

    if given.epochs is not None:
        config = with_epochs(config, given.epochs, where)
    folder = given.out or Path("runs") / default_name(given.recipe, config)
    run = fit(config, folder, resume=given.resume, where=where)
    if not leads():
        return 0
    write_report(run)
    result, said = {"run": str(folder)}, ""
    if run.facts["chosen"]:  # not where nothing is trained
        chosen = run.facts["chosen"][-1]
        result |= {"stage": chosen["stage"], "epoch": chosen["epoch"], "validation": chosen["score"]}
        select, score = run.config.train.select, chosen["score"]
        score = f"validation {select.replace('_', ' ')} {f'{score:.4f}' if select == 'loss' else _figure(score)}"
        said = f"epoch {chosen['epoch']} was chosen: {score}; "
    _tell(given, result, said + _next(folder))
    return 0


def do_convert(given: argparse.Namespace, settings: dict[str, Any]) -> int:
    """The verb `convert`."""
    from protolens.report import write_report
    from protolens.train import convert, validation_in_words

    to = given.to or "kmex"
    layer: dict[str, Any] = {}
    if given.layer:
        layer = {"layer": " ".join(given.layer)} if to == "kmex" else {"layers": given.layer}
    named = {
        "data": {"name": given.data, "root": given.data_root},
        "model": {"of": {"weights": given.weights}, **layer, "places": given.places}
        | {"per_class": given.per_class, "similarity": given.similarity},
        "train": {"device": given.device},
        "seed": given.seed,
    }
    folder = given.out or converted_name(given.network, given.data, to)
    run = convert(given.network, folder, merge(_given(named), settings), to=to, resume=given.resume)
    if not leads():
        return 0
    write_report(run)
    (step,) = run.facts["followed"]
    found = run.facts["model"]["found"]
    result = {"run": str(folder), "centres": step["centres"], "codes": step["vectors"], "validation": step["after"]}
    score = validation_in_words(step["after"])
    said = f"{found} {step['centres']} prototypes from {step['vectors']:,} codes: {score}; "
    _tell(given, result | {"found": found}, said + _next(folder))
    return 0


def with_epochs(config: Any, epochs: int, where: str) -> Any:
    """The run with so many epochs. Raises ProtolensError for a model of several stages: each has its own number."""
    from dataclasses import replace

    from protolens.models import stage_names

    stages = stage_names(config.model, where)
    if len(stages) > 1:
        names = ", ".join(f"--stages.{name}.epochs" for name in stages)
        raise ProtolensError(f"--epochs: {config.model['name']} has several stages; write {names}")
    return replace(config, stages=merge(config.stages, {stages[0]: {"epochs": epochs}}))


def default_name(recipe: str | None, config: Any) -> str:
    """The folder's name where none is given."""
    if recipe:
        return Path(recipe).stem
    return _plain(f"{config.data.name}-{config.model['name']}")


def converted_name(network: str, data: str | None, to: str) -> Path:
    """The folder of a converted network where none is given: beside its run, if it has one."""
    run = Path(network)
    if run.exists() or ":" not in network:
        return run.parent / f"{run.name}-{to}"
    return Path("runs") / _plain(f"{data or 'digits'}-{network}-{to}")


def _plain(name: str) -> str:
    """Words that may name a file or a network as the name of a folder."""
    return name.replace(":", "-").replace("/", "-").strip("-.")


def do_evaluate(given: argparse.Namespace) -> int:
    """The verb `evaluate`."""
    from protolens.evaluation import evaluate
    from protolens.report import write_report
    from protolens.train import Run

    if given.ensemble:
        return do_evaluate_ensemble(given)
    if len(given.runs) > 1:
        raise ProtolensError("evaluate takes one run; --ensemble lets several decide together")
    run = Run.open(given.runs[0])
    evaluation = evaluate(run, again=given.again, device=given.device)
    if not leads():
        return 0
    report = write_report(run)
    if given.json:
        print(json.dumps({**evaluation.content, "examples": None, "report": str(report)}))
        return 0
    show_evaluation(run, evaluation)
    print(report)
    return 0


def do_evaluate_ensemble(given: argparse.Namespace) -> int:
    """The verb `evaluate` for several runs that decide together."""
    from rich.table import Table

    from protolens.evaluation import evaluate_ensemble

    found = evaluate_ensemble(given.runs, device=given.device)
    if given.json:
        print(json.dumps(found))
        return 0
    main = "accuracy" if "accuracy" in found else "mean_average_precision"
    table = Table("", main.replace("_", " "), "", title=f"{found['images']:,} test images")
    for member in found["members"]:
        table.add_row(member["run"], _figure(member[main]), "alone")
    table.add_row("together", _figure(found[main]), _interval(found[f"{main}_interval"]))
    _console().print(table)
    return 0


def show_evaluation(run: "Run", evaluation: "Evaluation") -> None:
    """The figures of an evaluation as a table."""
    from rich.table import Table

    scores = evaluation.content
    title = f"{run.folder}: {scores['images']:,} test images"
    masks = tables_of_masks(run, scores)
    if "accuracy" not in scores:
        for part in (*tables_of_several(scores, title), *masks):
            _console().print(part)
        return
    table = Table("test split", "value", "", title=title)
    table.add_row("accuracy", _figure(scores["accuracy"]), _interval(scores["accuracy_interval"]))
    table.add_row("balanced accuracy", _figure(scores["balanced_accuracy"]), "mean of the classes' recall")
    area = scores["area_under_roc"]
    table.add_row("area under ROC", "undefined" if area is None else f"{area:.4f}", "0.5 is chance")
    table.add_row("most common class", _figure(scores["always_most_common_class"]), "accuracy of always saying it")
    for part in (table, *masks):
        _console().print(part)


def tables_of_masks(run: "Run", scores: dict[str, Any]) -> "list[Table]":
    """How well maps tell classes apart, where the evaluation says so."""
    from rich.table import Table

    from protolens.report.masks import class_rows, mask_rows, masks_of

    found = masks_of(scores)
    if not found:
        return []
    table = Table("maps beside masks", "value", "", title=f"{found['pixels']:,} test pixels")
    for row in mask_rows(found):
        table.add_row(row["name"], row["value"], row["beside"])
    for row in class_rows(found, run.facts["data"]["classes"]):
        table.add_row(f"IoU of {row['name']}", row["iou"], f"prototypes: {row['prototypes']}")
    return [table]


def tables_of_several(scores: dict[str, Any], title: str) -> "tuple[Table, Table]":
    """The figures, and those of each class, of an evaluation on images that can show several classes."""
    from rich.table import Table

    table = Table("test split", "value", "", title=title)
    interval = _interval(scores["mean_average_precision_interval"])
    table.add_row("mean average precision", _figure(scores["mean_average_precision"]), interval)
    table.add_row("constant score", _figure(scores["constant_score"]), "the same of a model that knows nothing")
    table.add_row("micro F1", _figure(scores["micro_f1"]), "over all classes of all images")
    table.add_row("macro F1", _figure(scores["macro_f1"]), "mean of the classes' F1")
    table.add_row(
        "all classes right", _figure(scores["subset_accuracy"]), _interval(scores["subset_accuracy_interval"])
    )
    columns = ("average_precision", "precision", "recall", "f1")
    classes = Table("class", "images", "average precision", "precision", "recall", "F1")
    for entry in scores["classes"]:
        classes.add_row(entry["name"], f"{entry['images']:,}", *(_figure(entry[column]) for column in columns))
    return table, classes


def do_explain(given: argparse.Namespace) -> int:
    """The verb `explain`."""
    from protolens.data import read_image
    from protolens.data.pictures import to_png
    from protolens.explanation import explain
    from protolens.report import write_explanations
    from protolens.train import Run

    run = Run.open(given.run)
    explanations = explain(run, given.images, given.target)
    task = run.facts["data"]
    size = (task["height"], task["width"])
    pictures = [to_png(read_image(path, task["bands"], size)) for path in given.images]
    page = write_explanations(run, explanations, pictures, given.out or run.folder / "explanations")
    if given.json:
        print(json.dumps([explanation.to_dict() for explanation in explanations]))
        return 0
    for explanation in explanations:
        show_explanation(explanation)
    print(page)
    return 0


def show_explanation(explanation: Any, rows: int = 5) -> None:
    """An explanation as a table whose last column sums to the logit."""
    from rich.table import Table

    title = f"{explanation.image}: {explanation.sentence}"
    table = Table("prototype", "class", "similarity", "usual", "weight", "adds", title=title, title_justify="left")
    table.add_row("", "", "", "", "the average training image", f"{explanation.baseline:+.2f}")
    for reason in explanation.reasons[:rows]:
        figures = (f"{reason.similarity:.2f}", f"{reason.usual:.2f}", f"{reason.weight:+.2f}", f"{reason.lift:+.2f}")
        table.add_row(str(reason.prototype), reason.class_name, *figures)
    others = explanation.reasons[rows:]
    if others:
        table.add_row("", f"{len(others)} more", "", "", "", f"{sum(reason.lift for reason in others):+.2f}")
    table.add_row("", f"logit of {explanation.explained}", "", "", "sum", f"{explanation.logit:+.2f}")
    _console().print(table)


def do_demo(given: argparse.Namespace) -> int:
    """The verb `demo`: the main job on images that come along."""
    from protolens.config import read_run
    from protolens.evaluation import evaluate
    from protolens.report import write_report
    from protolens.train import fit

    config, where = read_run("digits-prototypedl")
    run = fit(config, given.out, resume=True, where=where)
    evaluation = evaluate(run)
    report = write_report(run)
    if given.json:
        print(json.dumps({"run": str(given.out), "accuracy": evaluation.accuracy, "report": str(report)}))
        return 0
    show_evaluation(run, evaluation)
    print(f"open {report} in a browser")
    return 0


def do_list(given: argparse.Namespace) -> int:
    """The verb `list`."""
    lists = {"models": list_models, "data": list_data, "recipes": list_recipes, "settings": list_settings}
    if given.what not in lists:
        raise ProtolensError(f"{given.what} cannot be listed{did_you_mean(given.what, lists)}")
    rows = lists[given.what]()
    if given.json:
        print(json.dumps(rows))
        return 0
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, no_wrap=bool(column))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    _console().print(table)
    return 0


def list_models() -> list[dict[str, Any]]:
    """The settings of each model."""
    from protolens.config import settings_of
    from protolens.models import MODELS, settings_class

    rows = []
    for name in MODELS:
        for setting, kind, default, help in settings_of(settings_class(name), "model"):
            rows.append({"model": name, "setting": setting, "type": kind, "default": default, "": help})
    return rows


def list_data() -> list[dict[str, Any]]:
    """The data sets of the catalog."""
    from protolens.data import catalog

    return [{"data": name, "": description} for name, description in catalog().items()]


def list_recipes() -> list[dict[str, Any]]:
    """The recipes that come along, with the first line of each."""
    from protolens.config import RECIPES, recipe_names

    lines = {name: (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0] for name in recipe_names()}
    return [{"recipe": name, "": line.lstrip("# ")} for name, line in lines.items()]


def list_settings() -> list[dict[str, Any]]:
    """Every setting but those of the models."""
    from protolens.config import RunConfig, Stage, settings_of

    both = [*settings_of(RunConfig, ""), *settings_of(Stage, "stages.NAME")]
    return [{"setting": name, "type": kind, "default": default, "": help} for name, kind, default, help in both]


def _given(table: dict[str, Any]) -> dict[str, Any]:
    """A nested table without what was not given."""
    inner = {key: _given(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in inner.items() if value is not None}


def _figure(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.2f} %"


def _interval(ends: Sequence[float] | None) -> str:
    return f"95 % interval {_figure(ends[0])} to {_figure(ends[1])}" if ends else ""


def _console() -> "Console":
    from rich.console import Console

    # a file or a pipe has no width of its own
    return Console(width=None if sys.stdout.isatty() else 160)


def _next(folder: Path) -> str:
    """Where to look, and what to type next, when a run is finished."""
    return f"{folder}/report.html\nnext: protolens evaluate {folder}"


def _tell(given: argparse.Namespace, result: dict[str, Any], sentence: str) -> None:
    print(json.dumps(result) if given.json else sentence)
