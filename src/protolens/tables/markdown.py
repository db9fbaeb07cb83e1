"""A table as a Markdown page: what was found by question, the verdicts, the goals, and what made each cell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from protolens.report.compared import answer, column_of, groups_of, of_others, verdicts
from protolens.report.numbers import NONE, counted
from protolens.train.progress import duration

DIRECTION = {1: "high is good", -1: "low is good", 0: "neither high nor low is good"}
UNKNOWN = "unknown"


def to_markdown(content: Mapping[str, Any], figures: Sequence[str], pages: Sequence[str]) -> str:
    """The page of what NAME.json holds. figures: dotted names of the columns, none for all; pages: of `compare`."""
    lines = [
        f"# {content['title']}",
        "",
        f"Written by `{content['made_by']}`. Mean ± sample standard deviation over seeds, on the test images, by which",
        "nothing was chosen. **Bold**: the best of a column, which need not be told apart from the next.",
        f"{NONE}: not defined, or there is no black box to hold it against. Runs that differ by their seed alone are",
        "of one kind; kinds are told apart when so large a difference would come by chance in fewer than 5 of 100",
        "cases, over other images and other seeds, with Holm's correction for the number of comparisons. Times are the",
        "wall clock's, of machines that other work may have shared.",
    ]
    for found, page in zip(content["comparisons"], pages, strict=True):
        lines += comparison(found, figures, page, level=2 if len(pages) == 1 else 3)
    lines += goals(content["rows"])
    lines += cells(content["cells"])
    return "\n".join(lines) + "\n"


def comparison(found: Mapping[str, Any], figures: Sequence[str], page: str, level: int) -> Iterator[str]:
    """The verdicts and a table a question, of runs on the same images."""
    head = "#" * level
    if level > 2:
        yield from ("", f"## {escaped(found['data'])}")
    images, runs = counted(found["images"], "test image"), sum(len(kind["runs"]) for kind in found["kinds"])
    yield from ("", f"{head} Which is more accurate?", "")
    yield f"{escaped(answer(found))} {counted(runs, 'run')} on {images} of {escaped(found['data'])}; [page]({page})."
    yield ""
    to_read, others = verdicts(found)
    for sentence in to_read:
        yield f"- {escaped(sentence)}"
    if others:
        yield from ("", of_others(others))
    for group in groups_of(found, figures):
        yield from ("", f"{head} {group['question']}", "")
        if group["measured"]:
            yield from (group["measured"], "")
        for column in group["columns"]:
            yield f"- {escaped(column.head)}: {escaped(column.about)}; {DIRECTION[column.better]}."
        yield ""
        yield from table(
            ["", *(column.head for column in group["columns"])],
            [[name, *map(text_of, own)] for name, own in group["rows"]],
        )


def text_of(cell: Mapping[str, Any]) -> str:
    """A mean and its spread, bold where it is the best."""
    said = f"**{cell['text']}**" if cell["best"] else cell["text"]
    return f"{said} {cell['spread']}".rstrip()


def goals(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was asked for, and whether it was reached."""
    asked = [row for row in rows if row["goal"] is not None]
    if not asked:
        return
    yield from ("", "## Goals", "")
    lines = []
    for row in asked:
        column = column_of(row["metric"])
        own = NONE if row["mean"] is None else column.write(row["mean"])
        met = {None: UNKNOWN, True: "yes", False: "**no**"}[row["met"]]
        bound = "at most" if column.better < 0 else "at least"
        lines.append([row["recipe"], row["data"], row["metric"], own, f"{bound} {column.write(row['goal'])}", met])
    yield from table(["", "data", "figure", "mean", "goal", "met"], lines)


def cells(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What made each run, when it is there, and why it is not."""
    yield from ("", "## Cells", "")
    yield "Commit, versions and hardware are those of the training or conversion; what a run of an older version did"
    yield "not record is unknown."
    yield ""
    done = [entry for entry in entries if entry["state"] == "done"]
    head = ["run", "seed", "commit", "protolens, torch, Python", "hardware", "training", "evaluation", "evaluated at"]
    yield from table(head, [line_of(entry) for entry in done])
    failed = [entry for entry in entries if entry["state"] == "failed"]
    if failed:
        yield from ("", "## Cells that failed", "")
        yield from (f"- `{entry['run']}`: {escaped(entry['error'])}" for entry in failed)
    waiting = [entry for entry in entries if entry["state"] == "waiting"]
    if waiting:
        yield from ("", f"{counted(len(waiting), 'cell')} still to be made: the same command goes on.")


def line_of(entry: Mapping[str, Any]) -> list[str]:
    """A cell that is done."""
    versions = " / ".join(str(value or UNKNOWN) for value in entry["versions"].values())
    times = (entry["seconds"][name] for name in ("training", "evaluation"))
    said = [UNKNOWN if seconds is None else duration(seconds) for seconds in times]
    evaluated = (entry["evaluated_with"] or {}).get("commit") or UNKNOWN
    place = [f"`{entry['run']}`", str(entry["seed"]), entry["commit"] or UNKNOWN]
    return [*place, versions, hardware(entry["hardware"]), *said, evaluated]


def hardware(made: Mapping[str, Any]) -> str:
    """The machine in words: a GPU if there was one, the processor, its cores, and what of them worked."""
    gpu = [made["device"]] if made["device"] not in (None, "cpu") else []
    processor = made["processor"] or f"{UNKNOWN} processor"
    cores = counted(made["cores"], "core") if made["cores"] else f"{UNKNOWN} cores"
    threads = [counted(made["threads"], "thread")] if made["threads"] else []
    processes = made["processes"] or 1
    several = [f"{processes} processes"] if processes > 1 else []
    return ", ".join([*gpu, processor, cores, *threads, *several])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(map(escaped, head))} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def escaped(text: str) -> str:
    """Text that ends no cell and opens no tag: classes and folders may be called anything."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
