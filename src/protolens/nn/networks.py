"""Any image classifier: opened by its name, and what it computes on the way to its logits."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from protolens.errors import ProtolensError, did_you_mean, did_you_mean_part, first_line
from protolens.nn.backbones import from_timm, from_torchvision
from protolens.nn.pretrained import IMAGENET, RGB, change_bands

PROBES = 2  # images that a network is tried on


@dataclass(frozen=True)
class Head:
    """The last layer of a network, which makes logits from the code."""

    name: str
    features: int  # numbers in the code
    outputs: int


def open_network(source: str, bands: int, classes: int) -> nn.Module:
    """A whole classifier with random weights, in evaluation mode.

    source: "torchvision:NAME", "timm:NAME" (extra timm) with options for timm.create_model behind a question mark, or
    a function without arguments that returns one, as "FILE.py:FUNCTION" or "package.module:FUNCTION": its code is run.
    A network of the libraries tells so many classes, a function's what it likes. Raises ProtolensError for what does
    not exist or fails.
    """
    kind, _, rest = source.rpartition(":") if ".py:" in source else source.partition(":")
    if not kind or not rest:
        raise ProtolensError(f"{source} is no network; write torchvision:NAME, timm:NAME or FILE.py:FUNCTION")
    if kind not in ("torchvision", "timm"):
        return _from_function(kind, rest).eval()
    network = (from_torchvision if kind == "torchvision" else from_timm)(rest, num_classes=classes)
    if bands != RGB:
        change_bands(network, bands, source)
    return network.eval()


def pixels_wanted(
    source: str, network: nn.Module, bands: int, *, pretrained: bool
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of the pixels that a network takes; None where those of the training images will do.

    A network may say it itself, as those of timm do, in `default_cfg` with "mean" and "std". Else one's own function
    gets pixels in [0, 1], and a pretrained network of torchvision what it was trained with.
    """
    own = not source.startswith(("torchvision:", "timm:"))
    wanted = getattr(network, "default_cfg", {})
    if not own and (not pretrained or bands != RGB):
        return None
    mean, deviation = ((0.0,) * bands, (1.0,) * bands) if own else IMAGENET
    return tuple(wanted.get("mean", mean)), tuple(wanted.get("std", deviation))


def _from_function(place: str, name: str) -> nn.Module:
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    function: Callable[[], nn.Module] | None = getattr(module, name, None)
    if not callable(function):
        raise ProtolensError(f"{place} has no function {name}{did_you_mean(name, dir(module), f'{place}:')}")
    try:
        network = function()
    except Exception as error:  # of somebody else's code
        raise ProtolensError(f"{place}:{name}() fails with {type(error).__name__} ({first_line(error)})") from error
    if not isinstance(network, nn.Module):
        raise ProtolensError(f"{place}:{name}() returns a {type(network).__name__}, not a torch.nn.Module")
    return network


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ProtolensError(f"{path} does not exist; write FILE.py:FUNCTION, where FUNCTION returns the network")
    name = f"_protolens_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # of somebody else's code
        raise ProtolensError(f"{path} fails with {type(error).__name__} ({first_line(error)})") from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ProtolensError(f"{name} cannot be imported ({first_line(error)}); write FILE.py:FUNCTION") from error


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


@dataclass(frozen=True)
class Call:
    """What a layer took in and gave out."""

    name: str
    module: nn.Module
    given: Tensor
    result: Tensor


@torch.no_grad()
def try_out(network: nn.Module, bands: int, size: tuple[int, int]) -> tuple[Tensor, list[Call]]:
    """What a network gives for random images [2, bands, H, W], and its layers' calls in order, for layers of tensors.

    Raises ProtolensError for a network that cannot take such images.
    """
    names = {module: name for name, module in network.named_modules() if name}
    calls: list[Call] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        if given and isinstance(given[0], Tensor) and isinstance(result, Tensor):
            calls.append(Call(names[module], module, given[0], result))

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        result = network(torch.rand(PROBES, bands, *size, generator=torch.Generator().manual_seed(0)))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = first_line(error).rstrip(".")
        raise ProtolensError(
            f"the network cannot take images of {bands} x {size[0]} x {size[1]} values ({reason}); change data.size or "
            "data.bands"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return result, calls


def find_head(network: nn.Module, bands: int, size: tuple[int, int]) -> Head:
    """The last layer of a network: linear, or a convolution with one place, whose output is the logits.

    The network is in evaluation mode. Raises ProtolensError for one that does not end so.
    """
    logits, calls = try_out(network, bands, size)
    for call in reversed(calls):
        linear = isinstance(call.module, nn.Linear | nn.Conv2d)
        if linear and torch.equal(call.result.flatten(1), logits.flatten(1)) and _sees_all(call):
            return Head(call.name, call.given.flatten(1).shape[1], call.result.flatten(1).shape[1])
    raise ProtolensError("the network does not end in a linear layer, whose input would be the code")


def _sees_all(call: Call) -> bool:
    """Whether each output is a weighted sum of all that comes in: a convolution over more places is no such head."""
    weight = call.module.weight
    assert isinstance(weight, Tensor)
    return call.given.flatten(1).shape[1] == weight[0].numel()


def find_maps(network: nn.Module, code: Callable[[Tensor], Tensor], bands: int, size: tuple[int, int]) -> str:
    """The last layer that gives maps [B, D, h, w] whose mean over places is the code; "" where there is none.

    code: gives the code of images, [B, C, H, W] -> [B, D], by calling the network.
    """
    result, calls = try_out(_Probe(network, code), bands, size)
    if result.ndim == 4:  # the network does not pool its code
        found = [call for call in calls if torch.equal(call.result, result)]
    else:
        maps = [call for call in calls if call.result.ndim == 4 and call.result.shape[1] == result.shape[1]]
        found = [call for call in maps if torch.allclose(call.result.mean(dim=(2, 3)), result, rtol=1e-4, atol=1e-5)]
    # what pools a map gives one place, where the layer before it gives more; of equal ones the last
    largest = max(reversed(found), key=lambda call: call.result[0, 0].numel(), default=None)
    return largest.name.removeprefix("network.") if largest else ""


class _Probe(nn.Module):
    def __init__(self, network: nn.Module, code: Callable[[Tensor], Tensor]):
        super().__init__()
        self.network = network
        self.code = code

    def forward(self, images: Tensor) -> Tensor:
        return self.code(images)


def find_layer(network: nn.Module, layer: str) -> str:
    """The full name of a layer. Raises ProtolensError when the network has none of that name."""
    known = [name for name, _ in network.named_modules() if name]
    inner = [name.removeprefix("network.") for name in known]
    if layer in known:
        return layer
    if layer in inner:
        return f"network.{layer}"
    raise ProtolensError(f"the network has no layer {layer}{did_you_mean_part(layer, inner)}")
