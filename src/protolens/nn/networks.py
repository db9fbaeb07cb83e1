"""Any trained classifier, and what it computes on the way to its logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from protolens.errors import ProtolensError, did_you_mean_part

PROBES = 2  # images that a network is tried on


@dataclass(frozen=True)
class Anatomy:
    """Where a network keeps what it has understood of an image."""

    head: str  # the last layer, which makes logits from the code
    features: int  # numbers in the code
    maps: str  # the layer whose mean over places is the code; empty where there is none


class Tapped(nn.Module):
    """A network that also tells what named layers take in and give out. It works on copies and on any device."""

    def __init__(self, network: nn.Module, into: Sequence[str] = (), out_of: Sequence[str] = ()):
        super().__init__()
        self.network = network
        self.into, self.out_of = tuple(into), tuple(out_of)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, C, H, W] -> logits [B, K]; then what goes into the layers `into` and comes out of those of `out_of`."""
        seen: dict[tuple[bool, str], Tensor] = {}
        hooks = [
            self.network.get_submodule(name).register_forward_hook(
                lambda _, given, result, key=(inward, name): seen.__setitem__(key, given[0] if key[0] else result)
            )
            for inward, names in ((True, self.into), (False, self.out_of))
            for name in names
        ]
        try:
            logits = self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return logits, [seen[True, name] for name in self.into] + [seen[False, name] for name in self.out_of]


@torch.no_grad()
def dissect(network: nn.Module, bands: int, size: tuple[int, int]) -> Anatomy:
    """Find the code by trying: the last layer is the linear one whose output is the logits; the code goes into it.

    The maps are the last output [B, D, h, w] whose mean over places is the code. Raises ProtolensError for a network
    that does not end in a linear layer or a convolution with kernels of one pixel.
    """
    names = {module: name for name, module in network.named_modules() if name}
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        if given and isinstance(given[0], Tensor) and isinstance(result, Tensor):
            calls.append((names[module], module, given[0], result))

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        logits = network(torch.rand(PROBES, bands, *size, generator=torch.Generator().manual_seed(0)))
    finally:
        for hook in hooks:
            hook.remove()
    heads = [
        number
        for number, (_, module, given, result) in enumerate(calls)
        if isinstance(module, nn.Linear | nn.Conv2d)
        and given.flatten(1).shape[1] == module.weight[0].numel()
        and torch.equal(result.flatten(1), logits.flatten(1))
    ]
    if not heads:
        raise ProtolensError("the network does not end in a linear layer; name the layer that gives its code")
    name, _, code, _ = calls[heads[-1]]
    code = code.flatten(1)
    maps = [
        layer
        for layer, _, _, result in calls[: heads[-1]]
        if result.ndim == 4
        and result.shape[2:].numel() > 1
        and result.shape[1] == code.shape[1]
        and torch.allclose(result.mean(dim=(2, 3)), code, rtol=1e-4, atol=1e-5)
    ]
    return Anatomy(name, code.shape[1], maps[-1] if maps else "")


def check_layer(network: nn.Module, layer: str) -> None:
    """Raise ProtolensError when the network has no layer of that name."""
    known = [name for name, _ in network.named_modules() if name]
    if layer not in known:
        raise ProtolensError(f"the network has no layer {layer}{did_you_mean_part(layer, known)}")
