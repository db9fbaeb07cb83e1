"""Where training runs, in which precision, and how the CPU's memory is handled."""

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

from protolens.config import TrainConfig
from protolens.errors import ProtolensError

Item = TypeVar("Item")
Result = TypeVar("Result")
PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of that name; "auto" takes CUDA, else MPS, else the CPU. Raises ProtolensError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ProtolensError(f"train.device cannot be {name!r}; it is one of auto, cpu, cuda, cuda:N, mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise ProtolensError(f"train.device is {name}, which this machine does not have; write auto or cpu")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", local_rank)
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise ProtolensError(f"train.device is {name}, but this machine has {torch.cuda.device_count()} GPUs")
    return device


def mixed_precision(config: TrainConfig, device: torch.device) -> AbstractContextManager[None]:
    """Autocast to the chosen precision, or nothing for float32. Raises ProtolensError for float16 on a CPU."""
    if config.precision == "float32":
        return nullcontext()
    if config.precision == "float16" and device.type == "cpu":
        raise ProtolensError("train.precision float16 needs a GPU; on a CPU write bfloat16 or float32")
    return torch.autocast(device.type, PRECISIONS[config.precision])


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks instead of giving them back to the system at every step.

    Mapping and clearing them again costs up to half of a training step on small networks. Linux with glibc only;
    elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)
    libc.mallopt(top_pad, 64 << 20)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> Iterator[Result]:
    """The work of each item, in their order; on a CPU in as many threads as torch has. Few items are held at a time.

    torch's own threads wait for each other at every operation, which takes many times longer where cores are busy.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
