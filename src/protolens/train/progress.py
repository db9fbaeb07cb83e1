"""What a person sees while a model learns: a bar in a terminal, a line an epoch elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from protolens.config import Stage

LINE_SECONDS = 5.0  # between lines where there is no terminal


class Narrator:
    """Tells of a training run on standard error: a bar with the time left, or plain lines where no terminal is."""

    def __init__(self, speaks: bool):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True, quiet=not speaks, soft_wrap=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = speaks and sys.stderr.isatty()
        self.bar = Progress(*columns, TextColumn("{task.fields[said]}"), console=self.console, disable=not shown)
        self.shown = shown

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, sentence: str) -> None:
        """A line that stays."""
        self.console.print(sentence, markup=False)

    @contextmanager
    def stage(self, stage: Stage, steps: int, done: int) -> Iterator["StageNarrator"]:
        """Follow a stage of so many steps an epoch, of which `done` were taken in an earlier process."""
        task = self.bar.add_task(f"stage {stage.name}", total=stage.epochs * steps, completed=done, said="")
        yield StageNarrator(self, task, stage)
        self.bar.remove_task(task)

    @contextmanager
    def counting(self, about: str, parts: int) -> Iterator[Callable[[], None]]:
        """Follow work of so many parts; what it gives is called after each."""
        task = self.bar.add_task(about, total=parts, said="")
        started = said = time.monotonic()
        done = 0

        def step() -> None:
            nonlocal done, said
            done += 1
            self.bar.advance(task)
            now = time.monotonic()
            if not self.shown and now - said > LINE_SECONDS:
                said = now
                left = duration((now - started) / done * (parts - done))
                self.say(f"{about} {done} of {parts}; {left} left")

        yield step
        self.bar.remove_task(task)

    @contextmanager
    def following(self, about: str) -> Iterator[Callable[[float], None]]:
        """Follow work by the share of it that is done, 0 to 1; what it gives is told that share."""
        task = self.bar.add_task(about, total=1.0, said="")
        started = said = time.monotonic()

        def tell(share: float) -> None:
            nonlocal said
            self.bar.update(task, completed=share)
            now = time.monotonic()
            if not self.shown and now - said > LINE_SECONDS and 0 < share < 1:
                said = now
                left = duration((now - started) / share * (1 - share))
                self.say(f"{about}: {100 * share:.0f} %; {left} left")

        yield tell
        self.bar.remove_task(task)


class StageNarrator:
    """Tells of one stage."""

    def __init__(self, narrator: Narrator, task: int, stage: Stage):
        self.narrator, self.task, self.stage = narrator, task, stage
        self.started, self.said, self.first = time.monotonic(), 0.0, -1

    def step(self) -> None:
        """A training step was taken."""
        if self.narrator.shown:
            self.narrator.bar.advance(self.task)  # type: ignore[arg-type]

    def epoch(self, epoch: int, figures: dict[str, float | None], chosen: bool) -> None:
        """An epoch ended with these validation figures; `chosen` if it is the best so far."""
        if self.first < 0:
            self.first = epoch
        said = validation_in_words(figures) + (" (best)" if chosen else "")
        self.narrator.bar.update(self.task, said=said)  # type: ignore[arg-type]
        now, last = time.monotonic(), epoch + 1 == self.stage.epochs
        if not self.narrator.shown and (last or now - self.said > LINE_SECONDS):
            self.said = now
            each = (now - self.started) / (epoch - self.first + 1)
            left = duration(each * (self.stage.epochs - epoch - 1))
            line = f"stage {self.stage.name}, epoch {epoch + 1} of {self.stage.epochs}: {said}"
            self.narrator.say(f"{line}; {each:.1f} s an epoch, {left} left")


def validation_in_words(figures: dict[str, float | None]) -> str:
    """The figures of an epoch in a line; one that is undefined is left out."""
    shares = {
        "accuracy": "validation accuracy",
        "balanced_accuracy": "balanced",
        "area_under_roc": "area under ROC",
        "mean_average_precision": "validation mean average precision",
        "micro_f1": "micro F1",
        "subset_accuracy": "all classes right",
    }
    values = ((words, figures.get(name), name) for name, words in shares.items())
    said = (
        f"{words} {v:.4f}" if "roc" in name else f"{words} {100 * v:.2f} %"
        for words, v, name in values
        if v is not None
    )
    return ", ".join(said)


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 3 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
