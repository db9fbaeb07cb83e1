"""The codes of the training images in blocks: held in memory, or in Parquet shards from which a killed job goes on.

A shard covers a fixed range of image numbers, embedded in fixed batches: any number of processes makes the same codes.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens import __version__
from protolens.config import to_mapping
from protolens.data import Images, to_float
from protolens.errors import ProtolensError, first_line
from protolens.files import write_bytes
from protolens.models import PrototypeModel, evaluation_mode, state_digest
from protolens.train.loop import StoppedError, Training
from protolens.train.validation import batch_for

FOLDER = "codes"  # in that of the run
ROWS_AT_ONCE = 8192
GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Block:
    """Some of the vectors. number: [n] int64 on the CPU, unique among all; vectors: [n, D]; group: [n] int64."""

    number: Tensor
    vectors: Tensor
    group: Tensor


Pass = Callable[[], Iterable[Block]]
"""The blocks of this process, the same at each call."""


@dataclass(frozen=True)
class Shard:
    """A file of codes. images: [n] int64, whose codes it holds; made_from: what else decides its content."""

    path: Path
    images: Tensor
    made_from: dict[str, str]


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
        made_from = origin(training)
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
    team = training.team
    turns = int(team.gather(torch.tensor([count], device=team.device)).max())
    with training.narrator.counting("codes, part", turns) as step:
        for _ in range(turns):
            if team.any(training.asked_to_stop.is_set()):
                raise StoppedError("stopped while codes were made; the same command with --resume goes on there")
            block = next(blocks, None)
            if block is not None:
                yield block
            step()


def origin(training: Training) -> dict[str, str]:
    """What decides the codes: the model's bits and settings, and the images."""
    model = training.model
    return {
        "protolens": __version__,
        "model": state_digest(model),
        "settings": json.dumps({"name": model.name, **to_mapping(model.settings)}, sort_keys=True),
        "data": training.data.training.digest,
    }


def shard_for(run: Path, images: Tensor, size: int, made_from: dict[str, str]) -> Shard:
    """The file for the codes of these images, [n]. size: images of a full shard."""
    first, last = int(images[0]), int(images[-1])
    return Shard(run / FOLDER / f"{first // size:05d}.parquet", images, made_from | {"images": f"{first} to {last}"})


def write_shard(shard: Shard, block: Block) -> None:
    """Write the codes of a shard as a whole: columns number, group and code, in row groups that are read singly."""
    arrow, parquet = pyarrow()
    element, features = arrow.field("element", arrow.float32(), nullable=False), block.vectors.shape[1]
    columns = {"number": arrow.int64(), "group": arrow.int64(), "code": arrow.list_(element, features)}
    fields = [arrow.field(name, kind, nullable=False) for name, kind in columns.items()]
    values = arrow.array(block.vectors.float().cpu().flatten().numpy())
    arrays = [
        arrow.array(block.number.numpy()),
        arrow.array(block.group.cpu().numpy()),
        arrow.FixedSizeListArray.from_arrays(values, type=columns["code"]),
    ]
    table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata=shard.made_from))
    sink = arrow.BufferOutputStream()
    # codes hardly repeat: neither a dictionary nor compression makes them smaller
    how = {"row_group_size": ROWS_AT_ONCE, "compression": "none", "use_dictionary": False, "write_page_checksum": True}
    parquet.write_table(table, sink, **how)
    write_bytes(shard.path, sink.getvalue().to_pybytes())


def read_shard(shard: Shard, device: torch.device) -> Iterator[Block]:
    """The codes of a shard, a row group at a time. Raises ProtolensError when it is missing, damaged or another's."""
    arrow, parquet = pyarrow()
    try:
        with parquet.ParquetFile(shard.path, page_checksum_verification=True) as file:
            found = file.schema_arrow.metadata or {}
            if any(found.get(key.encode()) != value.encode() for key, value in shard.made_from.items()):
                raise ProtolensError(f"{shard.path} was made from something else; --resume makes it anew")
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                code = table["code"].combine_chunks()
                vectors = torch.tensor(code.flatten().to_numpy()).view(-1, code.type.list_size)
                number, of = (torch.tensor(table[name].to_numpy()) for name in ("number", "group"))
                yield Block(number, vectors.to(device), of.to(device))
    except (OSError, arrow.ArrowException) as error:
        raise ProtolensError(f"{shard.path} is damaged ({first_line(error)}); --resume makes it anew") from error


def is_whole(shard: Shard) -> bool:
    """Whether the file is there, undamaged, and made from the same as the shard."""
    if not shard.path.exists():
        return False
    try:
        for _ in read_shard(shard, torch.device("cpu")):
            pass
    except ProtolensError:
        return False
    return True


def pyarrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet part. Raises ProtolensError where it is not installed."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ProtolensError(
            "more codes than cluster.memory allows are written to files, which needs the extra: "
            "pip install 'protolens[batch]'"
        ) from None
    return arrow, parquet
