"""A finished run on the bench: its validation images are looked at once, and then edits tell their price at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protolens.data import DataSet, Images, open_data, plain_batches
from protolens.editing.applying import Plan, lightly_edited, plan_of, reasons_not_to
from protolens.editing.consequences import Consequences, compare_logits
from protolens.editing.edits import Edit
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import Run, batch_for, is_uneven, refuse_other_images
from protolens.train.device import choose_device

Step = Callable[[float], None]
"""Is told the share of the work that is done, 0 to 1; may raise to stop it."""
LARGEST = 1 << 28  # numbers that are kept of all images together: 1 GiB
AT_ONCE = 1 << 22  # of them that are decided by together


@dataclass(frozen=True)
class Workbench:
    """A run, its model, and what the model's head knows of the validation images.

    can: for each kind of edit ("off", "move", "forbid") why this model cannot have it, empty where it can; base: logits
    of the model as it is, [N, K]; seen: what the head decides by, of `PrototypeModel.basis`, on the CPU, or None where
    that is too much to keep; looks_again: a sentence where it is, for then each change looks at the images again.
    """

    run: Run
    model: PrototypeModel
    data: DataSet
    can: dict[str, str]
    base: Tensor
    seen: Tensor | None

    @classmethod
    def open(cls, run: Run, device: str = "cpu", step: Step | None = None) -> "Workbench":
        """Look at every validation image once.

        device: auto, cpu, cuda, cuda:N or mps; step: is told how far that is. Raises ProtolensError where the images
        are not those that the run was made with.
        """
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
        """Why changes take a while, or nothing."""
        if self.seen is not None:
            return ""
        return f"What {self.model.name} decides by is too much to keep: each change looks at all images again."

    def consequences(self, edits: Sequence[Edit], step: Step | None = None) -> Consequences:
        """What these edits, all together, change on the validation images.

        step: is told how far that is where the images have to be looked at again. Raises ProtolensError at an edit that
        cannot be done.
        """
        after = self.logits(plan_of(self.model, edits), step)
        uneven = is_uneven(self.run.facts["data"])
        return compare_logits(self.base, after, self.labels, self.images.names, self.model.task, uneven=uneven)

    def logits(self, plan: Plan, step: Step | None = None) -> Tensor:
        """What the edited model says of the validation images, [N, K] on the CPU."""
        edited = lightly_edited(self.model, plan)
        if self.seen is None:
            return look(edited, self.images, step)[1]
        whole = len(plan.kept) == self.seen.shape[1]
        return decide(edited, self.seen if whole else self.seen[:, torch.tensor(plan.kept)])


@torch.no_grad()
def look(model: PrototypeModel, images: Images, step: Step | None = None) -> tuple[Tensor | None, Tensor]:
    """All that a model's head knows of the images, [N, P] or [N, P, L], unless it is too much; and logits, [N, K]."""
    kept: list[Tensor] = []
    logits: list[Tensor] = []
    done = 0
    with evaluation_mode(model):
        for batch in plain_batches(images, batch_for(images), model.device):
            basis = model.basis(batch.images)
            if basis[0].numel() * len(images) <= LARGEST:
                kept.append(basis.cpu())
            logits.append(model.decide(basis).cpu())
            done += len(basis)
            if step is not None:
                step(done / len(images))
    return torch.cat(kept) if kept else None, torch.cat(logits)


@torch.no_grad()
def decide(model: PrototypeModel, seen: Tensor) -> Tensor:
    """Logits of what the model's head knows of images, [N, P] or [N, P, L] on the CPU -> [N, K] on the CPU."""
    with evaluation_mode(model):
        parts = seen.split(max(1, AT_ONCE // seen[0].numel()))
        return torch.cat([model.decide(part.to(model.device)).cpu() for part in parts])
