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
    from protolens.train import Run
OF_SETS = ("split", "shard", "data_root", "skip_unreadable", "device")  # words of `explain` that need --data


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
    from protolens.terminal import figure
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
        score = f"validation {select.replace('_', ' ')} {f'{score:.4f}' if select == 'loss' else figure(score)}"
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
        "data": {"name": given.data, "root": given.data_root, "skip_unreadable": given.skip_unreadable or None},
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
    from protolens.terminal import show_evaluation
    from protolens.train import Run

    if given.ensemble:
        return do_evaluate_ensemble(given)
    if len(given.runs) > 1:
        raise ProtolensError("evaluate takes one run; --ensemble lets several decide together")
    run = Run.open(given.runs[0])
    if given.beside is not None:
        return do_evaluate_gap(given, run)
    if given.method:
        return do_evaluate_methods(given, run)
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


def do_evaluate_methods(given: argparse.Namespace, run: "Run") -> int:
    """The verb `evaluate` for explanations."""
    from protolens.evaluation import faithfulness
    from protolens.report import write_faithfulness
    from protolens.terminal import show_faithfulness

    found = faithfulness(
        run,
        _methods(given, run),
        images=given.images,
        seed=given.seed,
        options=_options(given),
        precision=given.precision or "float32",
        again=given.again,
        device=given.device,
    )
    if not leads():
        return 0
    page = write_faithfulness(run, found)
    if given.json:
        print(json.dumps(found | {"page": str(page)}))
        return 0
    show_faithfulness(run, found)
    print(page)
    return 0


def do_evaluate_gap(given: argparse.Namespace, run: "Run") -> int:
    """The verb `evaluate` for explanations beside those of a black box."""
    from protolens.evaluation import explanation_gap, pictures_of_gap
    from protolens.report import write_gap

    given.method = given.method or "lrp"
    other = None if given.beside == Path() else given.beside
    methods, asked = _methods(given, run), {"seed": given.seed, "options": _options(given)}
    found = explanation_gap(run, other, methods, images=given.images, device=given.device, **asked)
    if not leads():
        return 0
    page = write_gap(run, found, *pictures_of_gap(run, other, methods[0], **asked))
    _tell(given, found | {"page": str(page)}, str(page))
    return 0


def _methods(given: argparse.Namespace, run: "Run") -> list[str]:
    """The methods that were named; for all, those that can explain the model."""
    if given.method != "all":
        return given.method.split(",")
    import torch

    from protolens.attribution import METHODS, methods_that_fail

    model = run.model()
    image = torch.rand(1, model.task.bands, *model.task.size, generator=torch.Generator().manual_seed(0))
    failing = methods_that_fail(model, image)
    for name, why in failing.items() if leads() else ():
        print(f"{name} is left out: {why}", file=sys.stderr)
    return [name for name in METHODS if name not in failing]


def _options(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What methods are asked for beyond their names."""
    if given.samples is not None and given.samples < 1:
        raise ProtolensError(f"--samples is {given.samples}; LIME and KernelSHAP need 1 or more")
    samples = {} if given.samples is None else {"samples": given.samples}
    precision = {} if given.precision is None else {"precision": given.precision}
    return {"lime": samples | precision, "kernelshap": samples | precision, "occlusion": precision}


def do_evaluate_ensemble(given: argparse.Namespace) -> int:
    """The verb `evaluate` for several runs that decide together."""
    from protolens.evaluation import evaluate_ensemble
    from protolens.terminal import show_ensemble

    found = evaluate_ensemble(given.runs, device=given.device)
    if given.json:
        print(json.dumps(found))
        return 0
    show_ensemble(found)
    return 0


def do_explain(given: argparse.Namespace) -> int:
    """The verb `explain`."""
    if given.data:
        return do_explain_set(given)
    refuse_without_data(given)
    if given.method:
        return do_compare_methods(given)
    if not given.images:
        raise ProtolensError(
            "explain needs image files, --method to compare methods on validation images, or --data for a whole set"
        )
    from protolens.data import read_image
    from protolens.data.pictures import to_png
    from protolens.explanation import explain
    from protolens.report import write_explanations
    from protolens.terminal import show_explanation
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


def do_compare_methods(given: argparse.Namespace) -> int:
    """The verb `explain` with methods."""
    from protolens.explanation import compare_methods
    from protolens.report import write_comparison
    from protolens.train import Run

    if given.each < 1:
        raise ProtolensError(f"--each is {given.each}; draw 1 image of each class or more")
    run = Run.open(given.run)
    asked = (_methods(given, run), given.images, given.each, given.seed, given.target, _options(given))
    comparison = compare_methods(run, *asked)
    page = write_comparison(run, comparison, given.out or run.folder / "explanations")
    _tell(given, {"page": str(page), "seconds": dict(comparison.seconds)}, str(page))
    return 0


def do_explain_set(given: argparse.Namespace) -> int:
    """The verb `explain` with a whole set."""
    if given.images:
        raise ProtolensError(f"explain takes image files or --data, not both; leave {given.images[0]} out")
    if given.out is None:
        raise ProtolensError("explain --data writes shards; say into which folder with --out DIR")
    from protolens.explanation import explain_set
    from protolens.train import Run

    run = Run.open(given.run)
    named = {name: getattr(given, name) for name in OF_SETS} | {"target": given.target}
    asked = {"methods": _methods(given, run) if given.method else [], "seed": given.seed, "options": _options(given)}
    done = explain_set(run, given.data, given.out, **asked, **_given(named))
    if not leads():
        return 0
    kept = done.shards - done.made
    said = f"{done.rows:,} rows in {done.shards:,} shard{'s' * (done.shards != 1)} in {done.folder}"
    said += f", {kept:,} of them there already" if kept else ""
    result = {"folder": str(done.folder), "shards": done.shards, "rows": done.rows, "made": done.made}
    _tell(given, result, said)
    return 0


def refuse_without_data(given: argparse.Namespace) -> None:
    """Raise ProtolensError at a word that only a whole set understands."""
    for name in OF_SETS:
        if getattr(given, name):
            raise ProtolensError(f"--{name.replace('_', '-')} is for a whole set; name one with --data")


def do_demo(given: argparse.Namespace) -> int:
    """The verb `demo`: the main job on images that come along."""
    from protolens.config import read_run
    from protolens.evaluation import evaluate
    from protolens.report import write_report
    from protolens.terminal import show_evaluation
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
    from protolens.terminal import show_rows

    show_rows(rows)
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


def _next(folder: Path) -> str:
    """Where to look, and what to type next, when a run is finished."""
    return f"{folder}/report.html\nnext: protolens evaluate {folder}"


def _tell(given: argparse.Namespace, result: dict[str, Any], sentence: str) -> None:
    print(json.dumps(result) if given.json else sentence)
