"""A finished run on the bench: its validation images are looked at once, and then edits tell their price at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from protolens.config import Box
from protolens.data import Batch, DataSet, Images, open_data, plain_batches
from protolens.editing.applying import Plan, edited_model, lightly_edited, plan_of, reasons_not_to
from protolens.editing.consequences import Consequences, compare_logits
from protolens.editing.edits import Edit, Forbid
from protolens.models import PrototypeModel, evaluation_mode
from protolens.nn import medians
from protolens.train import Run, batch_for, is_uneven, refuse_other_images
from protolens.train.device import choose_device

Step = Callable[[float], None]
"""Is told the share of the work that is done, 0 to 1; may raise to stop it."""
LARGEST = 1 << 28  # numbers that are kept of all images together: 1 GiB
AT_ONCE = 1 << 20  # of them that are decided by together


@dataclass(frozen=True)
class Workbench:
    """A run, its model, and what the model's head knows of the validation images.

    can: for each kind of edit ("off", "move", "forbid") why this model cannot have it, empty where it can; base: logits
    of the model as it is, [N, K]; seen: what the head decides by, of `PrototypeModel.basis`, on the CPU, or None where
    that is too much to keep.
    """

    run: Run
    model: PrototypeModel
    data: DataSet
    can: dict[str, str]
    base: Tensor
    seen: Tensor | None
    _fills: list[Tensor] = field(default_factory=list)  # of `fill`, once somebody has asked
    _views: dict[tuple[Box, ...], Tensor] = field(default_factory=dict)  # `seen` without some regions: the latest one

    @classmethod
    def open(cls, run: Run, device: str = "cpu", step: Step | None = None, data: DataSet | None = None) -> "Workbench":
        """Look at every validation image once.

        device: auto, cpu, cuda, cuda:N or mps; step: is told how far that is; data: the run's, where they are open
        already. Raises ProtolensError where the images are not those that the run was made with.
        """
        if data is None:
            data = open_data(run.config.data)
        refuse_other_images(run, data)
        model = run.model().to(choose_device(device))
        seen, base = look(model, data.validation, step)
        return cls(run, model, data, reasons_not_to(model), base, seen)

    @property
    def images(self) -> Images:
        """The validation images."""
        return self.data.validation

    @property
    def labels(self) -> Tensor:
        """Their labels, [N] or [N, K]."""
        return self.data.validation.labels

    @property
    def looks_again(self) -> str:
        """Why each change takes a while, in a sentence; empty where only those of forbidden regions do."""
        if self.seen is not None:
            return ""
        return f"What {self.model.name} decides by is too much to keep: each change looks at all images again."

    @property
    def caution(self) -> str:
        """What to know before a prototype is switched off, in a sentence; empty where it goes without saying."""
        of_distances = self.seen is not None and bool((self.seen <= 0).all()) and bool((self.seen < 0).any())
        if self.can["off"] or not self.model.linear or not of_distances:
            return ""
        return (
            f"{self.model.name} adds up distances: without a prototype all images count as equal to it, so that "
            "switching off one that is like no image can change much."
        )

    def fill(self, step: Step | None = None) -> Tensor:
        """What takes the place of forbidden pixels, [C]: the median of all training images, looked at once."""
        if self.model.hidden is not None:
            return self.model.hidden.fill.cpu()
        if not self._fills:
            training = self.data.training
            batches = plain_batches(training, batch_for(training), "cpu")
            self._fills.append(medians(told(batches, len(training), step)))
        return self._fills[0]

    def consequences(self, edits: Sequence[Edit], step: Step | None = None) -> Consequences:
        """What these edits, all together, change on the validation images.

        step: is told how far that is where the images have to be looked at again. Raises ProtolensError at an edit that
        cannot be done.
        """
        after = self.logits(plan_of(self.model, edits), step)
        uneven = is_uneven(self.run.facts["data"])
        return compare_logits(self.base, after, self.labels, self.images.names, self.model.task, uneven=uneven)

    def edited(self, edits: Sequence[Edit]) -> PrototypeModel:
        """The edited model, on the same device. Raises ProtolensError as `consequences` does."""
        hides = any(isinstance(edit, Forbid) for edit in edits)
        return edited_model(self.model, edits, self.fill() if hides else None)

    def logits(self, plan: Plan, step: Step | None = None) -> Tensor:
        """What the edited model says of the validation images, [N, K] on the CPU."""
        fill = None
        if plan.boxes:
            known = bool(self._fills) or self.model.hidden is not None
            fill = self.fill(None if known else part_of(step, 0.0, 0.5))
            step = step if known else part_of(step, 0.5, 1.0)
        edited = lightly_edited(self.model, plan, fill)
        seen = self._view(plan.boxes, fill, step)
        if seen is None:
            return look(edited, self.images, step)[1]
        return decide(edited, seen, plan.kept)

    def _view(self, boxes: tuple[Box, ...], fill: Tensor | None, step: Step | None) -> Tensor | None:
        """`seen` as it is without these regions."""
        if not boxes or self.seen is None:
            return self.seen
        view = self._views.get(boxes)
        if view is None:
            whole = Plan(tuple(range(len(self.model.prototypes))), boxes=boxes)
            view, _ = look(lightly_edited(self.model, whole, fill), self.images, step)
            assert view is not None
            self._views.clear()
            self._views[boxes] = view
        return view


@torch.no_grad()
def look(model: PrototypeModel, images: Images, step: Step | None = None) -> tuple[Tensor | None, Tensor]:
    """All that a model's head knows of the images, [N, P] or [N, P, L], unless it is too much; and logits, [N, K]."""
    kept: list[Tensor] = []
    logits: list[Tensor] = []
    with evaluation_mode(model):
        for pixels in told(plain_batches(images, batch_for(images), model.device), len(images), step):
            basis = model.basis(pixels)
            if basis[0].numel() * len(images) <= LARGEST:
                kept.append(basis.cpu())
            logits.append(model.decide(basis).cpu())
    return torch.cat(kept) if kept else None, torch.cat(logits)


def told(batches: Iterable[Batch], images: int, step: Step | None) -> Iterator[Tensor]:
    """The pixels of batches; after each, which share of so many images was worked on."""
    done = 0
    for batch in batches:
        yield batch.images
        done += len(batch.images)
        if step is not None:
            step(done / images)


def part_of(step: Step | None, begin: float, end: float) -> Step | None:
    """What is told about a part of the work, from one share of the whole to another."""
    return None if step is None else lambda share: step(begin + (end - begin) * share)


@torch.no_grad()
def decide(model: PrototypeModel, seen: Tensor, kept: Sequence[int]) -> Tensor:
    """Logits of what a model's head knows of images, [N, K] on the CPU.

    seen: [N, P] or [N, P, L] on the CPU; kept: of the P prototypes those that the model has, in order.
    """
    columns, whole = torch.tensor(kept), len(kept) == seen.shape[1]
    logits = []
    with evaluation_mode(model):
        for part in seen.split(max(1, AT_ONCE // seen[0].numel())):
            chosen = part if whole else part.index_select(1, columns)
            logits.append(model.decide(chosen.to(model.device)).cpu())
    return torch.cat(logits)
