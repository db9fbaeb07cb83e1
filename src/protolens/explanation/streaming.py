"""A whole set explained into Parquet shards: by any number of processes, and on from where a killed job was.

A shard covers a fixed range of image numbers, explained in fixed batches: any number of processes makes the same rows.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.attribution import attribute, check_methods
from protolens.config import DataConfig, Task
from protolens.data import Images, open_data, open_whole, to_float
from protolens.errors import ProtolensError, did_you_mean, first_line
from protolens.explanation.comparing import IMAGES_AT_ONCE
from protolens.models import PrototypeModel, evaluation_mode, identity
from protolens.shards import Column, Shard, is_whole, pyarrow, write_columns
from protolens.train import (
    Run,
    assemble,
    batch_for,
    class_number,
    class_probabilities,
    classes_said,
    classes_shown,
    in_words,
    refuse_other_images,
)
from protolens.train.device import keep_freed_memory
from protolens.train.loop import stop_politely
from protolens.train.progress import Narrator
from protolens.train.watching import Watch

IMAGES_OF_A_SHARD = 1024
SPLITS = ("training", "validation")  # of a run's own data, that may be explained


@dataclass(frozen=True)
class Explained:
    """What `explain_set` left in a folder. made: of the shards, those that were not there already."""

    folder: Path
    shards: int
    rows: int
    made: int


@dataclass(frozen=True)
class Question:
    """What is asked of each image. target: number of the class to explain, else the likeliest; options: of methods."""

    model: PrototypeModel
    target: int | None
    methods: tuple[str, ...]
    seed: int
    options: Mapping[str, Mapping[str, Any]]

    def batch_for(self, images: Images) -> int:
        """How many images are explained together."""
        return IMAGES_AT_ONCE if self.methods else batch_for(images)

    @torch.no_grad()
    def answer(self, pixels: Tensor) -> dict[str, Tensor]:
        """What shards tell of a batch in numbers, on the CPU. pixels: [B, C, H, W] uint8; returns columns of B rows."""
        model, images = self.model, to_float(pixels, self.model.device)
        rows = torch.arange(len(pixels), device=model.device)
        evidence = model.evidence(images)
        logits, similarity = evidence.logits, evidence.similarity
        explained = logits.argmax(dim=1) if self.target is None else torch.full_like(rows, self.target)
        found = {
            "explained": explained,
            "logits": logits,
            "similarity": similarity,
            "contributions": similarity * model.weights_for(evidence)[rows, :, explained],
            "bias": model.bias()[explained],
            "nearest": similarity.argmax(dim=1),
        }
        for method in self.methods:
            maps = attribute(model, images, explained, method, self.seed, **self.options.get(method, {}))
            found[f"map_{method}".replace("-", "_")] = maps.flatten(1)
        return {name: column.cpu() for name, column in found.items()}


@dataclass(frozen=True)
class Part:
    """A shard and what it is made of: images of a split; first: number of the split's first image in the whole set.

    classes: what the set's own labels stand for, none where it has no labels.
    """

    shard: Shard
    images: Images
    first: int
    classes: tuple[str, ...]

    def columns(self, task: Task, found: Mapping[str, Tensor]) -> dict[str, Column]:
        """All columns of the shard. found: the answers about its images, in order."""
        rows, logits, explained = self.shard.images, found["logits"], found["explained"]
        probability = class_probabilities(logits, task.several).gather(1, explained[:, None])[:, 0]
        return {
            "number": self.first + rows,
            "name": names_of(self.images, rows),
            "label": labels_of(self.images, rows, self.classes),
            "predicted": [in_words(said, task.classes) for said in classes_said(logits, task.several)],
            "explained": [task.classes[number] for number in explained.tolist()],
            "probability": probability,
            **{name: column for name, column in found.items() if name != "explained"},
        }


def explain_set(
    run: Run | Path | str,
    data: str,
    folder: Path | str,
    split: str | None = None,
    methods: Sequence[str] = (),
    seed: int = 0,
    target: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    shard: int = IMAGES_OF_A_SHARD,
    device: str = "auto",
    data_root: str | None = None,
    skip_unreadable: bool = False,
) -> Explained:
    """Explain all images of a set, a row each, in FOLDER/00000.parquet and so on; torchrun shares the work.

    A row holds number and name of the image, its label (none for a folder without classes) and what the model says, in
    words; the class that is explained and its probability; logits [K]; similarity and contributions to that class, [P]
    each, which with the bias sum to its logit; the nearest prototype; and for each method a map [H * W]. The schema's
    metadata say height, width, classes, and what the shard was made from: whole shards made from the same stay.

    data: a set by its name, or folder:PATH, with or without classes; split: validation (if not given) or training of
    the run's own set, of another one a split that it brings, else all images; methods, options: as for
    `compare_methods`; target: the class to explain, else each image's likeliest; shard: images of a full shard, which
    are held in memory. Raises ProtolensError for what cannot be explained, the test images of the run among it, and
    StoppedError when asked to stop.
    """
    run, folder = Run.open(run), Path(folder)
    pyarrow()
    if shard < 1:
        raise ProtolensError(f"shard is {shard}; a shard needs one image at least")
    methods = check_methods(methods)
    with stop_politely() as asked_to_stop, assemble(device) as team, Narrator(team.leads) as narrator:
        if run.config.train.keep_memory and team.device.type == "cpu":
            keep_freed_memory()
        model = run.model().to(team.device)
        asked = class_number(target, model.task.classes)
        question = Question(model, asked, methods, seed, options or {})
        origin = made_from(question, target)
        own = run.config.data
        skip = skip_unreadable or own.skip_unreadable
        config = replace(own, root=data_root or own.root, skip_unreadable=skip)
        splits, classes, notes = images_of(run, config, data, split, model.task)
        for note in notes:
            narrator.say(note)
        parts = parts_of(splits, classes, folder, shard, origin)
        refuse_others(folder, parts)
        if team.leads:  # no other process writes before they all begin
            remove_halves(folder)
        missing = [part for part in parts[team.rank :: team.size] if not is_whole(part.shard)]
        make(question, missing, Watch(team, narrator, asked_to_stop))
        made = int(team.sum(torch.tensor(len(missing), device=team.device)))  # the others wait until all is written
    return Explained(folder, len(parts), sum(map(len, splits)), made)


def make(question: Question, missing: Sequence[Part], watch: Watch) -> None:
    """Write the missing shards of this process."""
    batches = [rows for part in missing for rows in part.shard.images.split(question.batch_for(part.images))]
    stopped = "stopped while images were explained; the same command goes on there"
    with evaluation_mode(question.model):
        answers = watch.over(answers_about(question, missing), len(batches), "explained, batch", stopped)
        for part in missing:
            some = part.shard.images.split(question.batch_for(part.images))
            found = [answer for _, answer in zip(some, answers, strict=False)]
            whole = {name: torch.cat([answer[name] for answer in found]) for name in found[0]}
            write_columns(part.shard, part.columns(question.model.task, whole), "zstd")
        for _ in answers:  # other processes may not be done
            pass


def answers_about(question: Question, missing: Sequence[Part]) -> Iterator[dict[str, Tensor]]:
    """The answers about each batch of each part; one reader goes through all images of a split."""
    for images in dict.fromkeys(part.images for part in missing):
        own = [part.shard.images for part in missing if part.images is images]
        size = question.batch_for(images)
        for pixels in images.batches(some for rows in own for some in rows.split(size)):
            yield question.answer(pixels)


def images_of(
    run: Run, config: DataConfig, name: str, split: str | None, task: Task
) -> tuple[list[Images], tuple[str, ...], tuple[str, ...]]:
    """The splits to explain, with the model's bands and size; the set's classes, if it has any; sentences to tell.

    Raises ProtolensError where the run's test images are among them, where they do not fit the model, and where they
    cannot be opened.
    """
    if is_same(name, config.name):
        return own_images(run, config, split)
    size = task.height if task.height == task.width else None
    source = open_whole(replace(config, name=name, size=size, bands=task.bands))
    if split is not None and split not in source.parts:
        raise ProtolensError(f"{name} brings no split {split}; leave --split out to explain all its images")
    splits = [source.parts[known] for known in (*SPLITS, "test") if known in source.parts and split in (known, None)]
    for images in splits:
        if images.shape != (task.bands, *task.size):
            have, want = (f"{height} x {width}" for height, width in (images.shape[1:], task.size))
            raise ProtolensError(
                f"{name} gives images of {have} pixels, but this model takes {want}; bring such images"
            )
        if images.digest == run.facts["data"]["splits"]["test"]["digest"]:
            raise test_refused(run)
    if not any(map(len, splits)):
        raise ProtolensError(f"{name} has no image that can be read; add some")
    return splits, source.classes, source.notes


def is_same(name: str, other: str) -> bool:
    """Whether both names stand for one set, also where they are different ways to one folder."""
    (kind, colon, path), (other_kind, _, other_path) = name.partition(":"), other.partition(":")
    if name == other or kind != other_kind or not colon:
        return name == other
    return Path(path).expanduser().resolve() == Path(other_path).expanduser().resolve()


def own_images(
    run: Run, config: DataConfig, split: str | None
) -> tuple[list[Images], tuple[str, ...], tuple[str, ...]]:
    """The same of the data that the run was made with: a split that explaining may read."""
    if split == "test":
        raise test_refused(run)
    if split is not None and split not in SPLITS:
        raise ProtolensError(f"{split} is not a split{did_you_mean(split, SPLITS)}")
    data = open_data(config)
    refuse_other_images(run, data)
    return [data.training if split == "training" else data.validation], data.task.classes, ()


def test_refused(run: Run) -> ProtolensError:
    """The sentence for images that have to stay unseen."""
    return ProtolensError(
        f"these are the test images of {run.folder}, which only evaluate reads; "
        "explain its validation or training images, or others"
    )


def made_from(question: Question, target: str | None) -> dict[str, str]:
    """What decides the rows beside the images, and how to read them. Raises ProtolensError for options of no JSON."""
    task = question.model.task
    methods = [[method, question.options.get(method, {})] for method in question.methods]
    try:
        asked = {"methods": json.dumps(methods, sort_keys=True), "seed": str(question.seed), "target": target or ""}
    except TypeError as error:
        raise ProtolensError(f"options of methods have to be numbers and words here ({first_line(error)})") from None
    shape = {"classes": json.dumps(task.classes), "height": str(task.height), "width": str(task.width)}
    return {**identity(question.model), **asked, **shape}


def parts_of(
    splits: Sequence[Images], classes: tuple[str, ...], folder: Path, size: int, origin: Mapping[str, str]
) -> list[Part]:
    """The shards of all splits, one after the other. size: images of a full shard; origin: what all are made from."""
    parts: list[Part] = []
    for images, first in zip(splits, accumulate(map(len, splits), initial=0), strict=False):
        for rows in torch.arange(len(images)).split(size):
            said = json.dumps([names_of(images, rows), labels_of(images, rows, classes)]).encode()
            own = {
                "images": f"{first + int(rows[0])} to {first + int(rows[-1])}",
                "data": hashlib.sha256(images.hashes[rows.numpy()].tobytes() + said).hexdigest(),
            }
            shard = Shard(folder / f"{len(parts):05d}.parquet", rows, {**origin, **own})
            parts.append(Part(shard, images, first, classes))
    return parts


def names_of(images: Images, rows: Tensor) -> list[str]:
    """What people call the images with these numbers, [n]."""
    return [images.names[row] for row in rows.tolist()]


def labels_of(images: Images, rows: Tensor, classes: tuple[str, ...]) -> list[str | None]:
    """What the images with these numbers, [n], show, in words; None where a set has no classes."""
    if not classes:
        return [None] * len(rows)
    return [in_words(shown, classes) for shown in classes_shown(images.labels[rows], len(classes))]


def refuse_others(folder: Path, parts: Sequence[Part]) -> None:
    """Raise ProtolensError at a shard in the folder that is none of these: a reader would take it for one."""
    own = {part.shard.path for part in parts}
    for path in sorted(folder.glob("*.parquet")):
        if path not in own:
            raise ProtolensError(f"{path} is no shard of this set; remove it, or choose another --out")


def remove_halves(folder: Path) -> None:
    """Remove what a killed job left half written."""
    for path in folder.glob(".*.parquet.*.part"):
        path.unlink(missing_ok=True)
