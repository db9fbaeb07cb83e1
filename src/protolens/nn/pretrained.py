"""Weights from files, and networks that were made for colour images on images of other bands."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from protolens.errors import ProtolensError, first_line

RGB = 3
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation that most weights were trained with


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict that torch.load reads with weights_only.

    A state dict inside of a checkpoint ("state_dict" or "model"), and names that DataParallel has put "module." before,
    are understood. Raises ProtolensError when the file is missing, damaged, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ProtolensError(f"{path} does not exist; weights are never downloaded") from None
    except (SafetensorError, OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise ProtolensError(
            f"{path} is damaged, or neither safetensors nor a plain state dict ({first_line(error)})"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ProtolensError(f"{path} holds other things than tensors; save model.state_dict() alone")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


@torch.no_grad()
def fill(tensors: Mapping[str, Tensor], path: Path, first: str = "") -> None:
    """Fill tensors with those of the same names in a file of weights of any precision; others in it are not read.

    Counters of batches may be missing. first: the name of the kernels that meet the image; those for three bands are
    changed as `of_bands` says. Raises ProtolensError for a tensor that is missing or has another shape.
    """
    known = read_weights(path)
    for name, tensor in tensors.items():
        if name not in known and name.endswith("num_batches_tracked"):
            continue
        if name not in known:
            raise ProtolensError(f"{path} lacks {name}; choose a file with the weights of this very network")
        given = known[name]
        if name == first and given.ndim == 4 and given.shape[1] == RGB:
            given = of_bands(given.to(tensor.dtype), tensor.shape[1])
        if given.shape != tensor.shape:
            shapes = (" x ".join(map(str, shape)) or "one number" for shape in (given.shape, tensor.shape))
            raise ProtolensError(f"{path} has another shape of {name} than the network: {' for '.join(shapes)}")
        tensor.copy_(given)


def of_bands(kernels: Tensor, bands: int) -> Tensor:
    """Kernels for colour images as kernels for another number of bands, so that activations keep their size.

    kernels: [O, 3, k, k] -> [O, bands, k, k]: for one band their sum, which sees grey as it saw equal colours; for more
    the three in turn, times 3 / bands.
    """
    if bands == RGB:
        return kernels
    if bands == 1:
        return kernels.sum(dim=1, keepdim=True)
    turns = torch.arange(bands, device=kernels.device) % RGB
    return kernels[:, turns] * (RGB / bands)


def first_convolution(network: nn.Module) -> str:
    """The name of the weight that meets the image; torch.fx keeps modules in the order of their use."""
    found = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    return f"{next(found, '')}.weight"


def change_bands(network: nn.Module, bands: int, name: str) -> None:
    """Let the first convolution take images of another number of bands."""
    layer = network.get_submodule(first_convolution(network).rpartition(".")[0])
    if not isinstance(layer, nn.Conv2d) or layer.in_channels != RGB:
        raise ProtolensError(f"{name} does not begin with a convolution of {RGB} bands; set data.bands to {RGB}")
    layer.in_channels = bands
    layer.weight = nn.Parameter(of_bands(layer.weight.detach(), bands))
