"""Networks whose maps keep places, for prototypes that stand at one, and which pixels each place sees."""

import contextlib
import copy
import importlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch import Tensor, nn

from protolens.errors import ProtolensError, did_you_mean, did_you_mean_part, first_line
from protolens.nn.pretrained import RGB, change_bands, fill, first_convolution

MAP = "map"
PROBE = 224  # pixels a side, for which every network of the two libraries is made
# Where the libraries begin to classify, so that what stands before is the convolutional part of ProtoPNet
HEADS = {"avgpool", "adaptive_avg_pool2d", "mean", "global_pool", "pre_logits", "classifier", "head", "heads", "fc"}
# Below 16, torch never takes the Winograd convolutions of NNPACK, which spread a NaN over a whole tile
IMAGES_AT_ONCE = 8


class Backbone(nn.Module):
    """Images [B, bands, H, W] -> maps [B, channels, h, w]. The images come normalised."""

    def __init__(self, network: nn.Module, bands: int, name: str):
        super().__init__()
        self.network = network
        shape = _map_shape(self, bands, (PROBE, PROBE))
        if len(shape) != 4 or shape[2] != shape[3]:  # a square image has a square map
            given = " x ".join(map(str, shape)) or "no tensor"
            raise ProtolensError(
                f"{name} gives {given} there, not maps [B, C, h, w]; cut it elsewhere or choose another"
            )
        self.channels = shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """[B, bands, H, W] -> [B, channels, h, w]."""
        maps = self.network(images)
        return maps[MAP] if isinstance(maps, dict) else maps  # a cut network names what it gives


def make_backbone(name: str, bands: int, cut: str = "") -> Backbone:
    """The convolutional part of a network, with random weights; it holds no layer beyond its maps.

    name: "small", for images of some 28 pixels, where it keeps 7 x 7 places; "torchvision:NAME", any classification
    network of torchvision; or "timm:NAME" (extra timm), with options for timm.create_model as in
    "timm:mobilenetv2_100?pad_type=same&output_stride=16". cut: the last layer or fx node that is kept, such as "layer2"
    or "features.22"; without it the network ends before it pools the whole map to classify it, as in ProtoPNet. The
    networks of both libraries are made for three bands; `of_bands` says what becomes of their first kernels for others.
    Raises ProtolensError for an unknown name, option or cut, and for networks without maps.
    """
    if name == "small":
        if cut:
            raise ProtolensError(f"the backbone small cannot be cut at {cut}; leave cut out or choose torchvision:NAME")
        return Backbone(_small(bands), bands, name)
    kind, _, rest = name.partition(":")
    if kind not in ("torchvision", "timm"):
        raise ProtolensError(f"{name} is no backbone; write small, torchvision:NAME or timm:NAME")
    whole = from_torchvision(rest) if kind == "torchvision" else from_timm(rest)
    network = _cut(whole, name, cut, _timm_tracing() if kind == "timm" else {})
    if bands != RGB:
        change_bands(network, bands, name)
    return Backbone(network, bands, name)


def load_backbone(backbone: Backbone, path: Path) -> None:
    """Fill a backbone with the weights of the whole network; what a file holds beyond the cut is not read.

    Raises ProtolensError for a file that `read_weights` or `fill` refuse.
    """
    fill(backbone.network.state_dict(), path, first_convolution(backbone.network))


