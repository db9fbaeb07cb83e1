"""The steps that a stage's `then` names, and what they do to the figures."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from protolens.config import Stage, seed_of
from protolens.errors import ProtolensError, did_you_mean
from protolens.models import save_model
from protolens.train.calibration import calibrate
from protolens.train.clustering import cluster
from protolens.train.concepts import find_concepts
from protolens.train.loop import Training
from protolens.train.progress import validation_in_words
from protolens.train.projection import eliminate, project, prune, scatter
from protolens.train.validation import figures, predict

# steps that know no class of an image, and so can follow where an image shows several
FOR_SEVERAL = {"concepts", "eliminate"}
Step = Callable[..., dict[str, object]]
# of model, training images and options: every process does the same
ALIKE: Mapping[str, Step] = {
    "scatter": scatter,
    "project": project,
    "prune": prune,
    "eliminate": eliminate,
    "calibrate": calibrate,
}
# of training and options: the processes share the work
TOGETHER: Mapping[str, Step] = {"cluster": cluster, "concepts": find_concepts}
AFTERWARDS: Mapping[str, Step] = {**ALIKE, **TOGETHER}


def check_afterwards(stages: list[Stage], where: str, several: bool = False) -> None:
    """Raise ProtolensError at the first step, or option of one, that does not exist, or is not for several classes."""
    for stage in stages:
        for step, options in stage.then.items():
            place = f"stages.{stage.name}.then."
            if step not in AFTERWARDS:
                raise ProtolensError(f"{where}: {place}{step} is no step{did_you_mean(step, AFTERWARDS, place)}")
            if several and step not in FOR_SEVERAL:
                raise ProtolensError(
                    f"{where}: {place}{step} needs images of one class each, and these can show several"
                )
            known = _options(step)
            for name in options:
                if name not in known:
                    hint = did_you_mean(name, known, f"{place}{step}.")
                    raise ProtolensError(f"{where}: {place}{step}.{name} is not an option of {step}{hint}")


def follow_stage(training: Training, stage: Stage) -> list[dict[str, Any]]:
    """Take the steps of a finished stage; returns what each did, with the validation figures before and after.

    The model as it was, if it had learnt, goes to before-STEP.safetensors, so that `evaluate` can state both.
    """
    if not stage.then:
        return []
    model, data, done = training.model, training.data, []
    before = figures(predict(model, data.validation, training.team), data.validation.labels)
    for step, options in stage.then.items():
        if training.team.leads and stage.epochs:
            save_model(model, training.record.folder / f"before-{step}.safetensors", data.digests)
        torch.manual_seed(seed_of(training.run.seed, "step", stage.name, step))
        given = (training,) if step in TOGETHER else (model, data.training)
        did = AFTERWARDS[step](*given, **_typed(step, options))
        training.team.share(model)
        after = figures(predict(model, data.validation, training.team), data.validation.labels)
        training.narrator.say(f"{step} after stage {stage.name}: {validation_in_words(after)}")
        done.append({"stage": stage.name, "step": step, **did, "before": before, "after": after})
        before = after
    return done


def _options(step: str) -> dict[str, Any]:
    """The options of a step with their defaults."""
    parameters = inspect.signature(AFTERWARDS[step]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}


def _typed(step: str, options: Mapping[str, float]) -> dict[str, Any]:
    known = _options(step)
    return {name: type(known[name])(value) for name, value in options.items()}
