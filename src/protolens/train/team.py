"""The processes that train together: one, or as many as torchrun started."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from protolens.train.device import choose_device

assemblies = count()  # of this process; all processes of a job run the same program, so they count alike


@dataclass(frozen=True)
class Team:
    """This process's place among all, and its device."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Share gradients among the processes. To be called anew whenever other parts learn: a part that was frozen

        when it was wrapped would drift apart silently.
        """
        return DistributedDataParallel(module) if self.size > 1 else module

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the buffers of the leading one (batch normalisation keeps them apart in training)."""
        if self.size > 1:
            for buffer in module.buffers():
                self.lead(buffer)

    def lead(self, value: Tensor) -> Tensor:
        """The tensor of the leading process, which takes the place of the others'."""
        if self.size > 1:
            distributed.broadcast(value, 0)
        return value

    def share(self, module: nn.Module) -> None:
        """Give every process the parameters and buffers of the leading one."""
        if self.size > 1:
            for parameter in module.parameters():
                self.lead(parameter.detach())
            self.share_buffers(module)

    def gather(self, part: Tensor) -> Tensor:
        """The parts of all processes, [n_rank, ...], joined in the order of their ranks; lengths may differ."""
        if self.size == 1:
            return part
        length = torch.tensor([len(part)], device=part.device)
        lengths = [torch.zeros_like(length) for _ in range(self.size)]
        distributed.all_gather(lengths, length)
        counts = torch.cat(lengths).tolist()
        padded = part.new_zeros((max(counts), *part.shape[1:]))
        padded[: len(part)] = part
        parts = [torch.zeros_like(padded) for _ in range(self.size)]
        distributed.all_gather(parts, padded)
        return torch.cat([whole[:count] for whole, count in zip(parts, counts, strict=True)])

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, which takes its place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes, which takes its place."""
        return self.sum(value).div_(self.size) if self.size > 1 else value

    def any(self, fact: bool) -> bool:
        """Whether the fact holds in at least one process."""
        return fact if self.size == 1 else bool(self.mean(torch.tensor(float(fact), device=self.device)) > 0)


@contextmanager
def assemble(device: str) -> Iterator[Team]:
    """This process alone, or a member of the group that torchrun's environment describes."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Team(chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # its functions keep the group that is there when it is first imported; that one would end after Python and abort
    importlib.import_module("torch.distributed.nn")
    store, rank, size = next(rendezvous("env://"))
    # a job may assemble several times: addresses of an earlier group would lead to processes that no longer listen
    fresh = PrefixStore(f"protolens/{next(assemblies)}", store)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=fresh, rank=rank, world_size=size)
    try:
        yield Team(chosen, rank, size)
    finally:
        distributed.destroy_process_group()
