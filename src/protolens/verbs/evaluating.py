"""The verb `evaluate`: of a run, of several together, of explanations, and of the gap to a black box."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from protolens.errors import ProtolensError
from protolens.verbs.shared import budget_of, leads, methods_of, options_of, tell

if TYPE_CHECKING:
    from protolens.train import Run


def do_evaluate(given: argparse.Namespace) -> int:
    """The verb `evaluate`."""
    from protolens.evaluation import evaluate
    from protolens.report import write_report
    from protolens.terminal import show_evaluation
    from protolens.train import Run

    if given.budget is not None and not takes_time(given):
        raise ProtolensError(
            "--budget is for --method, --beside, --robustness and --uncertainty; a whole test split is read without"
        )
    if given.ensemble:
        return do_evaluate_ensemble(given)
    if len(given.runs) > 1:
        raise ProtolensError("evaluate takes one run; --ensemble lets several decide together")
    run = Run.open(given.runs[0])
    if given.beside is not None:
        return do_evaluate_gap(given, run)
    if given.uncertainty is not None:
        return do_evaluate_uncertainty(given, run)
    if given.robustness:
        return do_evaluate_robustness(given, run)
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


def takes_time(given: argparse.Namespace) -> bool:
    """Whether an evaluation is asked for that measures as many images, or draws, as there is time for."""
    return bool(given.method or given.robustness) or given.beside is not None or given.uncertainty is not None


def do_evaluate_methods(given: argparse.Namespace, run: "Run") -> int:
    """The verb `evaluate` for explanations."""
    from protolens.evaluation import faithfulness
    from protolens.report import write_faithfulness
    from protolens.terminal import show_faithfulness

    found = faithfulness(
        run,
        methods_of(given, run),
        images=given.images,
        seed=given.seed,
        options=options_of(given),
        precision=given.precision or "float32",
        budget=budget_of(given),
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
    methods, asked = methods_of(given, run), {"seed": given.seed, "options": options_of(given)}
    some = {"images": given.images, "budget": budget_of(given)}
    found = explanation_gap(run, other, methods, device=given.device, **some, **asked)
    if not leads():
        return 0
    page = write_gap(run, found, *pictures_of_gap(run, other, methods[0], **asked))
    tell(given, found | {"page": str(page)}, "\n".join(filter(None, [found["bought"], str(page)])))
    return 0


def do_evaluate_uncertainty(given: argparse.Namespace, run: "Run") -> int:
    """The verb `evaluate` for what a model does not know."""
    from protolens.evaluation import uncertainty
    from protolens.report import write_uncertainty
    from protolens.terminal import show_uncertainty

    if given.draws < 1:
        raise ProtolensError(f"--draws is {given.draws}; 1 or more are needed")
    some = {"draws": given.draws, "budget": budget_of(given)}
    found = uncertainty(run, given.uncertainty, seed=given.seed, device=given.device, **some)
    if not leads():
        return 0
    page = write_uncertainty(run, found)
    if given.json:
        print(json.dumps(found | {"page": str(page)}))
        return 0
    show_uncertainty(run, found)
    print(page)
    return 0


def do_evaluate_robustness(given: argparse.Namespace, run: "Run") -> int:
    """The verb `evaluate` for whether explanations hold."""
    from protolens.evaluation import robustness
    from protolens.report import write_robustness
    from protolens.terminal import show_robustness

    found = robustness(run, images=given.images, seed=given.seed, budget=budget_of(given), device=given.device)
    if not leads():
        return 0
    page = write_robustness(run, found)
    if given.json:
        print(json.dumps(found | {"page": str(page)}))
        return 0
    show_robustness(run, found)
    print(page)
    return 0


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
