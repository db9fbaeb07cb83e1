"""What edits change: accuracy before and after over the same images, whether that can be chance, and which images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from protolens.config import Task
from protolens.evaluation.comparing import LEVEL, sentence
from protolens.evaluation.scores import Difference, exact_difference_interval, exact_paired_test, wilson_interval
from protolens.train import classes_said, classes_shown, in_words

Way = Literal["mended", "broken", "other"]
NAMES = ("the edited model", "the model as it was")


@dataclass(frozen=True)
class Accuracy:
    """Share of images that are recognised, with all their classes; its 95 % interval (Wilson); and the counts."""

    share: float
    interval: tuple[float, float]
    right: int
    images: int

    @classmethod
    def of(cls, right: Tensor) -> "Accuracy":
        """right: whether each image is recognised, [N] of bool."""
        hits, images = int(right.sum()), len(right)
        return cls(hits / images, wilson_interval(hits, images), hits, images)


@dataclass(frozen=True)
class Flip:
    """An image of which the model now says something else.

    index: its number in the validation split; label, before, after: names of classes; way: whether that was mended,
    broken, or is another mistake than before.
    """

    index: int
    name: str
    label: str
    before: str
    after: str
    way: Way


@dataclass(frozen=True)
class ClassChange:
    """What happens to a class. before, after: share of its images of which it is said, None where it has none."""

    name: str
    images: int
    before: float | None
    after: float | None
    mended: int  # of its images
    broken: int
    said_before: int  # of all images
    said_after: int


@dataclass(frozen=True)
class Consequences:
    """Over the same images before and after. difference: of the shares, with its 95 % interval over images.

    sentence: the verdict in words; balanced: mean over classes of the share of their images that is recognised, before
    and after, None where classes are even or an image can show several.
    """

    before: Accuracy
    after: Accuracy
    difference: float
    interval: tuple[float, float]
    chance: float
    sentence: str
    flips: tuple[Flip, ...]
    balanced: tuple[float, float] | None
    classes: tuple[ClassChange, ...]

    def count(self, way: str) -> int:
        """How many images went this way: mended, broken or other."""
        return sum(flip.way == way for flip in self.flips)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Verdicts:
    """What a model says of N images, and whether it is right. said: [N, K] of bool; right: [N] of bool."""

    said: Tensor
    right: Tensor

    @classmethod
    def of(cls, logits: Tensor, shown: Tensor, task: Task) -> "Verdicts":
        """logits: [N, K]; shown: [N, K] of bool."""
        said = classes_said(logits, task.several)
        return cls(said, (said == shown).all(dim=1))


def compare_logits(
    before: Tensor, after: Tensor, labels: Tensor, names: Sequence[str], task: Task, *, uneven: bool
) -> Consequences:
    """What edits change. before, after: logits of the same images, [N, K]; labels: [N] or [N, K]; names: of images.

    uneven: whether classes are so uneven that balanced accuracy should be told, too.
    """
    shown = classes_shown(labels, len(task.classes))
    first, second = Verdicts.of(before, shown, task), Verdicts.of(after, shown, task)
    mended, broken = second.right & ~first.right, first.right & ~second.right
    interval = exact_difference_interval(int(mended.sum()), int(broken.sum()), len(labels))
    gained = float((second.right.double() - first.right.double()).mean())
    chance = exact_paired_test(second.right, first.right)
    changes = class_changes(first, second, shown, task.classes)
    return Consequences(
        before=Accuracy.of(first.right),
        after=Accuracy.of(second.right),
        difference=gained,
        interval=interval,
        chance=chance,
        sentence=verdict(Difference(gained, *interval, chance)),
        flips=flips_of(first, second, shown, names, task.classes),
        balanced=balanced(changes) if uneven and not task.several else None,
        classes=changes,
    )


def verdict(difference: Difference) -> str:
    """The sentence of `compare` about the edited model and the one that it was made from."""
    names = NAMES
    if difference.value < 0:
        names = NAMES[::-1]
        difference = Difference(-difference.value, -difference.high, -difference.low, difference.chance)
    said = sentence(*names, difference, difference.chance < LEVEL)
    return said[0].upper() + said[1:]


def flips_of(
    first: Verdicts, second: Verdicts, shown: Tensor, names: Sequence[str], classes: Sequence[str]
) -> tuple[Flip, ...]:
    """All images of which something else is said, in order. shown: [N, K] of bool."""
    changed = (first.said != second.said).any(dim=1).nonzero().flatten()
    columns = (words_of(rows[changed], classes) for rows in (shown, first.said, second.said))
    mended, broken = second.right[changed].tolist(), first.right[changed].tolist()
    ways: list[Way] = [
        "mended" if now else "broken" if once else "other" for now, once in zip(mended, broken, strict=True)
    ]
    numbers = changed.tolist()
    return tuple(map(Flip, numbers, [names[number] for number in numbers], *columns, ways))


def words_of(chosen: Tensor, classes: Sequence[str]) -> list[str]:
    """The classes of each image in words; there are few combinations and many images. chosen: [N, K] of bool."""
    known: dict[bytes, str] = {}
    words = []
    for row in chosen.numpy():
        key = row.tobytes()
        if key not in known:
            known[key] = in_words(torch.from_numpy(row), classes)
        words.append(known[key])
    return words


def class_changes(first: Verdicts, second: Verdicts, shown: Tensor, classes: Sequence[str]) -> tuple[ClassChange, ...]:
    """A row a class. shown: [N, K] of bool."""
    mended, broken = second.right & ~first.right, first.right & ~second.right
    changes = []
    for k, name in enumerate(classes):
        own = shown[:, k]
        count = int(own.sum())
        before, after = (float(each.said[own, k].double().mean()) if count else None for each in (first, second))
        said = (int(each.said[:, k].sum()) for each in (first, second))
        changes.append(ClassChange(name, count, before, after, int(mended[own].sum()), int(broken[own].sum()), *said))
    return tuple(changes)


def balanced(changes: Sequence[ClassChange]) -> tuple[float, float]:
    """Mean share of the classes that have images, before and after."""
    there = [(change.before, change.after) for change in changes if change.before is not None]
    before, after = torch.tensor(there, dtype=torch.float64).mean(dim=0).tolist()
    return before, after
