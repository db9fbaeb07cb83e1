"""The loop over the epochs of one stage."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from torch import Tensor, nn

from protolens.config import RunConfig, Stage, seed_of
from protolens.data import Batch, DataSet, balanced_weights, training_batches
from protolens.errors import ProtolensError, did_you_mean
from protolens.models import PrototypeModel
from protolens.train.checkpoint import Checkpoint, Position
from protolens.train.device import mixed_precision
from protolens.train.optimise import learning_groups, make_optimiser, set_rates, training_mode
from protolens.train.progress import Narrator, StageNarrator
from protolens.train.record import Record
from protolens.train.team import Team
from protolens.train.tracing import whereabouts
from protolens.train.validation import better, figures, predict


class StoppedError(ProtolensError):
    """Training was asked to stop and left a checkpoint."""


class Step(nn.Module):
    """One forward pass to the weighted loss: the module that is compiled and shared among processes."""

    def __init__(self, model: PrototypeModel, stage: Stage):
        super().__init__()
        self.model, self.stage = model, stage

    def forward(self, images: Tensor, labels: Tensor, weights: Tensor | None, epoch: int) -> tuple[Tensor, Tensor]:
        """The loss to descend, and the unweighted terms [T] in the order of the stage's weights."""
        batch = Batch(images, labels, weights)
        terms = self.model.losses(batch, self.model.evidence(images), epoch)
        unknown = next((name for name in self.stage.weights if name not in terms), None)
        if unknown is not None:
            known = did_you_mean(unknown, terms, f"stages.{self.stage.name}.weights.")
            place = f"stages.{self.stage.name}.weights.{unknown}"
            raise ProtolensError(f"{place} is not a loss term of {self.model.name}{known}")
        values = torch.stack([terms[name] for name in self.stage.weights])
        return (values * values.new_tensor(list(self.stage.weights.values()))).sum(), values.detach()


