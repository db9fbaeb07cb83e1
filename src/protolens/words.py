"""The words that the command line understands: verbs with their options, and settings by their dotted names."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from protolens import __version__
from protolens.config import merge
from protolens.errors import ProtolensError

SETTINGS = """\
Every setting has a dotted name and can be changed behind the recipe:
  --data.size 64 --model.prototypes 20 --stages.train.epochs 30 --train.batch 128
  --model.per_class '[3, 5, 4]' for a list
`protolens list settings` names them all, `protolens list models` those of each model.
"""


TABLE = """\
A table is a file such as this one; all but models may be left out:
  title = "The family on MNIST"
  models = ["mnist-blackbox", "mnist-protovae", "mine.toml"]  # recipes
  seeds = [0, 1, 2]
  data = ["mnist", "fashion-mnist"]   # each model on each; else what its recipe says
  convert = ["kmex"]                  # each run also with KMEx on top
  runs = "runs"                       # where RECIPE-SEED and RECIPE-SEED-kmex lie
  measure = ["robustness", "gap", "uncertainty"]  # beside the evaluation
  images = 200                        # test images for robustness and gap (1000)
  others = ["fashion-mnist"]          # what the runs should refuse, for uncertainty
  figures = ["accuracy", "loss"]      # else those of the page of `compare`
  [settings.mnist-protovae]           # changes to a recipe, or to kmex
  stages.train.epochs = 5
  [goals.mnist-protovae]              # what a mean should reach
  accuracy = 0.99
What is done is not repeated, so a table that was stopped goes on when it is called again.
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything here does. `verbs` holds the parser of each verb."""

    verbs: dict[str, "Parser"]

    def error(self, message: str) -> NoReturn:
        """Turn argparse's complaint into the one exception."""
        raise ProtolensError(f"{message}; `{self.prog} --help` shows the words")


