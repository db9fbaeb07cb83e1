"""The verbs that make runs: `fit`, `convert` and `demo`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protolens.config import merge
from protolens.errors import ProtolensError
from protolens.files import as_part_of_a_name
from protolens.verbs.shared import given_only, leads, next_words, tell

if TYPE_CHECKING:
    from protolens.train import Run


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
    from protolens.train import fit

    if given.epochs is not None:
        config = with_epochs(config, given.epochs, where)
    folder = given.out or Path("runs") / default_name(given.recipe, config)
    if given.seeds is not None:
        return do_fit_seeds(given, config, folder, where)
    run = fit(config, folder, resume=given.resume, where=where)
    if not leads():
        return 0
    write_report(run)
    result, said = outcome(run)
    tell(given, result, (said and f"{said}; ") + next_words(folder))
    return 0


def do_fit_seeds(given: argparse.Namespace, config: Any, folder: Path, where: str) -> int:
    """The verb `fit` for several seeds, one after another."""
    from dataclasses import replace

    from protolens.report import write_report
    from protolens.train import fit, fit_or_keep, refuse_run, stop_politely

    if given.seeds < 1:
        raise ProtolensError(f"--seeds is {given.seeds}; train 1 seed or more")
    folders = {seed: Path(f"{folder}-{seed}") for seed in range(config.seed, config.seed + given.seeds)}
    for place in folders.values() if not given.resume else ():
        refuse_run(place)  # before hours go by
    results = []
    with stop_politely():
        for seed, place in folders.items():
            kept = (place / "run.json").exists()
            train = fit_or_keep if given.resume else fit
            run = train(replace(config, seed=seed), place, where=where)
            result, said = outcome(run)
            results.append(result | {"seed": seed})
            if leads() and not kept:
                write_report(run)
            if leads() and not given.json:
                print(f"{place}: {said or 'finished'}{' (kept)' * kept}", flush=True)
    if leads():
        tell_seeds(given, results, run.config.train.select)
    return 0


def outcome(run: "Run") -> tuple[dict[str, Any], str]:
    """What came out of a training run, as JSON and in words; no words where nothing is trained."""
    result: dict[str, Any] = {"run": str(run.folder)}
    if not run.facts["chosen"]:
        return result, ""
    chosen = run.facts["chosen"][-1]
    result |= {"stage": chosen["stage"], "epoch": chosen["epoch"], "validation": chosen["score"]}
    score = score_in_words(run.config.train.select, [chosen["score"]])
    return result, f"epoch {chosen['epoch']} was chosen: {score}"


def score_in_words(select: str, scores: list[float]) -> str:
    """The validation figure that chose the epochs: one, or mean and sample standard deviation of several."""
    from statistics import mean, stdev

    from protolens.terminal import figure

    def write(value: float) -> str:
        return f"{value:.4f}" if select == "loss" else figure(value)

    spread = f" ± {write(stdev(scores))}" if len(scores) > 1 else ""
    return f"validation {select.replace('_', ' ')} {write(mean(scores))}{spread}"


def tell_seeds(given: argparse.Namespace, results: list[dict[str, Any]], select: str) -> None:
    """Mean and spread over the seeds, and what to type next."""
    from statistics import mean, stdev

    scores = [result["validation"] for result in results if "validation" in result]
    average = mean(scores) if scores else None
    spread = stdev(scores) if len(scores) > 1 else None
    seeds = ", ".join(str(result["seed"]) for result in results)
    said = f"{score_in_words(select, scores)} over seeds {seeds}\n" if len(scores) > 1 else ""
    runs = [result["run"] for result in results]
    each = "\n".join(f"next: protolens evaluate {run}" for run in runs)
    together = f"\nthen: protolens compare {' '.join(runs)}" if len(runs) > 1 else ""
    tell(given, {"runs": results, "mean": average, "spread": spread}, said + each + together)


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
    return as_part_of_a_name(f"{config.data.name}-{config.model['name']}")


def converted_name(network: str, data: str | None, to: str) -> Path:
    """The folder of a converted network where none is given: beside its run, if it has one."""
    run = Path(network)
    if run.exists() or ":" not in network:
        return run.parent / f"{run.name}-{to}"
    return Path("runs") / as_part_of_a_name(f"{data or 'digits'}-{network}-{to}")
