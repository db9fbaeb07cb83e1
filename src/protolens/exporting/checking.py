"""Whether an ONNX file gives what the model gives: both are run on the same images.

Two kinds of arithmetic never agree to the last bit. What counts is set beside the values themselves, and beside what
the model's own single precision loses against double precision: where a prototype lies on a patch, a distance of nearly
nothing decides, and PyTorch itself is off by more than elsewhere.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from protolens.config import seed_of
from protolens.data import open_data, to_float, without_downloads
from protolens.errors import ProtolensError
from protolens.exporting.graph import INPUT, Outputs
from protolens.models import PrototypeModel
from protolens.train import Run

SIZES = (1, 32)  # images at a time
COUNT = sum(SIZES)
ROUNDS = 4  # of so many images, in search of those whose choices do not hang on rounding
SHARE = 1e-4  # of the largest value of an entry that two arithmetics may differ by
OWN = 4  # times what PyTorch's single precision is off by, where that is more
MOST = 1e-2  # of the largest value, whatever PyTorch is off by
LEAST = 1e-6  # below which no difference counts
TOLERANCE = (
    f"{SHARE:g} of the largest value that the same logit, similarity, contribution or place of a map has over the "
    f"images; where PyTorch's single precision loses more of the output, {OWN} times that, at most {MOST:g}"
)


@dataclass(frozen=True)
class Subject:
    """The images that both are run on: `draw` gives those of a round, [n, C, H, W] in [0, 1]; n may be 0."""

    words: str
    draw: Callable[[int], Tensor]
    why: str = ""  # there are no images of the run


@dataclass(frozen=True)
class Difference:
    """Of one output. largest: absolute, over all images; allowed: where the difference is nearest to it."""

    largest: float
    allowed: float
    share: float  # largest share of what is allowed at the same entry; above 1 it is too much


def subject_of(run: Run) -> Subject:
    """Validation images of the run, drawn by its seed, where they are there; else random ones. None are downloaded."""
    task, seed = run.facts["data"], seed_of(run.config.seed, "export")
    try:
        with without_downloads():
            images = open_data(run.config.data).validation
        if images.digest != task["splits"]["validation"]["digest"]:
            raise ProtolensError(f"the validation images of {task['name']} are not those of the run")
    except ProtolensError as error:
        shape = (COUNT, task["bands"], task["height"], task["width"])
        return Subject(
            "random images",
            lambda number: torch.rand(shape, generator=Generator().manual_seed(seed_of(seed, number))),
            str(error),
        )
    order = torch.randperm(len(images), generator=Generator().manual_seed(seed))

    def draw(number: int) -> Tensor:
        rows = order[number * COUNT : (number + 1) * COUNT]
        return to_float(images.take(rows.sort().values), "cpu") if len(rows) else torch.empty(0)

    return Subject("validation images", draw)


@torch.no_grad()
def check(content: bytes, model: PrototypeModel, subject: Subject) -> tuple[dict[str, Difference], dict[str, Any]]:
    """How far the outputs of an ONNX file are from those of the model, by name; and what they were compared on.

    Images that hang on rounding are passed over, where there are others: two prototypes may be so equally near that
    either arithmetic is right to choose another one.
    """
    exact = in_double(model)
    images, passed = well_decided(model, exact, subject)
    hang = not len(images)
    if hang:
        images = subject.draw(0)
    session, outputs = open_session(content), Outputs(model)
    ours: dict[str, list[Tensor]] = {}
    theirs: dict[str, list[Tensor]] = {}
    truth: dict[str, list[Tensor]] = {}
    start = 0
    for size in SIZES:
        batch = images[torch.arange(start, start + size) % len(images)]
        start += size
        for name, value in outputs.named(batch).items():
            ours.setdefault(name, []).append(value)
        for name, value in zip(ours, session.run(list(ours), {INPUT: batch.numpy()}), strict=True):
            theirs.setdefault(name, []).append(torch.from_numpy(value))
        for name, value in (Outputs(exact).named(batch.double()) if exact else {}).items():
            truth.setdefault(name, []).append(value)
    found = {
        name: difference(torch.cat(own), torch.cat(theirs[name]), torch.cat(truth[name]) if exact else None)
        for name, own in ours.items()
    }
    about = {"images": min(COUNT, len(images)), "of": subject.words, "why": subject.why, "batches": list(SIZES)}
    return found, about | {"passed_over": 0 if hang else passed, "hang_on_rounding": len(images) if hang else 0}


def difference(ours: Tensor, theirs: Tensor, truth: Tensor | None) -> Difference:
    """Between the outputs of two arithmetics for N images, [N, ...]; truth: in double precision.

    Each entry, such as the logit of a class, is held against its own largest value over the images: the logit of a
    class that is never chosen is far larger than others.
    """
    ours, theirs = (values.double().flatten(1) for values in (ours, theirs))
    apart = gap(ours, theirs)
    scale = ours.nan_to_num(0, 0, 0).abs().amax(dim=0)
    allowed = SHARE * scale
    if truth is not None:
        own = gap(ours, truth.flatten(1)).max()
        allowed = torch.maximum(allowed, (OWN * own).minimum(MOST * scale))
    shares = apart.amax(dim=0) / (allowed + LEAST)
    worst = int(shares.argmax())
    return Difference(float(apart.max()), float(allowed[worst]) + LEAST, float(shares[worst]))


def gap(first: Tensor, second: Tensor) -> Tensor:
    """Absolute differences; 0 where both are the same infinity or no number, infinite where only one is."""
    same = (first == second) | (first.isnan() & second.isnan())
    return (first - second).abs().nan_to_num(torch.inf, torch.inf).masked_fill(same, 0.0)


def well_decided(model: PrototypeModel, exact: PrototypeModel | None, subject: Subject) -> tuple[Tensor, int]:
    """Images on which no choice of the head hangs on rounding, up to COUNT, and how many were passed over.

    Where all that were drawn hang on it, none: [0, C, H, W].
    """
    kept, passed = subject.draw(0)[:0], 0
    for number in range(ROUNDS):
        batch = subject.draw(number) if len(kept) < COUNT else kept[:0]
        if not len(batch):
            break
        sure = decided(model, exact, batch)
        kept, passed = torch.cat([kept, batch[sure]])[:COUNT], passed + int((~sure).sum())
    return kept, passed


def decided(model: PrototypeModel, exact: PrototypeModel | None, images: Tensor) -> Tensor:
    """Whether each choice of the head is decided by more than single precision loses, [B]."""
    found = model.candidates(model.evidence(images))
    if found is None or found.shape[2] < 2:
        return torch.ones(len(images), dtype=torch.bool)
    lost = LEAST * found.nan_to_num(0, 0, 0).abs().amax(dim=(1, 2))[:, None]  # [B, 1]
    if exact is not None:
        truth = exact.candidates(exact.evidence(images.double()))
        assert truth is not None
        lost = torch.maximum(lost, gap(found.double(), truth).amax(dim=2))
    best = found.topk(2, dim=2).values
    # a class without prototypes chooses nothing: inf less inf is no number
    lead = (best[:, :, 0] - best[:, :, 1]).nan_to_num(torch.inf, torch.inf)
    return (lead > OWN * lost).all(dim=1)


def in_double(model: PrototypeModel) -> PrototypeModel | None:
    """A copy that computes in double precision; None for a network of one's own that cannot."""
    exact = copy.deepcopy(model).double()
    task = model.task
    try:
        exact(torch.zeros(1, task.bands, *task.size, dtype=torch.float64))
    except RuntimeError:
        return None
    return exact


def open_session(content: bytes) -> Any:
    """The file in onnxruntime, on the CPU, without its remarks."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