def make_parser() -> Parser:
    """The verbs and their words."""
    parser = Parser(prog="protolens", description="Image classifiers that show their reasons.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"protolens {__version__}")
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    common.add_argument("--debug", action="store_true", help="show a traceback where something fails")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    parser.verbs = {}
    for name, (add_words, help, epilog) in VERBS.items():
        kind = argparse.RawDescriptionHelpFormatter
        verb: Parser = verbs.add_parser(
            name, help=help, description=help, epilog=epilog, parents=[common], formatter_class=kind, allow_abbrev=False
        )
        add_words(verb)
        parser.verbs[name] = verb
    return parser


def words_of_demo(demo: Parser) -> None:
    """Where the demo goes."""
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder (default: %(default)s)")


def words_of_fit(fit: Parser) -> None:
    """What is trained, on what, and where."""
    fit.add_argument("recipe", nargs="?", help="a name from `protolens list recipes`, or a TOML file")
    fit.add_argument("--model", help="a name from `protolens list models` (default: prototypedl)")
    fit.add_argument("--weights", help="safetensors file of a pretrained backbone; nothing is downloaded")
    fit.add_argument("--data", help="a name from `protolens list data`, or folder:PATH (default: digits)")
    fit.add_argument("--data-root", help="folder of the data files (default: $PROTOLENS_DATA, else ~/.cache/protolens)")
    fit.add_argument("--epochs", type=int, help="epochs of a model with one stage")
    fit.add_argument("--seed", type=int, help="draws weights, order, augmentation and sampling (default: 0)")
    fit.add_argument(
        "--seeds", type=int, metavar="N", help="train N seeds from --seed on, one after another, into RUN-0, RUN-1, ..."
    )
    fit.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    fit.add_argument("--leakage", help="an image that stands in two splits: stop, drop or allow (default: stop)")
    fit.add_argument("--group", help="regular expression on paths: equal matches stay in one split")
    fit.add_argument(
        "--skip-unreadable", action="store_true", help="leave files out that cannot be read, and list them"
    )
    fit.add_argument("--out", type=Path, help="run folder (default: runs/RECIPE, or runs/DATA-MODEL)")
    fit.add_argument("--resume", action="store_true", help="go on with the run in the folder, if there is one")


def words_of_convert(convert: Parser) -> None:
    """Which network, and how its codes become prototypes."""
    convert.add_argument("network", help="folder of a run, torchvision:NAME, timm:NAME or FILE.py:FUNCTION")
    convert.add_argument("--weights", help="weights of a network that is no run: safetensors, or a plain state dict")
    convert.add_argument("--data", help="its images: a name from `protolens list data`, or folder:PATH")
    convert.add_argument("--data-root", help="folder of the data files (default: $PROTOLENS_DATA, else as in fit)")
    convert.add_argument("--to", help="kmex: nearest prototypes of classes, or concepts: clusters of places")
    convert.add_argument("--layer", nargs="+", help="layer that gives the code; for concepts some (default: found)")
    convert.add_argument("--places", help="pooled: whole images, or map: each place of a map (default: pooled)")
    convert.add_argument("--per-class", type=int, help="prototypes of each class (default: 5)")
    convert.add_argument("--similarity", help="distance, cosine or dot-product (default: distance)")
    convert.add_argument("--seed", type=int, help="draws the start of k-means (default: the run's)")
    convert.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: the run's)")
    convert.add_argument("--skip-unreadable", action="store_true", help="leave files out that cannot be read")
    convert.add_argument("--out", type=Path, help="run folder (default: RUN-kmex, or runs/DATA-NETWORK-kmex)")
    convert.add_argument("--resume", action="store_true", help="go on with a conversion that was killed")


def words_of_compare(compare: Parser) -> None:
    """Which runs, and where what is found goes."""
    compare.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, each evaluated before")
    compare.add_argument(
        "--out",
        type=Path,
        default=Path("runs/comparison"),
        help="folder of page, JSON and CSV (default: %(default)s)",
    )


def words_of_doctor(doctor: Parser) -> None:
    """Which run, and where the page goes."""
    doctor.add_argument("run", type=Path, metavar="RUN", help="run folder")
    doctor.add_argument("--out", type=Path, metavar="DIR", help="folder of the page (default: RUN)")
    doctor.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def words_of_edit(edit: Parser) -> None:
    """Which run, what is done to it, and where the edited one goes."""
    edit.add_argument("run", type=Path, metavar="RUN", help="run folder; it stays as it is")
    edit.add_argument(
        "--off",
        action="append",
        default=[],
        metavar="N,N",
        help="switch prototypes off, by their numbers in the report",
    )
    edit.add_argument(
        "--move",
        action="append",
        default=[],
        metavar="N:CLASS",
        help="let a prototype speak for another class; may be given several times",
    )
    edit.add_argument(
        "--forbid",
        action="append",
        default=[],
        metavar="L,T,R,B",
        help="never show the model this region: left,top,right,bottom in pixels, right and bottom outside",
    )
    edit.add_argument(
        "--out", type=Path, metavar="FOLDER", help="leave the edited model there, as a run (default: none)"
    )
    edit.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def words_of_table(table: Parser) -> None:
    """Which table, and where it goes."""
    table.add_argument("file", type=Path, metavar="FILE.toml", help="models, seeds, data, conversions: see below")
    table.add_argument("--out", type=Path, help="folder of NAME.md, .json, .csv and .html (default: beside FILE.toml)")


def words_of_evaluate(evaluate: Parser) -> None:
    """Which runs, or which explanations of a run."""
    evaluate.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    words_of_methods(evaluate, "measure how far maps of these methods, or of all, can be believed")
    evaluate.add_argument(
        "--beside",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="BLACK_BOX",
        help="measure how far explanations are from those of a black box: its run, or none where RUN holds it; "
        "--method explains the black box (default: lrp)",
    )
    evaluate.add_argument(
        "--images",
        type=int,
        default=1000,
        help="with --method, --beside and --robustness: test images (default: %(default)s)",
    )
    evaluate.add_argument(
        "--budget",
        metavar="TIME",
        help="with --method, --beside, --robustness and --uncertainty: measure as many images (at least 30), or draws "
        "(at least 10), as fit in 90s, 10m or 1h30m, and say what that bought",
    )
    evaluate.add_argument("--seed", type=int, default=0, help="with these: draws images and all else (default: 0)")
    evaluate.add_argument(
        "--uncertainty",
        nargs="*",
        metavar="DATA",
        help="measure whether the model knows when it does not know: calibration, and what it refuses of its own test "
        "images, of noise, and of these other data sets",
    )
    evaluate.add_argument(
        "--robustness",
        action="store_true",
        help="measure whether explanations hold: average drop of prototypes, images under noise, prototypes found anew",
    )
    evaluate.add_argument("--draws", type=int, default=100, help="with --uncertainty: of a Bayesian network's weights")
    evaluate.add_argument("--ensemble", action="store_true", help="let several runs decide together, by summed logits")
    evaluate.add_argument("--again", action="store_true", help="read the test split again")
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def words_of_explain(explain: Parser) -> None:
    """Which run, which images, and by which methods."""
    explain.add_argument("run", type=Path, help="run folder")
    explain.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="image files")
    explain.add_argument("--target", help="explain the logit of this class instead of the predicted one")
    words_of_methods(explain, "compare maps of these methods, or of all")
    explain.add_argument("--each", type=int, help="without IMAGE: validation images of each class to draw (default: 3)")
    explain.add_argument("--seed", type=int, default=0, help="draws images, and all that methods draw (default: 0)")
    explain.add_argument(
        "--out", type=Path, help="folder for page, figure and JSON (default: RUN/explanations), or for shards"
    )
    whole = explain.add_argument_group("a whole set, into Parquet shards in --out (torchrun shares the work)")
    whole.add_argument("--data", help="a name from `protolens list data`, or folder:PATH, with or without classes")
    whole.add_argument("--split", help="training, validation or test (default: all; of the run's own data validation)")
    whole.add_argument("--shard", type=int, help="images of a shard (default: 1024)")
    whole.add_argument("--data-root", help="folder of the data files (default: the run's)")
    whole.add_argument("--skip-unreadable", action="store_true", help="leave files out that cannot be read")
    whole.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def words_of_export(export: Parser) -> None:
    """Which run, into what, and where it goes."""
    export.add_argument("run", type=Path, metavar="RUN", help="run folder")
    export.add_argument(
        "--format",
        default="onnx",
        help="onnx: a file that other programs run; hf: a folder for a hub, with a model card (default: %(default)s)",
    )
    export.add_argument("--out", type=Path, metavar="PATH", help="file or folder (default: RUN/model.onnx, or RUN-hf)")
    export.add_argument("--license", help="with hf: of the model, such as apache-2.0 (default: a line to fill in)")


