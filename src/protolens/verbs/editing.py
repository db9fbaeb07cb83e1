"""The verb `edit`."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from protolens.errors import ProtolensError
from protolens.verbs.shared import leads, next_words

if TYPE_CHECKING:
    from protolens.editing import Edit


def do_edit(given: argparse.Namespace) -> int:
    """The verb `edit`."""
    from protolens.editing import Workbench, plan_of, save_edited
    from protolens.files import refuse_existing
    from protolens.report import write_report
    from protolens.terminal import show_consequences
    from protolens.train import Run
    from protolens.train.progress import Narrator

    edits = edits_of(given)
    if not leads():
        return 0
    run = Run.open(given.run)
    # before minutes go by
    plan_of(run.model(), edits)
    if given.out is not None:
        refuse_existing(given.out)
    with Narrator(True) as narrator:
        with narrator.following("looking at validation images") as step:
            bench = Workbench.open(run, given.device, step)
        with narrator.following("looking at them without the forbidden regions") as step:
            found = bench.consequences(edits, step)
        result = {"run": str(run.folder)} | found.to_dict()
        if given.out is not None:
            with narrator.following("looking for prototypes among training images") as step:
                saved = save_edited(run, edits, given.out, bench=bench, step=step)
            result |= {"run": str(saved.folder), "of": str(run.folder), "report": str(write_report(saved))}
    if given.json:
        print(json.dumps(result))
        return 0
    show_consequences(run, edits, found)
    if given.off and bench.caution:
        print(bench.caution)
    print(next_words(given.out) if given.out is not None else "nothing is saved; --out FOLDER leaves the edited model")
    return 0


def edits_of(given: argparse.Namespace) -> "list[Edit]":
    """The edits that the words ask for. Raises ProtolensError where there are none, or one cannot be read."""
    from protolens.editing import Forbid, Move, SwitchOff

    edits: list[Edit] = [SwitchOff(number) for word in given.off for number in whole_numbers("--off", word)]
    for word in given.move:
        number, _, to = word.partition(":")
        if not number.isdecimal() or not to:
            raise ProtolensError(f"--move {word} is no number of a prototype and a class; write --move 4:nine")
        edits.append(Move(int(number), to))
    for word in given.forbid:
        box = whole_numbers("--forbid", word)
        if len(box) != 4:
            raise ProtolensError(f"--forbid {word} is no region; write left,top,right,bottom in pixels, as in 0,0,28,4")
        edits.append(Forbid((box[0], box[1], box[2], box[3])))
    if not edits:
        raise ProtolensError("edit needs to know what to edit; write --off, --move or --forbid")
    return edits


def whole_numbers(option: str, word: str) -> Sequence[int]:
    """The numbers between commas. Raises ProtolensError for anything else."""
    parts = word.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ProtolensError(f"{option} {word} is no list of whole numbers; write them with commas between, as in 3,7")
    return [int(part) for part in parts]
