"""Parquet files that each hold a part of long work, written as a whole and kept only if made from the same as now.

A shard covers a fixed range of images. A killed job that is called again makes those that are missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.errors import ProtolensError, first_line
from protolens.files import write_bytes

ROWS_AT_ONCE = 8192
Column = Tensor | Sequence[str | None]
"""[n], or [n, D] for lists of D float32; of strings, some may be missing."""


@dataclass(frozen=True)
class Shard:
    """A file of rows. images: [n] int64, which it covers; made_from: what else decides its content."""

    path: Path
    images: Tensor
    made_from: Mapping[str, str]


def write_columns(shard: Shard, columns: Mapping[str, Column], compression: str = "none") -> None:
    """Write a shard as a whole, in row groups that are read singly. Raises ProtolensError when it cannot be written.

    columns: by name, of equal length; compression: "none" for numbers that hardly repeat, else "zstd".
    """
    arrow, parquet = pyarrow()
    arrays = [_array(column) for column in columns.values()]
    fields = [
        arrow.field(name, array.type, nullable=not isinstance(columns[name], Tensor))
        for name, array in zip(columns, arrays, strict=True)
    ]
    table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata=shard.made_from))
    sink = arrow.BufferOutputStream()
    how = {"row_group_size": ROWS_AT_ONCE, "compression": compression, "use_dictionary": False}
    parquet.write_table(table, sink, **how, write_page_checksum=True)
    write_bytes(shard.path, memoryview(sink.getvalue()))


def _array(column: Column) -> Any:
    arrow, _ = pyarrow()
    if not isinstance(column, Tensor):
        return arrow.array(column, type=arrow.string())
    if column.ndim == 1:
        return arrow.array(column.cpu().numpy())
    element = arrow.field("element", arrow.float32(), nullable=False)
    values = arrow.array(column.float().cpu().flatten().numpy())
    return arrow.FixedSizeListArray.from_arrays(values, type=arrow.list_(element, column.shape[1]))


def read_tables(shard: Shard, mend: str = "make it anew") -> Iterator[Any]:
    """The rows of a shard, a row group at a time, as pyarrow's tables. mend: what to do about one that cannot be taken.

    Raises ProtolensError when it is missing, damaged or made from something else.
    """
    arrow, parquet = pyarrow()
    try:
        with parquet.ParquetFile(shard.path, page_checksum_verification=True) as file:
            found = file.schema_arrow.metadata or {}
            if any(found.get(key.encode()) != value.encode() for key, value in shard.made_from.items()):
                raise ProtolensError(f"{shard.path} was made from something else; {mend}")
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)
    except (OSError, arrow.ArrowException) as error:
        raise ProtolensError(f"{shard.path} is damaged ({first_line(error)}); {mend}") from error


def to_tensor(column: Any) -> Tensor:
    """A column of numbers of such a table, [n], or of lists of them, [n, D]."""
    array = column.combine_chunks()
    if column.type.num_fields:
        return torch.tensor(array.flatten().to_numpy()).view(-1, column.type.list_size)
    return torch.tensor(array.to_numpy())


def is_whole(shard: Shard) -> bool:
    """Whether the file is there, undamaged, and made from the same as the shard."""
    if not shard.path.exists():
        return False
    try:
        for _ in read_tables(shard):
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
            "more codes than cluster.memory allows, and explanations of a whole set, are written to Parquet files, "
            "which needs the extra: pip install 'protolens[batch]'"
        ) from None
    return arrow, parquet