def map_size(network: nn.Module, bands: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the maps for images of a height and width; nothing is computed.

    Raises ProtolensError when the network cannot take such images, mostly because they are too small.
    """
    height, width = _map_shape(network, bands, size)[2:]
    return height, width


@torch.no_grad()
def receptive_boxes(network: nn.Module, bands: int, size: tuple[int, int]) -> Tensor:
    """Which pixels can influence each place of a map, whatever the weights: exact for any network.

    A pixel that is not a number makes every place that depends on it not a number. Rows of NaN, from the first to the
    m-th, show by bisection which is the first that reaches a place; so for the last row, and for columns. A copy of
    the network does this, on the CPU and in evaluation mode; the network itself is left alone. The arithmetic in the
    code of ProtoPNet needs kernels, strides and paddings instead, and counts pixels that no stride reaches.

    network: [B, bands, H, W] -> [B, C, h, w]; size: height and width of the images. Returns int64 [h, w, 4]: left, top,
    right, bottom in pixels, right and bottom exclusive; zeros where no pixel reaches. Convolutions, pooling of all
    kinds, normalisations, squeeze-excitation and the activations of torch.nn pass NaN on; torch.fmax, torch.nan_to_num,
    comparisons and torch.where do not, and boxes of networks that use them are too small. A maximum of padding alone is
    -inf, and where later weights make that not a number, boxes are too large. Raises ProtolensError when the network
    cannot take such images.
    """
    places = map_size(network, bands, size)
    still = copy.deepcopy(network).to("cpu", torch.float32).eval()
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    top, left = (_first_turn(still, bands, turns, places) for turns in (rows, columns))
    below, beside = (_first_turn(still, bands, turns, places) for turns in (height - 1 - rows, width - 1 - columns))
    boxes = torch.stack([left, top, width - beside, height - below], dim=-1)
    empty = (boxes[..., 2:] <= boxes[..., :2]).any(dim=-1, keepdim=True)
    return boxes.masked_fill(empty, 0)


def _first_turn(network: nn.Module, bands: int, turns: Tensor, places: tuple[int, int]) -> Tensor:
    """When pixels turn to NaN one turn after the other, the first turn that reaches each place: [h, w] int64.

    turns: [H, W], from 0 on without gaps; places: h, w. Where none reaches, the number of turns.
    """
    low, high = torch.zeros(places, dtype=torch.int64), torch.full(places, int(turns.max()) + 1)
    while (unsure := low < high).any():
        middle = (low + high)[unsure] // 2
        tried, which = middle.unique(return_inverse=True)
        reached = []
        for part in tried.split(IMAGES_AT_ONCE):
            images = torch.zeros(len(part), bands, *turns.shape)
            images.masked_fill_((turns <= part[:, None, None])[:, None], torch.nan)
            reached.append(network(images).isnan().any(dim=1))
        hit = torch.cat(reached)[:, unsure].gather(0, which[None])[0]
        low[unsure], high[unsure] = torch.where(hit, low[unsure], middle + 1), torch.where(hit, middle, high[unsure])
    return low


def _small(bands: int) -> nn.Sequential:
    """Four convolutions and two poolings, rounded up: 28 pixels become 7 places, each of which sees 22 pixels."""

    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *(*block(bands, 32), nn.MaxPool2d(2, ceil_mode=True)),
        *(*block(32, 64), *block(64, 64), nn.MaxPool2d(2, ceil_mode=True)),
        *block(64, 128),
    )


def from_torchvision(name: str, **options: Any) -> nn.Module:
    """A whole classification network of torchvision. options: of its function. Raises ProtolensError if unknown."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        hint = did_you_mean(name, known, "torchvision:")
        raise ProtolensError(f"torchvision:{name} is no classification network of torchvision{hint}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about weights that Inception would start with
        network: nn.Module = models.get_model(name, weights=None, **options)
    return network


def from_timm(rest: str, **options: Any) -> nn.Module:
    """A network by its name in timm and options, which are JSON or plain words: NAME?option=value&option=value."""
    try:
        import timm
    except ImportError:
        raise ProtolensError(f"timm:{rest} needs the extra: pip install 'protolens[timm]'") from None
    name, _, words = rest.partition("?")
    if not timm.is_model(name):
        alike = [known for known in timm.list_models() if known[:3] == name[:3]]  # timm has too many to list
        raise ProtolensError(f"timm:{name} is no network of timm{did_you_mean(name, alike, 'timm:')}")
    options |= {key: _value(word) for key, word in parse_qsl(words, keep_blank_values=True)}
    try:
        # checkpoint_path is named so that no option can be: it would load a pickle
        return timm.create_model(name, pretrained=False, checkpoint_path="", **options)
    except Exception as error:  # its networks check their options each in their own way
        raise ProtolensError(
            f"timm:{rest} cannot be made ({first_line(error).rstrip('.')}); mend what follows its ?"
        ) from error


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def _timm_tracing() -> dict[str, Any]:
    """What torch.fx must not look into in timm."""
    layers: Any = importlib.import_module("timm.layers")
    return {"leaf_modules": layers.get_notrace_modules(), "autowrap_functions": layers.get_notrace_functions()}


def _cut(network: nn.Module, name: str, cut: str, tracing: dict[str, Any]) -> nn.Module:
    """The network up to and including a layer, or up to its head; layers beyond it are gone. It returns {MAP: maps}."""
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    try:
        (_, *nodes) = get_graph_node_names(network, dict(tracing), suppress_diff_warning=True)[1]
    except Exception as error:  # tracing runs the network's own Python on proxies: anything at all may come
        reason = first_line(error).rstrip(".")
        raise ProtolensError(
            f"{name} cannot be cut, as torch.fx cannot follow it ({reason}); choose another"
        ) from error
    if not cut:
        heads = (place for place, node in enumerate(nodes) if node.partition(".")[0] in HEADS)
        cut = nodes[next(heads, len(nodes)) - 1]
    known = set(_prefixes(nodes))
    if cut not in known:
        hint = did_you_mean_part(cut, known)
        raise ProtolensError(f"{name} has no layer {cut} to be cut at{hint}")
    return create_feature_extractor(network, {cut: MAP}, tracer_kwargs=dict(tracing), suppress_diff_warning=True)


def _prefixes(nodes: list[str]) -> Iterator[str]:
    """Each dotted name and all that it begins with: layer1.0.conv1, layer1.0, layer1."""
    for node in nodes:
        parts = node.split(".")
        yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _map_shape(network: nn.Module, bands: int, size: tuple[int, int]) -> tuple[int, ...]:
    """The shape that a network gives for one image of a height and width, on a device without numbers."""
    shadow = copy.deepcopy(network).to("meta", torch.float32).eval()
    try:
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # fx prints a listing about every error
            maps = shadow(torch.empty(1, bands, *size, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = first_line(error).rstrip(".")
        raise ProtolensError(
            f"the network cannot take images of {size[0]} x {size[1]} pixels ({reason}); set data.size to more pixels "
            "or cut the network earlier"
        ) from error
    return tuple(getattr(maps, "shape", ()))
