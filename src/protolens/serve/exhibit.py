"""A run as the page shows it: its images in any order, what it says of them, its prototypes, its reasons."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from protolens.data import DataSet, Images, to_float
from protolens.errors import ProtolensError
from protolens.evaluation.answers import read_answers
from protolens.explanation import Explanation, Subject, explain_images
from protolens.models import PrototypeModel
from protolens.report.gallery import Prototype, read_prototypes
from protolens.report.pictures import Album
from protolens.serve.uploads import Uploads, shape_of
from protolens.train import Run, Team, class_probabilities, classes_said, classes_shown, in_words, predict

DRAWS = 100  # of a Bayesian network's weights
UPLOAD = "upload"  # stands for a split where an image was dropped
ORDERS = ("number", "mistake", "doubt", "disagreement", "prototype")


class Exhibit:
    """A finished run, opened once. Methods may be called from any thread."""

    def __init__(self, name: str, run: Run, data: DataSet, uploads: Uploads):
        self.name, self.run, self.data, self.uploads = name, run, data, uploads
        self.model: PrototypeModel = run.model()
        self.task = self.model.task
        self.lock = threading.Lock()  # of the model: some are looked at through hooks
        self.usual = torch.tensor([entry["usual_similarity"] for entry in run.prototypes])
        self.kept: dict[str, Tensor] = {}  # by `evaluate`
        self.known: dict[str, Tensor] = {}  # looked at here

    @property
    def answers(self) -> dict[str, Tensor]:
        """What `evaluate` kept, by name; nothing for a run that was not evaluated yet."""
        if "logits" not in self.kept:
            with suppress(ProtolensError):
                self.kept = read_answers(self.run)
        return self.kept

    @cached_property
    def prototypes(self) -> list[Prototype]:
        """With their pictures."""
        return read_prototypes(self.run, Album(self.run.folder))

    @property
    def splits(self) -> list[str]:
        """The images that may be looked at: the test split only where `evaluate` has read it before."""
        return ["test", "validation"] if self.answers else ["validation"]

    def images(self, split: str) -> Images:
        """The images of a split. Raises ProtolensError for one that is not shown."""
        if split not in self.splits:
            why = f"; `protolens evaluate {self.run.folder}` reads it" if split == "test" else ""
            raise ProtolensError(f"there is no split {split} to be shown of {self.name}{why}")
        return self.data.test if split == "test" else self.data.validation

    def logits(self, split: str) -> Tensor:
        """What the run says of each image of a split, [N, K]."""
        if self.answers:
            return self.answers["logits" if split == "test" else "validation_logits"]
        if split not in self.known:
            images = self.images(split)
            with self.lock:
                self.known[split] = predict(self.model, images, Team(torch.device("cpu")))
        return self.known[split]

    def pixels(self, split: str, index: str) -> Tensor:
        """An image, uint8 [C, H, W]. Raises ProtolensError where there is none."""
        if split == UPLOAD:
            return self.uploads.pixels(index, shape_of(self.task))
        images = self.images(split)
        return images.take(torch.tensor([position(index, len(images))]))[0]

    def subject(self, split: str, index: str) -> Subject:
        """What people call an image."""
        if split == UPLOAD:
            return Subject("your image")
        images = self.images(split)
        row = position(index, len(images))
        shown = classes_shown(images.labels[[row]], len(self.task.classes))[0]
        return Subject(images.names[row], row, in_words(shown, self.task.classes))

    def explain(self, split: str, index: str, target: str | None) -> Explanation:
        """Why the run decides so about an image. Raises ProtolensError for an unknown image or class."""
        pixels, subject = self.pixels(split, index), self.subject(split, index)
        with self.lock:
            return explain_images(self.model, to_float(pixels[None], "cpu"), [subject], self.usual, target)[0]

    def doubt(self, split: str, index: str) -> dict[str, Any] | None:
        """What networks drawn from a Bayesian one say of an image: quantiles of each class; None for the others."""
        draws = self.drawn
        if draws is None:
            return None
        image = to_float(self.pixels(split, index)[None], "cpu")
        with self.lock:
            said = self.model.posterior(image, draws)[:, 0].double()  # type: ignore[operator]
        low, middle, high = said.quantile(torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64), dim=0).tolist()
        mean = said.mean(dim=0)
        whole = float(-(mean * mean.clamp_min(1e-12).log()).sum())
        own = float(-(said * said.clamp_min(1e-12).log()).sum(dim=1).mean())
        classes = self.task.classes
        return {
            "draws": len(draws),
            "classes": [
                {"name": name, "low": a, "median": b, "high": c}
                for name, a, b, c in zip(classes, low, middle, high, strict=True)
            ],
            "entropy": whole,
            "mutual_information": max(0.0, whole - own),
        }

    @cached_property
    def drawn(self) -> Sequence[Any] | None:
        """Networks whose weights are drawn from a Bayesian one's."""
        if self.model.name != "bayesian":
            return None
        with self.lock:
            return list(self.model.draws(DRAWS, self.run.config.seed))  # type: ignore[operator]

    def sorted(
        self, split: str, order: str, logits: Tensor | None, prototype: int, label: str, predicted: str
    ) -> Tensor:
        """Numbers of images of a split, the first of interest first, [M].

        logits: of another run on the same images, for disagreement; prototype: for order "prototype"; label, predicted:
        names of classes that all have, or "".
        """
        if order not in ORDERS:
            raise ProtolensError(f"{order} is no order of images; choose {', '.join(ORDERS)}")
        own, labels, several = self.logits(split), self.images(split).labels, self.task.several
        said, shown = classes_said(own, several), classes_shown(labels, len(self.task.classes))
        interest = self._interest(order, own, said, shown, logits, self._similarity(split, order, prototype))
        rows = interest.argsort(descending=True, stable=True)
        for name, table in ((label, shown), (predicted, said)):
            if name:
                rows = rows[table[rows, self._class(name)]]
        return rows

    def _interest(
        self, order: str, own: Tensor, said: Tensor, shown: Tensor, other: Tensor | None, similarity: Tensor | None
    ) -> Tensor:
        """How far in front an image stands, [N]."""
        several = self.task.several
        sure = class_probabilities(own, several)
        if order == "prototype" and similarity is not None:
            return similarity.double()
        if order == "disagreement":
            if other is None:
                raise ProtolensError("choose another run to disagree with")
            differs = (said != classes_said(other, several)).any(dim=1)
            return differs + (sure - class_probabilities(other, several)).abs().amax(dim=1)
        if order == "mistake":
            wrong = (said != shown).any(dim=1)
            return wrong + torch.where(said != shown, (sure - shown.double()).abs(), 0.0).amax(dim=1)
        if order == "doubt":
            first = (0.5 - sure).abs().amin(dim=1) if several else gap_of_two(sure)
            return -first
        return -torch.arange(len(own), dtype=torch.float64)

    def _similarity(self, split: str, order: str, prototype: int) -> Tensor | None:
        """Of each image to a prototype, [N], where that is the order."""
        if order != "prototype":
            return None
        if not 0 <= prototype < len(self.run.prototypes):
            raise ProtolensError(f"there is no prototype {prototype}; the last one is {len(self.run.prototypes) - 1}")
        if split == "test" and "similarity" in self.answers:
            return self.answers["similarity"][:, prototype]
        return self.similarities(split)[:, prototype]

    def similarities(self, split: str) -> Tensor:
        """Of each image to each prototype, [N, P]; looked at once."""
        from protolens.data import plain_batches

        key = f"{split} similarity"
        if key not in self.known:
            found = []
            for batch in plain_batches(self.images(split), 250, torch.device("cpu")):
                with self.lock, torch.inference_mode():
                    found.append(self.model.evidence(batch.images).similarity.clone())
            self.known[key] = torch.cat(found)
        return self.known[key]

    def _class(self, name: str) -> int:
        if name not in self.task.classes:
            raise ProtolensError(f"{name} is not a class of {self.name}")
        return self.task.classes.index(name)

    def cards(self, split: str, rows: Tensor) -> list[dict[str, Any]]:
        """What a list says of images: name, label, what is said, how surely, whether that is right."""
        images, classes, several = self.images(split), self.task.classes, self.task.several
        logits = self.logits(split)[rows]
        said, shown = classes_said(logits, several), classes_shown(images.labels[rows], len(classes))
        sure = class_probabilities(logits, several).amax(dim=1).tolist()
        right = (said == shown).all(dim=1).tolist()
        return [
            {
                "index": row,
                "name": images.names[row],
                "label": in_words(shown[at], classes),
                "predicted": in_words(said[at], classes),
                "probability": sure[at],
                "right": right[at],
            }
            for at, row in enumerate(rows.tolist())
        ]


def gap_of_two(probabilities: Tensor) -> Tensor:
    """How far the likeliest class is before the second, [N]."""
    first = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values
    return first[:, 0] - first[:, -1]


def position(index: str, images: int) -> int:
    """A number of an image as an address holds it. Raises ProtolensError where there is no such image."""
    if not (index.isdecimal() and index.isascii() and int(index) < images):
        raise ProtolensError(f"there is no image {index}; the numbers are 0 to {images - 1:,}")
    return int(index)
