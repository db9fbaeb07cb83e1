"""The codes of the training images in blocks: held in memory, or in Parquet shards from which a killed job goes on.

A shard covers a fixed range of image numbers, embedded in fixed batches: any number of processes makes the same codes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from protolens.data import Images, to_float
from protolens.errors import ProtolensError
from protolens.models import PrototypeModel, evaluation_mode, identity
from protolens.shards import Shard, is_whole, read_tables, to_tensor, write_columns
from protolens.train.loop import Training
from protolens.train.validation import batch_for
from protolens.train.watching import Watch

FOLDER = "codes"  # in that of the run
GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Block:
    """Some of the vectors. number: [n] int64 on the CPU, unique among all; vectors: [n, D]; group: [n] int64."""

    number: Tensor
    vectors: Tensor
    group: Tensor


Pass = Callable[[], Iterable[Block]]
"""The blocks of this process, the same at each call."""


@torch.no_grad()
def embed(training: Training, memory: float, shard: int) -> Pass:
    """The codes of this process's share of the training images, without augmentation, in evaluation mode.

    memory: GiB of codes, of all processes together, up to which they stay in memory; else they are written to
    RUN/codes, and read from there in each pass. Shards that an earlier job made of the same images with the same model
    stay as they are. shard: images of a shard. Raises ProtolensError where pyarrow is missing or a shard cannot be
    written, and StoppedError when asked to stop.
    """
    if shard < 1:
        raise ProtolensError(f"cluster.shard is {shard}; a shard needs one image at least")
    model, images, team = training.model, training.data.training, training.team
    parts = torch.arange(len(images)).split(shard)[team.rank :: team.size]
    with evaluation_mode(model):
        (one,) = blocks_of(model, images, [torch.arange(1)])
        nothing = Block(one.number[:0], one.vectors[:0], one.group[:0])  # a process without shards has that
        if one.vectors.nbytes * len(images) <= memory * GIBIBYTE:
            held = [nothing, *watched(training, blocks_of(model, images, parts), len(parts))]
            return lambda: held
        made_from = identity(model) | {"data": images.digest}
        shards = [shard_for(training.record.folder, part, shard, made_from) for part in parts]
        missing = [each for each in shards if not is_whole(each)]
        made = blocks_of(model, images, [each.images for each in missing])
        for each, block in zip(missing, watched(training, made, len(missing)), strict=True):
            write_shard(each, block)
    return lambda: chain([nothing], chain.from_iterable(read_shard(each, team.device) for each in shards))


def blocks_of(model: PrototypeModel, images: Images, parts: Sequence[Tensor]) -> Iterator[Block]:
    """The vectors of each part of a split, numbers of images [n], as a block; one reader goes through all of them."""
    size = batch_for(images)
    batches = images.batches(some for part in parts for some in part.split(size))
    for part in parts:
        found = [
            vectors_of(model, to_float(next(batches), model.device), images.labels[some], some)
            for some in part.split(size)
        ]
        yield Block(*(torch.cat([getattr(block, column) for block in found]) for column in vars(found[0])))


def vectors_of(model: PrototypeModel, images: Tensor, labels: Tensor, number: Tensor) -> Block:
    """What is clustered of a batch: the code of each image, or at each of its places, in the group of its class.

    images: [B, C, H, W]; labels, number: [B] on the CPU, the class of each image and its position in the split.
    """
    code, labels = model.code(images), labels.to(images.device)
    if code.ndim == 2:
        return Block(number, code, labels)
    patches = code.flatten(2).mT
    places = patches.shape[1]
    number = (number[:, None] * places + torch.arange(places)).flatten()
    return Block(number, patches.flatten(0, 1), labels.repeat_interleave(places))


def watched(training: Training, blocks: Iterator[Block], count: int) -> Iterator[Block]:
    """The same blocks, so many in this process; says how far it is. Raises StoppedError in all processes at once."""
    watch = Watch(training.team, training.narrator, training.asked_to_stop)
    stopped = "stopped while codes were made; the same command with --resume goes on there"
    return watch.over(blocks, count, "codes, part", stopped)


def shard_for(run: Path, images: Tensor, size: int, made_from: Mapping[str, str]) -> Shard:
    """The file for the codes of these images, [n]. size: images of a full shard."""
    first, last = int(images[0]), int(images[-1])
    return Shard(run / FOLDER / f"{first // size:05d}.parquet", images, {**made_from, "images": f"{first} to {last}"})


def write_shard(shard: Shard, block: Block) -> None:
    """Write the codes of a shard as a whole: columns number, group and code."""
    write_columns(shard, {"number": block.number, "group": block.group, "code": block.vectors})


def read_shard(shard: Shard, device: torch.device) -> Iterator[Block]:
    """The codes of a shard, a row group at a time. Raises ProtolensError when it is missing, damaged or another's."""
    for table in read_tables(shard, "--resume makes it anew"):
        number, group, code = (to_tensor(table[name]) for name in ("number", "group", "code"))
        yield Block(number, code.to(device), group.to(device))
