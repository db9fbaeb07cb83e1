"""The verb `table`: make what is missing, one run after another, and write the table anew after each."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

from protolens.errors import ProtolensError, first_line
from protolens.evaluation import evaluate, is_comparable
from protolens.report import write_report
from protolens.tables.measuring import lacking, measure
from protolens.tables.plan import Cell, cells_of, read_table
from protolens.tables.writing import place_of, write_table
from protolens.train import (
    Run,
    StoppedError,
    conversion,
    convert_or_keep,
    fit_or_keep,
    named_settings,
    refuse_other_settings,
    stop_politely,
)
from protolens.train.progress import duration

OF_VERSIONS = ("protolens", "torch", "python")
OF_HARDWARE = ("device", "processor", "cores", "threads", "processes")


def make_table(file: Path, out: Path | None = None) -> dict[str, Any]:
    """Train, convert and evaluate what a table file asks for, unless it is done, and write the table beside it.

    out: another folder for the table's files. A cell that fails holds the sentence of its error, and the others go on.
    Returns what NAME.json holds. Raises ProtolensError for a table that cannot be read, and its child StoppedError when
    asked to stop.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ProtolensError("table works in one process: its runs come one after another; call it without torchrun")
    table, out = read_table(file), out or file.parent
    cells = cells_of(table)
    for cell in cells:
        if cell.source is None:
            named_settings(*cell.config())  # a wrong setting of a model is told before hours go by
    entries = [entry_of(cell) for cell in cells]
    waiting = [number for number, entry in enumerate(entries) if entry["state"] != "done"]
    if waiting and len(waiting) < len(cells):
        say(f"{len(cells) - len(waiting)} of {len(cells)} cells are done")
    content = write_table(table, entries, file, out)  # tells of an unknown figure, if there is a run to ask
    boxes = {cell.measures.black_box for cell in cells if cell.source is None}
    waiting.sort(key=lambda number: cells[number].folder not in boxes)  # others are held against them
    with stop_politely() as asked:
        for place, number in enumerate(waiting, start=1):
            about = f"cell {number + 1} of {len(cells)}, {cells[number].folder.name}"
            entries[number] = attempt(cells[number], about, asked, file)
            later = [cells[other] for other in waiting[place:]]
            say(f"{about}: {said_of(entries[number])}{left(later, entries)}")
            content = write_table(table, entries, file, out)
    return content


def attempt(cell: Cell, about: str, asked: threading.Event, file: Path) -> dict[str, Any]:
    """Make a cell; its entry says what came out, or why nothing did."""
    try:
        make(cell, about, asked)
    except StoppedError as error:
        said = str(error).partition("; nothing is lost")[0]
        goes = f"`protolens table {place_of(file)}` goes on there"
        raise StoppedError(f"{about}: {said}; nothing is lost, {goes}") from None
    except ProtolensError as error:
        return entry_of(cell, str(error))
    except Exception as error:  # the other cells are worth their hours
        return entry_of(cell, f"unexpected {type(error).__name__} ({first_line(error)})")
    return entry_of(cell)


def make(cell: Cell, about: str, asked: threading.Event) -> None:
    """Leave a finished, evaluated and measured run in the cell's folder, whatever of it is there already."""
    if not (cell.folder / "run.json").exists():
        say(f"{about}: {'converting' if cell.to else 'training'}")
    if cell.source is None or cell.to is None:
        config, where = cell.config()
        run = fit_or_keep(config, cell.folder, where=where)
    elif not (cell.source / "run.json").exists():
        raise ProtolensError(f"{place_of(cell.source)} is not there to be converted")
    else:
        run = convert_or_keep(cell.source, cell.folder, cell.changes, to=cell.to)
    if asked.is_set():
        raise StoppedError("stopped before the evaluation")
    if not is_comparable(run):
        say(f"{about}: evaluating")
        evaluate(run, again=True)
        write_report(run)
    for kind in lacking(run, cell.measures):
        if asked.is_set():
            break
        say(f"{about}: measuring {kind}")
        measure(run, kind, cell.measures)
    if asked.is_set():
        raise StoppedError("stopped after the evaluation")


def is_done(cell: Cell) -> bool:
    """Whether the cell's run is finished with these settings, evaluated so that it can be compared, and measured."""
    if not (cell.folder / "run.json").exists():
        return False
    try:
        run = Run.open(cell.folder)
        if cell.source is None or cell.to is None:
            refuse_other_settings(run, *cell.config())
        else:
            refuse_other_settings(run, *conversion(cell.source, cell.changes, cell.to))
        return is_comparable(run) and not lacking(run, cell.measures)
    except ProtolensError:
        return False


def entry_of(cell: Cell, error: str | None = None) -> dict[str, Any]:
    """What the table says of a cell; None for what a run made by an older version does not tell."""
    done = error is None and is_done(cell)
    entry: dict[str, Any] = {
        "recipe": cell.label,
        "data": cell.data,
        "seed": cell.seed,
        "run": place_of(cell.folder),
        "state": "failed" if error else "done" if done else "waiting",
        "error": error,
    }
    return entry | (history_of(Run.open(cell.folder), cell.measures.kinds) if done else {})


def history_of(run: Run, kinds: Sequence[str]) -> dict[str, Any]:
    """What made a run and its evaluation, and how long both took. kinds: of measurements that are part of it."""
    made, evaluation = run.facts["made_with"], run.evaluation or {}
    told = [content["seconds"] for kind in kinds for content in [run.told(f"{kind}.json")] if content]
    seconds = evaluation.get("seconds")
    commit = made.get("commit")
    with suppress(OSError):
        # scripts that came before wrote it beside the run
        commit = commit or (run.folder / "commit").read_text(encoding="utf-8").strip()
    return {
        "model": run.digest,
        "images": evaluation.get("data"),
        "commit": commit,
        "versions": {name: made.get(name) for name in OF_VERSIONS},
        "hardware": {name: made.get(name) for name in OF_HARDWARE},
        "seconds": {"training": run.facts.get("seconds"), "evaluation": seconds and seconds + sum(told)},
        "evaluated_with": evaluation.get("made_with"),
    }


def said_of(entry: Mapping[str, Any]) -> str:
    """What came out of a cell in a few words."""
    if entry["error"]:
        return f"failed ({entry['error']})"
    training, evaluation = (entry["seconds"][name] for name in ("training", "evaluation"))
    return f"done; it took {duration(training)} to make and {duration(evaluation)} to evaluate"


def left(cells: Sequence[Cell], entries: Sequence[Mapping[str, Any]]) -> str:
    """How many cells are to come, and how long they may take by what cells like them took."""
    done = [entry for entry in entries if entry["state"] == "done"]
    if not cells or not done:
        return f"; {len(cells)} left" * bool(cells)
    return f"; {len(cells)} left, some {duration(sum(seconds_of(cell, done) for cell in cells))}"


def seconds_of(cell: Cell, done: Sequence[Mapping[str, Any]]) -> float:
    """What cells of the same row took on average, or all where there is none as yet; a finished run is not made."""
    parts = ("evaluation",) if (cell.folder / "run.json").exists() else ("training", "evaluation")
    alike = [entry for entry in done if entry["recipe"] == cell.label and entry["data"] == cell.data]
    return mean(sum(entry["seconds"][part] or 0.0 for part in parts) for entry in alike or done)


def say(sentence: str) -> None:
    """A line of progress on standard error."""
    print(sentence, file=sys.stderr, flush=True)