@dataclass
class Training:
    """What the loop works with."""

    run: RunConfig
    data: DataSet
    model: PrototypeModel
    team: Team
    record: Record
    narrator: Narrator
    asked_to_stop: threading.Event

    def train_stage(self, stage: Stage, position: Position, resumed: Checkpoint | None) -> None:
        """Train to the end of a stage and leave the model with the weights of its best epoch."""
        optimiser = make_optimiser(learning_groups(self.model, stage), stage, self.team.device)
        scaler = torch.amp.GradScaler(self.team.device.type, enabled=self.run.train.precision == "float16")
        if resumed and resumed.optimiser:  # none was in use between two stages
            try:
                optimiser.load_state_dict(resumed.optimiser)
            except ValueError as error:
                path = self.record.folder / "last.pt"
                raise ProtolensError(f"{path} is of another version of protolens; choose another --out") from error
            scaler.load_state_dict(resumed.scaler)
        step = self.team.wrap(Step(self.model, stage))
        if self.run.train.compile:
            step = torch.compile(step)  # type: ignore[assignment]
        steps = -(-len(self.data.training) // self.run.train.batch)
        done = position.epoch * steps + position.step
        with self.narrator.stage(stage, steps, done) as narrator:
            while position.epoch < stage.epochs:
                epoch = Epoch(self, stage, position, step, optimiser, scaler, steps)
                epoch.train(narrator)
                epoch.close(narrator)
        if position.best:
            self.model.load_state_dict(position.best)


@dataclass
class Epoch:
    """One pass over the training images, entered at `position.step`."""

    training: Training
    stage: Stage
    position: Position
    step: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    steps: int

    def train(self, narrator: StageNarrator) -> None:
        """Take the steps that are left."""
        training, position, stage = self.training, self.position, self.stage
        training_mode(training.model, stage)
        saved = time.monotonic()
        for batch in self.batches():
            torch.manual_seed(self.seed("sampling", position.step, training.team.rank))
            set_rates(self.optimiser, stage, (position.epoch + position.step / self.steps) / stage.epochs)
            terms = self.descend(batch)
            position.sums = terms if position.sums is None else position.sums + terms
            position.step += 1
            narrator.step()
            now = time.monotonic()
            stop, save = self.decide(now - saved)
            if save:
                position.seconds += now - saved
                saved = now
                self.save()
            if stop:
                place = f"epoch {position.epoch + 1} of {stage.epochs} of stage {stage.name}"
                raise StoppedError(f"stopped in {place}; nothing is lost, the same command with --resume goes on there")
        position.seconds += time.monotonic() - saved

    def decide(self, unsaved: float) -> tuple[bool, bool]:
        """Whether to stop, and whether to write a checkpoint, after so many seconds without one."""
        training = self.training
        # asking the others costs time; they all ask at the same steps
        if training.team.size > 1 and self.position.step % 10:
            return False, False
        stop = training.team.any(training.asked_to_stop.is_set())
        return stop, stop or training.team.any(unsaved > training.run.train.checkpoint_seconds)

    def seed(self, *name: object) -> int:
        """The seed of a generator of this epoch."""
        return seed_of(self.training.run.seed, *name, self.position.stage, self.position.epoch)

    def batches(self) -> Iterator[Batch]:
        """This process's share of the epoch's batches, from `position.step` on."""
        training, config = self.training, self.training.run
        images = training.data.training
        order = torch.Generator().manual_seed(self.seed("order"))
        classes = len(training.data.task.classes)
        balanced = config.train.class_weights == "balanced"
        weights = balanced_weights(images.labels, classes).to(training.team.device) if balanced else None
        return training_batches(
            *(images, config.train.batch, order, config.data.augment, self.seed("augmentation")),
            *(training.team.device, weights, training.team.rank, training.team.size, self.position.step),
        )

    def descend(self, batch: Batch) -> Tensor:
        """One step down the gradient; returns the unweighted loss terms [T]."""
        config, team = self.training.run.train, self.training.team
        self.optimiser.zero_grad(set_to_none=True)
        with mixed_precision(config, team.device):
            loss, terms = self.step(batch.images, batch.labels, batch.weights, self.position.epoch)
        self.scaler.scale(loss).backward()
        if self.stage.clip:
            self.scaler.unscale_(self.optimiser)
            learning = [p for group in self.optimiser.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(learning, self.stage.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return terms

    def close(self, narrator: StageNarrator) -> None:
        """Look at the validation images, keep the weights if they are the best so far, write history and checkpoint."""
        training, position, stage = self.training, self.position, self.stage
        assert position.sums is not None
        self.join_sums()
        means = dict(zip(stage.weights, (position.sums / self.steps).tolist(), strict=True))
        if not all(map(float("inf").__gt__, map(abs, means.values()))):
            place = f"epoch {position.epoch + 1} of stage {stage.name}"
            advice = f"lower stages.{stage.name}.rates, or set stages.{stage.name}.clip to 1"
            # PyTorch 2.15's bfloat16 gradient of a convolution on maps of 1x1 is undefined on a CPU
            advice += "" if training.run.train.precision == "float32" else ", or train.precision to float32"
            raise ProtolensError(f"the loss became infinite or undefined in {place}; {advice}")
        training.team.share_buffers(training.model)
        begun = time.monotonic()
        logits = predict(training.model, training.data.validation, training.team)
        validation = figures(logits, training.data.validation.labels)
        score = validation[training.run.train.select]
        assert score is not None
        chosen = stage.keep == "last" or better(training.run.train.select, score, position.best_score)
        if chosen:
            position.best_score, position.best_epoch = score, position.epoch
            position.best = {name: value.detach().cpu().clone() for name, value in training.model.state_dict().items()}
        position.seconds += time.monotonic() - begun
        followed = (
            {"prototypes": whereabouts(training.model, training.data.training)} if training.run.train.follow else {}
        )
        line = {"stage": stage.name, "epoch": position.epoch + 1, "terms": means, "validation": validation}
        training.record.add_line(line | followed | {"chosen": chosen, "seconds": round(position.seconds, 3)})
        narrator.epoch(position.epoch, validation, chosen)
        position.epoch, position.step, position.sums, position.lines = position.epoch + 1, 0, None, position.lines + 1
        self.save()

    def join_sums(self) -> None:
        """Let every process hold the mean over processes of the sums of loss terms."""
        if self.position.sums is not None:
            self.position.sums = self.training.team.mean(self.position.sums)

    def save(self) -> None:
        """Write last.pt."""
        training = self.training
        self.join_sums()
        training.record.save(training.model, self.position, self.optimiser.state_dict(), self.scaler.state_dict())


class Asked:
    """Sets an event at the first signal, and stops at once at the second."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self.event.is_set():
            raise KeyboardInterrupt
        self.event.set()
        print("stopping after this step; once more stops at once", file=sys.stderr)


@contextmanager
def stop_politely() -> Iterator[threading.Event]:
    """While inside, Ctrl-C and SIGTERM set the event that they give; a second Ctrl-C stops at once.

    Inside of another one it is the same event, so that who trains several runs stops when one of them does.
    """
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, Asked):
        yield before.event
        return
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked.event
        return
    handlers = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
