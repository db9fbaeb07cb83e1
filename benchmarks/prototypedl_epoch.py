"""One MNIST epoch of PrototypeDL with elastic deformation: ours, a bare loop, and the way of the published script.

The published way: each sample is deformed by SciPy in a DataLoader with two workers, the decoder resizes and then
convolves, and the process keeps PyTorch's defaults. The bare loop has the same tensors, deformation, network and
allocator as ours, and nothing else: no history, checkpoint, calendar or progress. Needs PROTOLENS_DATA with MNIST.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import Figure, arguments, seconds, show
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from protolens.config import Augmentation, RunConfig, build, seed_of
from protolens.data import Batch, Images, augment, open_data, to_float, training_batches
from protolens.models import PrototypeModel, build_model, calendar
from protolens.nn.decoders import LastUpConv, UpConv
from protolens.train import Team
from protolens.train.checkpoint import Position
from protolens.train.device import keep_freed_memory
from protolens.train.loop import Epoch, Step, Training
from protolens.train.optimise import learning_groups, make_optimiser
from protolens.train.progress import Narrator
from protolens.train.record import Record

BATCH = 250
ROUNDS = 3
SIGMA, ALPHA = 4.0, 20.0
TABLES = {
    "data": {"name": "mnist", "augment": {"elastic_sigma": SIGMA, "elastic_alpha": ALPHA}},
    "model": {"name": "prototypedl"},
    # no checkpoint falls into the measured time, as the bare loop writes none
    "train": {"checkpoint_seconds": 1e9, "device": "cpu"},
}
CPU = torch.device("cpu")


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Samples deformed one at a time by SciPy between two PIL images, as the script of seeds/004 does."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        sample = np.asarray(Image.fromarray(self.images[index, 0].numpy()))
        random = np.random.RandomState(None)
        rows, columns = np.mgrid[: sample.shape[0], : sample.shape[1]]
        down, right = (gaussian_filter(random.rand(*sample.shape) * 2 - 1, SIGMA, mode="constant") for _ in range(2))
        deformed = map_coordinates(sample, [rows + down * ALPHA, columns + right * ALPHA], order=1)
        return to_tensor(Image.fromarray(deformed)), int(self.labels[index])


class PublishedDecoder(nn.Module):
    """The same decoder, every layer resized and then convolved."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder
        last = decoder.layers[-1]
        assert isinstance(last, LastUpConv)
        plain = UpConv(last.in_channels, last.out_channels, last.size)
        plain.load_state_dict(last.state_dict())
        decoder.layers[-1] = plain

    def forward(self, code: Tensor) -> Tensor:
        return self.decoder(code)


def published_epoch(run: RunConfig, images: Images) -> float:
    """Seconds of one epoch the published way."""
    model = new_model(run)
    model.decoder = PublishedDecoder(model.decoder)
    everything = torch.arange(len(images))
    loader = DataLoader(OneByOne(images.take(everything), images.labels), BATCH, shuffle=True, num_workers=2)
    return seconds(lambda: bare_loop(model, (Batch(pixels, labels) for pixels, labels in loader)))


def published_elsewhere() -> float:
    """The same in a process of its own, whose memory is handled as PyTorch leaves it."""
    words = [sys.executable, __file__, "--published"]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def new_model(run: RunConfig) -> PrototypeModel:
    """A new model on 28x28 grey images of ten classes."""
    return build_model(run.model, open_data(run.data).task, run.seed).train()


def bare_loop(model: PrototypeModel, batches: Iterator[Batch]) -> None:
    """Forward, backward, clip, step, and nothing else."""
    (stage,) = calendar(model, {})
    parameters = list(model.parameters())
    rate = stage.rates["all"]
    optimiser = torch.optim.Adam(parameters, lr=rate, weight_decay=stage.weight_decay, fused=True)
    for batch in batches:
        optimiser.zero_grad(set_to_none=True)
        terms = model.losses(batch, model.evidence(batch.images), 0)
        loss = sum(weight * terms[name] for name, weight in stage.weights.items())
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, stage.clip)
        optimiser.step()


def our_epoch(run: RunConfig, training: Training) -> None:
    """One epoch of the training loop of `fit`."""
    (stage,) = calendar(training.model, run.stages)
    optimiser = make_optimiser(learning_groups(training.model, stage), stage, CPU)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    steps = -(-len(training.data.training) // BATCH)
    with training.narrator.stage(stage, steps, 0) as narrator:
        Epoch(training, stage, Position(), Step(training.model, stage), optimiser, scaler, steps).train(narrator)


def bare_epoch(run: RunConfig, model: PrototypeModel, images: Images) -> None:
    """One epoch of the bare loop over the same deformed batches."""
    order = torch.Generator().manual_seed(seed_of(run.seed, "order"))
    bare_loop(model, training_batches(images, BATCH, order, run.data.augment, 0, CPU))


def loading_alone(images: Images) -> Figure:
    """Images deformed a second and core: ours on one thread, theirs in one process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    count = 2000
    part = torch.arange(count)
    one_by_one = OneByOne(images.take(part), images.labels[part])
    settings = Augmentation(elastic_sigma=SIGMA, elastic_alpha=ALPHA)
    generator = torch.Generator().manual_seed(0)

    def ours() -> None:
        for batch in images.batches(part.split(BATCH)):
            augment(to_float(batch, CPU), settings, generator)

    def theirs() -> None:
        for _ in DataLoader(one_by_one, BATCH, num_workers=0):
            pass

    ours()
    times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    torch.set_num_threads(threads)
    fast, slow = (count / median(column) for column in zip(*times, strict=True))
    return Figure("loading and deformation alone, one core", fast, slow, "images/s", fast / slow, 10.0)


def main() -> None:
    run = build(RunConfig, TABLES, "benchmark")
    data = open_data(run.data)
    if "--published" in sys.argv:
        print(published_epoch(run, data.training))
        return
    given = arguments(__doc__)
    alone = loading_alone(data.training)
    keep_freed_memory()
    model = new_model(run).to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder, Narrator(speaks=False) as narrator:
        record = Record(Path(folder), run, data, leads=True)
        training = Training(run, data, model, Team(CPU), record, narrator, threading.Event())
        bare_epoch(run, model, data.training)
        times = [
            (
                seconds(lambda: our_epoch(run, training)),
                seconds(lambda: bare_epoch(run, model, data.training)),
                published_elsewhere(),
            )
            for _ in range(ROUNDS)
        ]
    ours, bare, published = (median(column) for column in zip(*times, strict=True))
    to_bare = median(theirs / mine for mine, theirs, _ in times)
    to_published = median(theirs / mine for mine, _, theirs in times)
    show(
        [
            Figure("MNIST epoch against the published way", ours, published, "s", to_published, 5.0),
            alone,
            Figure("MNIST epoch against a bare loop", ours, bare, "s", to_bare, round(1 / 1.05, 4)),
        ],
        given.json,
    )


if __name__ == "__main__":
    main()