def words_of_methods(verb: Parser, about: str) -> None:
    """Which methods, and how they look."""
    verb.add_argument(
        "--method",
        metavar="M,M,...",
        help=f"{about}: self, lime, kernelshap, lrp, prp, gradient, integrated-gradients, smoothgrad, gradcam, "
        "occlusion, random, edges",
    )
    verb.add_argument("--samples", type=int, help="changed images that LIME and KernelSHAP look at (default: 1000)")
    verb.add_argument(
        "--precision", help="arithmetic that looks at changed images: float32 or bfloat16 (default: float32)"
    )


def words_of_serve(serve: Parser) -> None:
    """Which runs, and who may look."""
    serve.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    serve.add_argument("--port", type=int, help="port (default: the first free one from 8808 on)")
    serve.add_argument(
        "--token", help="what a browser has to know once (default: none here, drawn with any other --host)"
    )


def words_of_list(listing: Parser) -> None:
    """What is listed."""
    listing.add_argument("what", help="models, data, recipes or settings")


VERBS: dict[str, tuple[Callable[[Parser], None], str, str]] = {
    "demo": (words_of_demo, "Train on embedded digits, evaluate, explain: a report in under two minutes.", ""),
    "fit": (words_of_fit, "Train a model; leaves a run folder with a report.", SETTINGS),
    "convert": (
        words_of_convert,
        "Let any trained network decide by centres of its codes (KMEx), or by concepts; nothing is trained.",
        SETTINGS,
    ),
    "evaluate": (words_of_evaluate, "Score a run on its test split, once; writes evaluation.json and the report.", ""),
    "compare": (words_of_compare, "Hold runs against each other: three predicates, and what chance explains.", ""),
    "doctor": (
        words_of_doctor,
        "Find sick prototypes by training and validation images, and what to do about each; writes doctor.html.",
        "",
    ),
    "edit": (
        words_of_edit,
        "Switch prototypes off, move them to other classes, forbid regions: what that changes on validation images.",
        "",
    ),
    "table": (words_of_table, "Make a whole table: models, data, seeds; goes on where it was stopped.", TABLE),
    "explain": (words_of_explain, "Say why a run decides so about images, or a whole set; compare methods.", ""),
    "export": (
        words_of_export,
        "Write a run's model as an ONNX file that was held against it, or as a folder for a hub.",
        "",
    ),
    "serve": (words_of_serve, "Show runs on a page where people look, ask and edit; needs the extra serve.", ""),
    "list": (words_of_list, "Name what there is: models, data, recipes, metrics, settings.", ""),
}
"""What adds the words of each verb, what the verb does, and what its help ends with."""


def dotted_settings(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The plain words, and nested tables from those like --model.prototypes 20 or --model.prototypes=20."""
    plain: list[str] = []
    tables: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or "." not in name:
            plain.append(word)
            continue
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("--"):
            raise ProtolensError(f"{name} needs a value behind it")
        table: Any = value_of(name, value)
        for key in reversed(name[2:].split(".")):
            table = {key: table}
        tables = merge(tables, table)
    return plain, tables


def value_of(name: str, word: str) -> Any:
    """A word as it is, or what [1, 2, 3] and {"a": 1} stand for in JSON."""
    if word[0] not in "[{":
        return word
    try:
        return json.loads(word)
    except ValueError as error:
        raise ProtolensError(f"{name} is no JSON list or table ({error}); quote it as in '[1, 2, 3]'") from error
