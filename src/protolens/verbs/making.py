"""The verbs that make runs: `fit`, `convert` and `demo`."""

import argparse
import json
from pathlib import Path
from typing import Any

from protolens.config import merge
from protolens.errors import ProtolensError
from protolens.verbs.shared import given_only, leads, next_words, tell


def do_fit(given: argparse.Namespace) -> int:
    """The verb `fit`."""
    from protolens.config import read_run

    data = {"name": given.data, "root": given.data_root, "leakage": given.leakage, "group": given.group}
    named: dict[str, Any] = {
        "data": data | {"skip_unreadable": given.skip_unreadable or None},
        "model": {"name": given.model, "weights": given.weights},
        "train": {"device": given.device},
        "seed": given.seed,
    }
    changes = merge(given_only(named), given.settings)
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
    tell(given, result, said + next_words(folder))
    return 0


def do_convert(given: argparse.Namespace) -> int:
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
    run = convert(given.network, folder, merge(given_only(named), given.settings), to=to, resume=given.resume)
    if not leads():
        return 0
    write_report(run)
    found, steps = run.facts["model"]["found"], run.facts["followed"]
    centres, codes, figures = steps[0]["centres"], steps[0]["vectors"], steps[-1]["after"]
    result = {"run": str(folder), "centres": centres, "codes": codes, "validation": figures}
    said = f"{found} {centres} prototypes from {codes:,} codes: {validation_in_words(figures)}; "
    tell(given, result | {"found": found}, said + next_words(folder))
    return 0


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
