"""The verb `explain`: files, methods beside each other, and whole sets."""

import argparse
import json

from protolens.errors import ProtolensError
from protolens.verbs.shared import given_only, leads, methods_of, options_of, tell

EACH = 3  # validation images of each class
OF_SETS = ("split", "shard", "data_root", "skip_unreadable", "device")  # words that need --data


def do_explain(given: argparse.Namespace) -> int:
    """The verb `explain`."""
    if given.each is not None and (given.data or given.images or not given.method):
        raise ProtolensError("--each draws validation images for --method; it goes with neither image files nor --data")
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

    each = EACH if given.each is None else given.each
    if each < 1:
        raise ProtolensError(f"--each is {each}; draw 1 image of each class or more")
    run = Run.open(given.run)
    asked = (methods_of(given, run), given.images, each, given.seed, given.target, options_of(given))
    comparison = compare_methods(run, *asked)
    page = write_comparison(run, comparison, given.out or run.folder / "explanations")
    tell(given, {"page": str(page), "seconds": dict(comparison.seconds)}, str(page))
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
    asked = {
        "methods": methods_of(given, run) if given.method else [],
        "seed": given.seed,
        "options": options_of(given),
    }
    done = explain_set(run, given.data, given.out, **asked, **given_only(named))
    if not leads():
        return 0
    kept = done.shards - done.made
    said = f"{done.rows:,} rows in {done.shards:,} shard{'s' * (done.shards != 1)} in {done.folder}"
    said += f", {kept:,} of them there already" if kept else ""
    result = {"folder": str(done.folder), "shards": done.shards, "rows": done.rows, "made": done.made}
    tell(given, result, said)
    return 0


def refuse_without_data(given: argparse.Namespace) -> None:
    """Raise ProtolensError at a word that only a whole set understands."""
    for name in OF_SETS:
        if getattr(given, name):
            raise ProtolensError(f"--{name.replace('_', '-')} is for a whole set; name one with --data")
