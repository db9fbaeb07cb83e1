"""The verb `fit`: from images and settings to a finished run folder."""

import platform
import shutil
from pathlib import Path
from typing import Any

import torch

import protolens
from protolens.config import RunConfig, Stage, to_mapping
from protolens.data import Images, open_data, plain_batches
from protolens.files import write_json
from protolens.models import PrototypeModel, build_model, calendar, complete, save_model, state_digest
from protolens.nn import Normalise
from protolens.train.afterwards import check_afterwards, follow_stage
from protolens.train.checkpoint import Position
from protolens.train.device import keep_freed_memory
from protolens.train.embedding import FOLDER
from protolens.train.loop import Training, stop_politely
from protolens.train.progress import Narrator
from protolens.train.record import Record, Run, describe_data
from protolens.train.team import assemble
from protolens.train.tracing import provenance, trace, write_prototypes
from protolens.train.validation import batch_for


def fit(run: RunConfig, folder: Path | str, *, resume: bool = False, where: str = "protolens") -> Run:
    """Train a model on a data set's training split, choose by validation, leave a run folder.

    With `resume`, a run that was killed goes on where its last checkpoint stands, to the same bits on a CPU; without a
    checkpoint it begins. `where` names the origin of the settings in errors. Raises ProtolensError, or its child
    StoppedError when asked to stop by Ctrl-C or SIGTERM.
    """
    with assemble(run.train.device) as team, torch.random.fork_rng(), stop_politely() as asked:
        if run.train.keep_memory and team.device.type == "cpu":
            keep_freed_memory()
        data = open_data(run.data)
        model = build_model(run.model, data.task, run.seed, where)
        stages = calendar(model, run.stages, where)
        check_afterwards(stages, where)
        record = Record(Path(folder), complete(run, model, stages), data, team.leads)
        with Narrator(team.leads) as narrator:
            model.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            training = Training(run, data, model, team, record, narrator, asked)
            position = train(training, stages, resume)
        if team.leads:
            finish(training, stages, position)
        team.any(False)  # the others wait until the run is written
    return Run.open(folder)


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
        learn_normalisation(model, training.data.training)
        position = Position()
    while position.stage < len(stages):
        stage = stages[position.stage]
        if stage.epochs:
            training.train_stage(stage, position, checkpoint)
        checkpoint = None
        position = position.next_stage(stage.name, follow_stage(training, stage))
        training.record.save(model, position, optimiser={}, scaler={})
    return position


def finish(training: Training, stages: list[Stage], position: Position) -> None:
    """Write the model, its prototypes, and last of all run.json: with it the run is finished."""
    model, images, folder = training.model.eval(), training.data.training, training.record.folder
    found = trace(model, images)
    model.provenance = provenance(model, found, images)
    digest = state_digest(model)
    write_prototypes(folder, model, found, images, digest)
    save_model(model, folder / "model.safetensors", training.data.digests)
    facts: dict[str, Any] = {
        "model": {"name": model.name, "digest": digest, "parameters": sum(p.numel() for p in model.parameters())},
        "settings": to_mapping(model.settings),
        "data": describe_data(training.data),
        "stages": [to_mapping(stage) for stage in stages],
        "chosen": position.chosen,
        "followed": position.followed,
        "seconds": round(position.seconds, 1),
        "made_with": made_with(training),
    }
    write_json(folder / "run.json", facts)
    if not training.run.train.keep_codes:
        shutil.rmtree(folder / FOLDER, ignore_errors=True)


def made_with(training: Training) -> dict[str, Any]:
    """Versions and hardware, for the reader who wants the same figures."""
    device = training.team.device
    return {
        "protolens": protolens.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processes": training.team.size,
    }


def learn_normalisation(model: PrototypeModel, images: Images) -> None:
    """Set the model's normalisation, if it has one, to the mean and deviation of each band of the training images."""
    layers = [module for module in model.modules() if isinstance(module, Normalise) and module.learns]
    if not layers:
        return
    total, squares, pixels = torch.zeros(images.shape[0]).double(), torch.zeros(images.shape[0]).double(), 0
    for batch in plain_batches(images, batch_for(images), torch.device("cpu")):
        values = batch.images.double()
        total += values.sum(dim=(0, 2, 3))
        squares += values.square().sum(dim=(0, 2, 3))
        pixels += values[:, 0].numel()
    mean = total / pixels
    # a band of one value everywhere is only shifted
    deviation = (squares / pixels - mean.square()).clamp_min(1e-8).sqrt()
    for layer in layers:
        layer.mean.copy_(mean)
        layer.deviation.copy_(deviation)
