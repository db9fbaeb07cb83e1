"""What the page asks of several rooms at once: comparisons, confusions, benches where models are edited."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from protolens.editing import Workbench, edit_from, save_edited
from protolens.errors import ProtolensError
from protolens.evaluation import compare
from protolens.report import write_report
from protolens.report.compared import answer, groups_of, verdicts
from protolens.report.compared import plane as plane_of_kinds
from protolens.serve.exhibit import Exhibit
from protolens.serve.jobs import Job, Jobs
from protolens.serve.maps import Maps
from protolens.serve.shelf import Shelf
from protolens.serve.showing import of_consequences, of_run
from protolens.train import class_number, classes_said, classes_shown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_EDITS = 2000


class Asking:
    """The shelf, and what is made of it while the server runs."""

    def __init__(self, shelf: Shelf):
        self.shelf, self.maps = shelf, Maps()
        self.jobs = Jobs(("maps", "long"))
        self.benches: dict[str, Workbench] = {}

    def class_of(self, exhibit: Exhibit, split: str, index: str, target: str | None) -> int:
        """The class to explain: the one that is named, else the likeliest. Raises ProtolensError for an unknown one."""
        named = class_number(target, exhibit.task.classes)
        if named is not None:
            return named
        return exhibit.task.classes.index(exhibit.explain(split, index, None).explained)

    def logits_beside(self, exhibit: Exhibit, other: str, split: str) -> Tensor:
        """What another run says of the same images. Raises ProtolensError where they are not the same."""
        beside = self.shelf.find(other)
        if beside.images(split).digest != exhibit.images(split).digest:
            raise ProtolensError(f"{other} was made with other {split} images than {exhibit.name}")
        return beside.logits(split)

    def confusion(self, exhibit: Exhibit, split: str) -> dict[str, Any]:
        """How many images of each class are given each, [K][K]; for several classes an image, what is said of each."""
        split = split or exhibit.splits[0]
        labels, logits, several = exhibit.images(split).labels, exhibit.logits(split), exhibit.task.several
        said, shown = classes_said(logits, several), classes_shown(labels, logits.shape[1])
        table = shown.double().T @ said.double()
        right = (said == shown).all(dim=1)
        return {
            "split": split,
            "classes": list(exhibit.task.classes),
            "table": table.long().tolist(),
            "images": len(labels),
            "right": int(right.sum()),
        }

    def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """The table of the predicates, and verdicts in plain sentences. Raises ProtolensError as `compare` does."""
        found = compare([self.shelf.find(name).run for name in names])
        chart, (to_read, others) = plane_of_kinds(found), verdicts(found)
        return {
            "answer": answer(found),
            "images": found["images"],
            "pairs": to_read,
            "others": others,
            "groups": [
                {
                    "question": group["question"],
                    "measured": group["measured"],
                    "columns": [{"head": column.head, "about": column.about} for column in group["columns"]],
                    "rows": [{"name": name, "cells": cells} for name, cells in group["rows"]],
                }
                for group in groups_of(found)
            ],
            "plane": chart and {"title": chart.title, "svg": str(chart.svg), "words": chart.words},
        }

    def open_bench(self, exhibit: Exhibit) -> Job:
        """Begin to look at the validation images, so that edits can be tried."""

        def work(job: Job) -> dict[str, Any]:
            bench = Workbench.open(exhibit.run, step=job.step, data=exhibit.data)
            self.benches[exhibit.name] = bench
            return {"can": dict(bench.can), "images": len(bench.labels), "caution": bench.caution}

        return self.jobs.start("long", ("bench", exhibit.name), "a look at the validation images", work)

    def bench(self, exhibit: Exhibit) -> Workbench:
        """Where the run is edited. Raises ProtolensError before it was opened."""
        if exhibit.name not in self.benches:
            raise ProtolensError("the validation images have not been looked at yet; open the page's editor first")
        return self.benches[exhibit.name]

    def consequences(self, exhibit: Exhibit, edits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What edits would do to the decisions on validation images."""
        return of_consequences(self.bench(exhibit).consequences(read_edits(edits)))

    def consequences_later(self, exhibit: Exhibit, edits: Sequence[Mapping[str, Any]]) -> Job:
        """The same in the background, for edits that have the model look at all images again."""
        bench, chosen = self.bench(exhibit), read_edits(edits)

        def work(job: Job) -> dict[str, Any]:
            return of_consequences(bench.consequences(chosen, step=job.step))

        return self.jobs.start("long", ("edit", exhibit.name, tuple(chosen)), "a look at the validation images", work)

    def save(self, exhibit: Exhibit, edits: Sequence[Mapping[str, Any]], name: object) -> Job:
        """Begin to write the edited model as a run beside the one that it came from; it joins the page."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ProtolensError("name the new run with letters, digits, dots, dashes and underscores, at most 64")
        chosen, folder = read_edits(edits), exhibit.run.folder.resolve().parent / name
        if not chosen:
            raise ProtolensError("nothing was edited; switch a prototype off or move one first")
        if folder.exists():
            raise ProtolensError(f"there is a folder {name} already; choose another name")

        bench = self.bench(exhibit)

        def work(job: Job) -> dict[str, Any]:
            saved = save_edited(exhibit.run, chosen, folder, bench=bench, step=job.step)
            write_report(saved)
            return of_run(self.shelf.add(saved))

        return self.jobs.start("long", ("save", str(folder)), f"saving {name}", work)


def read_edits(entries: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Edits as the page sends them. Raises ProtolensError for one that is none."""
    if len(entries) > MOST_EDITS:
        raise ProtolensError(f"{len(entries):,} edits are too many; at most {MOST_EDITS:,}")
    return [edit_from(entry) for entry in entries]
