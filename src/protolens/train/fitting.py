"""The verb `fit`: from images and settings to a finished run folder."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from protolens.config import RunConfig, Selecting, Stage, to_mapping
from protolens.data import DataSet, Images, open_data, plain_batches
from protolens.errors import ProtolensError
from protolens.files import write_json
from protolens.models import (
    PrototypeModel,
    build_model,
    calendar,
    complete,
    model_class,
    models_for_several,
    save_model,
    state_digest,
)
from protolens.nn import OfPixels
from protolens.train.afterwards import check_afterwards, follow_stage
from protolens.train.built_in import begin_beside, write_built_in
from protolens.train.checkpoint import Position
from protolens.train.device import keep_freed_memory
from protolens.train.embedding import FOLDER
from protolens.train.loop import Training, stop_politely
from protolens.train.origin import made_with
from protolens.train.planes import open_umap
from protolens.train.progress import Narrator
from protolens.train.record import Record, Run, describe_data, refuse_other_settings
from protolens.train.team import assemble
from protolens.train.tracing import provenance, trace, write_prototypes
from protolens.train.validation import batch_for, figures, main_figure


def fit(run: RunConfig, folder: Path | str, *, resume: bool = False, where: str = "protolens") -> Run:
    """Train a model on a data set's training split, choose by validation, leave a run folder.

    With `resume`, a run that was killed goes on where its last checkpoint stands, to the same bits on a CPU; without a
    checkpoint it begins. `where` names the origin of the settings in errors. Raises ProtolensError, or its child
    StoppedError when asked to stop by Ctrl-C or SIGTERM.
    """
    with assemble(run.train.device) as team, torch.random.fork_rng(), stop_politely() as asked:
        if run.train.keep_memory and team.device.type == "cpu":
            keep_freed_memory()
        made = made_with(team)
        data = open_data(run.data)
        run = settle(run, data, where)
        model = build_model(run.model, data.task, run.seed, where)
        stages = calendar(model, run.stages, where)
        check_afterwards(stages, where, data.task.several)
        record = Record(Path(folder), complete(run, model, stages), data, team.leads)
        with Narrator(team.leads) as narrator:
            model.to(team.device)
            training = Training(run, data, model, team, record, narrator, asked)
            position = train(training, stages, resume)
        if team.leads:
            finish(training, stages, position, made)
        team.any(False)  # the others wait until the run is written
    return Run.open(folder)


def fit_or_keep(run: RunConfig, folder: Path | str, *, where: str = "protolens") -> Run:
    """The finished run in the folder, if there is one with these settings; else one that is trained, or trained on.

    Raises ProtolensError as `fit` does, and where the run in the folder was made with other settings.
    """
    if not (Path(folder) / "run.json").exists():
        return fit(run, folder, resume=True, where=where)
    kept = Run.open(folder)
    refuse_other_settings(kept, run, where)
    return kept


def settle(run: RunConfig, data: DataSet, where: str) -> RunConfig:
    """The run with the figure that selects, where that was left to the task.

    Raises ProtolensError where model, weights of classes or that figure do not go with what the images can show, and
    where a package is missing that the settings need.
    """
    task, name = data.task, str(run.model.get("name", ""))
    if task.several and not model_class(name, where).several:
        *most, last = models_for_several()
        able = f"{', '.join(most)} and {last}"
        raise ProtolensError(f"{where}: {name} needs images of one class each, and these can show several; {able} can")
    if task.several and run.train.class_weights != "none":
        raise ProtolensError(
            f"{where}: train.class_weights = {run.train.class_weights} needs images of one class each, and these can "
            "show several; write none"
        )
    if run.train.map_of_codes == "umap":
        open_umap()
    select = main_figure(task.several) if run.train.select == "auto" else run.train.select
    # of any logits: which figures there are
    known = figures(torch.zeros(len(data.validation), len(task.classes)), data.validation.labels)
    if known.get(select) is None:
        there = " or ".join(figure for figure in get_args(Selecting) if known.get(figure) is not None)
        raise ProtolensError(f"{where}: train.select = {select} is no figure of these validation images; write {there}")
    return replace(run, train=replace(run.train, select=select))


def train(training: Training, stages: list[Stage], resume: bool) -> Position:
    """Go through the stages, from the checkpoint if there is one and it is wanted."""
    model = training.model
    checkpoint = training.record.resume() if resume else None
    if checkpoint:
        position = checkpoint.position
        model.load_state_dict(checkpoint.model)
    else:
        model.load_pretrained()
        training.record.begin()
        learn_pixels(model, training.data.training)
        position = Position()
    while position.stage < len(stages):
        stage = stages[position.stage]
        if stage.epochs:
            training.train_stage(stage, position, checkpoint)
        checkpoint = None
        begun = time.monotonic()
        followed = follow_stage(training, stage)
        position.seconds += time.monotonic() - begun
        position = position.next_stage(stage.name, followed)
        training.record.save(model, position, optimiser={}, scaler={})
    return position


def finish(training: Training, stages: list[Stage], position: Position, made: dict[str, Any]) -> None:
    """Write the model, its prototypes, and last of all run.json: with it the run is finished."""
    folder = training.record.folder
    facts = write_model(folder, training.model.eval(), training.data, training.run) | {
        "data": describe_data(training.data),
        "stages": [to_mapping(stage) for stage in stages],
        "chosen": position.chosen,
        "followed": position.followed,
        "seconds": round(position.seconds, 1),
        "made_with": made,
    }
    write_json(folder / "run.json", facts)
    if not training.run.train.keep_codes:
        shutil.rmtree(folder / FOLDER, ignore_errors=True)


def write_model(
    folder: Path, model: PrototypeModel, data: DataSet, run: RunConfig, step: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Write a finished model, and where its prototypes stand among the training images; returns what run.json says.

    step: is told the share of the training images that were looked at.
    """
    images = data.training
    beside = begin_beside(model, images, run.seed)
    seen = 0

    def see(code: Tensor, labels: Tensor) -> None:
        nonlocal seen
        if beside:
            beside.see(code, labels)
        seen += len(labels)
        if step is not None:
            step(seen / len(images))

    found = trace(model, images, see)
    model.provenance = provenance(model, found, images)
    digest = state_digest(model)
    write_prototypes(folder, model, found, images, digest)
    if beside:
        write_built_in(folder, model, images, beside, digest, run)
    save_model(model, folder / "model.safetensors", data.digests)
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "model": {"name": model.name, "digest": digest, "parameters": parameters, "found": model.findings()},
        "settings": to_mapping(model.settings),
    }


def learn_pixels(model: PrototypeModel, images: Images) -> None:
    """Set first layers that are statistics of the training images, if the model has such."""
    for module in model.modules():
        if isinstance(module, OfPixels) and module.learns:
            module.learn(batch.images for batch in plain_batches(images, batch_for(images), torch.device("cpu")))
