"""Maps of an image by methods of attribution: in the background, with progress, on a model of their own."""

import copy
import threading
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from protolens.attribution import METHODS, attribute, check_methods, methods_that_fail
from protolens.data import to_float
from protolens.evaluation.maps import spearman
from protolens.models import PrototypeModel
from protolens.serve.exhibit import Exhibit
from protolens.serve.jobs import Job
from protolens.serve.showing import coloured

KEPT = 512  # maps that are remembered, to be held against others of the same image
# rows that a method has the model look at, for its progress; the others are done in a moment
LOOKS = {"lime": 1000, "kernelshap": 1000, "integrated-gradients": 32, "smoothgrad": 25}
Place = tuple[str, str, str, str | None]  # run, split, image, class


class Maps:
    """Makes maps, and remembers the last."""

    def __init__(self) -> None:
        self.models: dict[str, PrototypeModel] = {}
        self.failing: dict[str, dict[str, str]] = {}
        self.kept: OrderedDict[tuple[Place, str], Tensor] = OrderedDict()
        self.lock = threading.Lock()

    def methods(self, exhibit: Exhibit) -> dict[str, str]:
        """The names of all methods, each with "" or why it cannot explain this model."""
        if exhibit.name not in self.failing:
            task = exhibit.task
            image = torch.rand(1, task.bands, *task.size, generator=torch.Generator().manual_seed(0))
            with exhibit.lock:
                self.failing[exhibit.name] = methods_that_fail(copy.deepcopy(exhibit.model), image)
        return {name: self.failing[exhibit.name].get(name, "") for name in METHODS}

    def make(self, job: Job, exhibit: Exhibit, place: Place, method: str, target: int) -> dict[str, Any]:
        """A map in colours, with its agreement with the others of the same image, and the command that makes it.

        Raises ProtolensError for an unknown method, and CancelledError where the job is no longer wanted.
        """
        check_methods([method])
        _, split, index, _ = place
        image = to_float(exhibit.pixels(split, index)[None], "cpu")
        with watched(self._model(exhibit), job, LOOKS.get(method)) as model:
            found = attribute(model, image, torch.tensor([target]), method, exhibit.run.config.seed)[0].cpu()
        with self.lock:
            others = {name: own for (where, name), own in self.kept.items() if where == place and name != method}
            self.kept[place, method] = found
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        agreement = {name: finite(spearman(found[None], own[None])) for name, own in others.items()}
        return {"method": method, **coloured(found), "agreement": agreement}

    def _model(self, exhibit: Exhibit) -> PrototypeModel:
        """A copy for the thread of the maps alone: some methods hang hooks into it."""
        if exhibit.name not in self.models:
            self.models[exhibit.name] = copy.deepcopy(exhibit.model)
        return self.models[exhibit.name]


class watched:  # noqa: N801 - used as a function
    """A model that tells a job how many of so many rows it has seen, and stops where the job is not wanted."""

    def __init__(self, model: nn.Module, job: Job, rows: int | None):
        self.model, self.job, self.rows, self.seen = model, job, rows, 0

    def __enter__(self) -> Any:
        """The model."""
        self.handle = self.model.register_forward_pre_hook(self._look)
        return self.model

    def __exit__(self, *_: object) -> None:
        """As it was."""
        self.handle.remove()

    def _look(self, _: nn.Module, given: tuple[Any, ...]) -> None:
        self.seen += len(given[0])
        self.job.step(self.seen / self.rows if self.rows else None)


def finite(values: Tensor) -> float | None:
    """A correlation, None where it is undefined."""
    value = float(values[0])
    return value if value == value else None
