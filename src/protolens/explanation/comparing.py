"""The same decisions as several methods see them: a map of each image by each method."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from protolens.attribution import attribute, check_methods
from protolens.config import seed_of
from protolens.data import Images, open_data, to_float
from protolens.explanation.local import Subject, open_files
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import Run, class_number, class_probabilities, classes_said, in_words
from protolens.train.device import keep_freed_memory
from protolens.train.progress import Narrator

IMAGES_AT_ONCE = 16
EACH = 3  # images of a class, as in seeds/003


@dataclass(frozen=True)
class Comparison:
    """Images, what the model says of them, and the maps of each method for the class that is explained."""

    subjects: tuple[Subject, ...]
    pixels: Tensor  # [B, C, H, W] uint8
    predicted: tuple[str, ...]
    explained: tuple[str, ...]
    probability: tuple[float, ...]  # of the explained class
    maps: Mapping[str, Tensor]  # by method, [B, H, W]
    seconds: Mapping[str, float]  # that each method took for all images
    seed: int
    each: int  # images of a class that were drawn from validation; 0 for files
    options: Mapping[str, Mapping[str, Any]]  # of methods, by name


def compare_methods(
    run: Run | Path | str,
    methods: Sequence[str],
    images: Sequence[Path | str] = (),
    each: int = EACH,
    seed: int = 0,
    target: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Comparison:
    """Maps of image files, or of validation images drawn by the seed, by several methods.

    methods: names of METHODS; each: images of each class, where no files are given; target: the class to explain, else
    each image's likeliest; options: of methods, by name. Raises ProtolensError for an unknown method or class.
    """
    run = Run.open(run)
    methods = check_methods(methods)
    if run.config.train.keep_memory:
        keep_freed_memory()
    model = run.model()
    classes = model.task.classes
    asked = class_number(target, classes)
    if images:
        subjects, pixels = open_files(images, model.task)
    else:
        subjects, pixels = drawn_of_each(open_data(run.config.data).validation, classes, each, seed)
    targets = None if asked is None else torch.full((len(subjects),), asked)
    return compared(model, subjects, pixels, methods, targets, seed, options, 0 if images else each)


def compared(
    model: PrototypeModel,
    subjects: Sequence[Subject],
    pixels: Tensor,
    methods: Sequence[str],
    targets: Tensor | None = None,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    each: int = 0,
) -> Comparison:
    """Maps of images by several methods.

    pixels: [B, C, H, W] uint8; targets: [B], the class of each image to explain, else its likeliest; each: images of a
    class, where they were drawn.
    """
    classes, floats = model.task.classes, to_float(pixels, model.device)
    with torch.no_grad(), evaluation_mode(model):
        logits = torch.cat([model(part) for part in floats.split(IMAGES_AT_ONCE)]).cpu()
    targets = logits.argmax(dim=1) if targets is None else targets
    probabilities = class_probabilities(logits, model.task.several)
    maps, seconds = _maps(model, methods, floats, targets, seed, options or {})
    return Comparison(
        tuple(subjects),
        pixels,
        tuple(in_words(said, classes) for said in classes_said(logits, model.task.several)),
        tuple(classes[number] for number in targets.tolist()),
        tuple(probabilities.gather(1, targets[:, None])[:, 0].tolist()),
        maps,
        seconds,
        seed,
        each,
        options or {},
    )


def drawn_of_each(images: Images, classes: Sequence[str], each: int, seed: int) -> tuple[list[Subject], Tensor]:
    """So many images of each class, drawn by the seed and in the classes' order, or all that show it."""
    rows = []
    for number in range(len(classes)):
        shows = images.labels == number if images.labels.ndim == 1 else images.labels[:, number] == 1
        there = shows.nonzero().flatten()
        order = torch.randperm(len(there), generator=Generator().manual_seed(seed_of(seed, "comparison", number)))
        rows.append(there[order[:each]])
    chosen = torch.cat(rows)
    labels = images.labels[chosen]
    shown = labels == 1 if labels.ndim == 2 else F.one_hot(labels, len(classes)) == 1
    said = [in_words(row, classes) for row in shown]
    names = [images.names[int(row)] for row in chosen]
    found = zip(names, chosen.tolist(), said, strict=True)
    return [Subject(name, row, label) for name, row, label in found], images.take(chosen)


def _maps(
    model: PrototypeModel,
    methods: Sequence[str],
    images: Tensor,
    targets: Tensor,
    seed: int,
    options: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Tensor], dict[str, float]]:
    maps, seconds = {}, {}
    parts = list(torch.arange(len(images)).split(IMAGES_AT_ONCE))
    with Narrator(True) as narrator, narrator.counting("maps, part", len(methods) * len(parts)) as step:
        for method in methods:
            begun, found = time.monotonic(), []
            for part in parts:
                asked = (images[part], targets[part], method, seed)
                found.append(attribute(model, *asked, **options.get(method, {})).cpu())
                step()
            maps[method], seconds[method] = torch.cat(found), time.monotonic() - begun
    return maps, seconds
