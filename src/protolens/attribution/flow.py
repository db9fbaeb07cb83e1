"""Runs a network as it is and notes, function by function, how relevance flows back from its output to its input.

Nothing of the network is changed or traced: while a `Flow` is entered, every function of torch that the network calls
comes by here, whatever Python stands around it. One that works on what has come from the image gets a rule for the way
back, and one without a rule raises ProtolensError. Batch normalisation is folded into the linear layer before it, else
into the one behind it, for rules look at the products of inputs and weights.
"""

from collections.abc import Callable, Container, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from protolens.attribution.functions import (
    COMMUTING,
    CONSTANT,
    GATES,
    MOVED,
    MULTIPLIED,
    PASSED,
    SUMMED,
    WEIGHTED,
    Function,
    is_in_place,
    keeps_constants,
    name_of,
    tensors_in,
)
from protolens.attribution.rules import STABILISER, Composite, Divided, Layer, flat, stabilised, z_box
from protolens.errors import ProtolensError


@dataclass
class Noted:
    """What is known of a tensor that has come from the image."""

    value: Tensor


@dataclass
class Pixels(Noted):
    """Not yet through a layer with weights. low, high: the same made of the darkest and the brightest image."""

    low: Tensor
    high: Tensor


@dataclass
class Carried(Noted):
    """The value is in a graph of autograd whose gradient is relevance. gate: whether it was squeezed into [0, 1]."""

    gate: bool = False


@dataclass
class Called(Noted):
    """A linear layer whose rule waits, because a batch normalisation may follow that belongs to it."""

    given: Tensor  # carried
    weight: Tensor
    apply: Callable[[Tensor, Tensor], Tensor]
    dense: bool
    pixels: Pixels | None
    carried: Tensor | None = None  # once something else has asked for it


@dataclass
class Lost(Noted):
    """Made by a function without a rule: no harm unless relevance has to come back through it."""

    function: str


@dataclass
class Scaled(Noted):
    """given * scale + shift, which waits for a linear layer to be folded into."""

    given: Tensor  # carried
    scale: Tensor
    shift: Tensor


class Through(torch.autograd.Function):
    """A value whose relevance goes back to those that it was made of in the way that `back` says."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, back: Callable[[Tensor], Sequence[Tensor]], *_given: Tensor) -> Tensor:
        """The value itself."""
        ctx.back = back
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, ...]:
        """Relevance in the place of gradients."""
        return None, None, *ctx.back(relevance[0])


class Flow(TorchFunctionMode):
    """Enter it, call the network on `images`, and ask for the `relevance` of the images for that of its output.

    images: [B, C, H, W]; low, high: least and greatest value of a pixel. Only evaluation mode is understood.
    """

    def __init__(self, images: Tensor, composite: Composite, low: float = 0.0, high: float = 1.0):
        super().__init__()
        # in the order that needs no change of the weights, which are looked at three times for each image
        images = images.detach().clone(memory_format=torch.contiguous_format)
        self.images, self.composite = images.requires_grad_(), composite
        self.noted: MutableMapping[Tensor, Noted] = WeakIdKeyDictionary()
        bounds = (torch.full_like(images[:1], bound) for bound in (low, high))
        self._note(self.images, Pixels(self.images, *bounds))

    def carried(self, tensor: Tensor) -> Tensor:
        """The tensor in the graph of relevance. Raises ProtolensError if it has not come from the images."""
        if tensor not in self.noted:
            raise ProtolensError(
                "the network's output does not come from its input by functions with a rule for relevance; a network "
                "has to end in logits, without softmax"
            )
        return self._carry(self.noted[tensor])

    def relevance(self, output: Tensor, of_output: Tensor) -> Tensor:
        """[B, C, H, W]: relevance of pixels for that of an output, which `carried` gave. May be repeated."""
        (found,) = torch.autograd.grad(output, self.images, of_output, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self.images) if found is None else found

    def __torch_function__(self, function: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any function of torch that the network calls."""
        kwargs = kwargs or {}
        sources = self._sources(args, kwargs)
        if not sources:
            return function(*args, **kwargs)
        raw = str(getattr(function, "__name__", function))
        name, in_place = name_of(function), is_in_place(raw)
        if in_place:
            name = name.removeprefix("i") if raw.startswith("__i") else name
            function = getattr(Tensor, name, function)
        result = self._follow(name, function, args, kwargs)
        if in_place:  # whoever holds the changed tensor means the new one
            self._note(args[0], self.noted[result])
        return result

    def _follow(self, name: str, function: Function, args: Any, kwargs: Any) -> Any:
        states = [self.noted[tensor] for tensor in self._sources(args, kwargs)]
        lost = next((state for state in states if isinstance(state, Lost)), None)
        if lost or name == "setitem":
            return self._lose(lost.function if lost else name, function, args, kwargs)
        if name in WEIGHTED:
            return self._weigh(name, function, args, kwargs)
        if all(isinstance(state, Pixels) for state in states):
            return self._of_pixels(name, function, args, kwargs)
        if name == "batch_norm":
            return self._normalise(function, args, kwargs)
        if name in COMMUTING and isinstance(states[0], Scaled) and keeps_constants(name, args, kwargs):
            return self._commute(states[0], name, function, args, kwargs)
        return self._apply(name, function, args, kwargs)

    def _apply(self, name: str, function: Function, args: Any, kwargs: Any) -> Any:
        """A function whose rule looks at nothing but its name."""
        if name in PASSED:
            return self._pass(name, function, args, kwargs)
        if name in MOVED:
            return self._move(function, args, kwargs)
        if name in SUMMED or name in MULTIPLIED:
            return self._sum(name, function, args, kwargs)
        if name in CONSTANT:
            return self._call(function, args, kwargs, _value)
        return self._lose(name, function, args, kwargs)

    def _lose(self, name: str, function: Function, args: Any, kwargs: Any) -> Any:
        """A function without a rule; also sizes, comparisons and the like, whose results carry nothing."""
        result = self._call(function, args, kwargs, _value)
        changed = args[0] if result is None else None  # setitem
        for tensor in tensors_in((result, changed)):
            if tensor.is_floating_point():
                self._note(tensor, Lost(tensor, name))
        return result

    def _move(self, function: Function, args: Any, kwargs: Any) -> Any:
        with torch.enable_grad():
            result = self._call(function, args, kwargs, self._carry)
        for tensor in tensors_in(result):
            if tensor.is_floating_point():
                self._note(tensor, Carried(tensor))
        return result

    def _of_pixels(self, name: str, function: Function, args: Any, kwargs: Any) -> Any:
        """What is done to pixels before the first layer with weights, such as normalisation, is done to bounds too."""
        bounds = []
        for look in (lambda state: state.low, lambda state: state.high):
            bounds.append(list(tensors_in(self._call(function, args, kwargs, look))))
        if not bounds[0]:  # a size, say
            return self._call(function, args, kwargs, _value)
        sources = self._sources(args, kwargs)
        alike = len(sources) == 1 and all(result.shape[1:] == sources[0].shape[1:] for result in bounds[0])
        change = self._apply if name in MOVED or not alike else self._pass
        result = change(name, function, args, kwargs)
        for tensor, low, high in zip(tensors_in(result), *bounds, strict=True):
            state = self.noted.get(tensor)
            if isinstance(state, Carried):
                self._note(tensor, Pixels(state.value, torch.minimum(low, high), torch.maximum(low, high)))
        return result

    def _weigh(self, name: str, function: Function, args: Any, kwargs: Any) -> Tensor:
        """A convolution or a dense layer."""
        named = dict(zip(("input", "weight", "bias"), args[:3], strict=False)) | kwargs
        state, weight = self.noted.get(named.pop("input")), named.pop("weight")
        if state is None or weight in self.noted:
            return self._lose(f"{name} with weights that depend on the image", function, args, kwargs)
        named.pop("bias", None)
        rest = args[3:]

        def apply(given: Tensor, weight: Tensor) -> Tensor:
            result: Tensor = function(given, weight, None, *rest, **named)
            return result

        value = self._call(function, args, kwargs, _value)
        weight = weight.detach()
        if isinstance(state, Scaled):
            given, weight = state.given, _scaled_inputs(weight, state.scale, name == "linear")
        else:
            given = self._carry(state)
        pixels = state if isinstance(state, Pixels) else None
        return self._note(value, Called(value, given, weight, apply, name == "linear", pixels))

    def _normalise(self, function: Function, args: Any, kwargs: Any) -> Tensor:
        """Batch normalisation with the statistics of training, a scale and a shift of each channel."""
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        named = dict(zip(names, args, strict=False)) | kwargs
        state = self.noted[named["input"]]
        if named.get("training") or named.get("running_mean") is None:
            return self._lose("batch_norm with the statistics of the batch", function, args, kwargs)
        value = self._call(function, args, kwargs, _value)
        scale = (named["running_var"] + named.get("eps", 1e-5)).rsqrt()
        if named.get("weight") is not None:
            scale = scale * named["weight"]
        shift = -named["running_mean"] * scale
        if named.get("bias") is not None:
            shift = shift + named["bias"]
        if isinstance(state, Called) and state.carried is None:
            rows = scale.detach().view(-1, *[1] * (state.weight.ndim - 1))
            return self._note(value, replace(state, value=value, weight=state.weight * rows))
        shape = (1, -1, *[1] * (value.ndim - 2))
        scale, shift = scale.detach().view(shape), shift.detach().view(shape)
        return self._note(value, Scaled(value, self._carry(state), scale, shift))

    def _commute(self, state: Scaled, name: str, function: Function, args: Any, kwargs: Any) -> Tensor:
        """Means and flattening of a scaled tensor are the same of what was scaled."""
        value: Tensor = self._call(function, args, kwargs, _value)
        inner = self._note(state.given, Carried(state.given))
        given = self._follow(name, function, (inner, *args[1:]), kwargs)
        scale, shift = state.scale, state.shift
        if name == "flatten":
            scale, shift = (function(part.expand_as(state.given[:1]), *args[1:], **kwargs) for part in (scale, shift))
        return self._note(value, Scaled(value, self._carry(self.noted[given]), scale, shift))

    def _pass(self, name: str, function: Function, args: Any, kwargs: Any) -> Tensor:
        state = self.noted[self._sources(args, kwargs)[0]]
        if kwargs.get("inplace"):
            kwargs = kwargs | {"inplace": False}
        in_place = any(option is True for option in (*args[1:], *kwargs.values()))
        look = _copy if in_place else _value
        value: Tensor = self._call(function, args, kwargs, look)
        with torch.enable_grad():
            carried = Through.apply(value, lambda relevance: (relevance,), self._carry(state))
        return self._note(carried, Carried(carried, gate=name in GATES))

    def _sum(self, name: str, function: Function, args: Any, kwargs: Any) -> Tensor:
        """A function that is linear in all tensors that carry relevance: they divide by what they add to the result."""
        sources = self._sources(args, kwargs)
        if name in MULTIPLIED and len(sources) > 1:
            sources = [tensor for tensor in sources if not getattr(self.noted[tensor], "gate", False)]
            if len(sources) != 1:
                return self._lose(f"{name} of two tensors that both depend on the image", function, args, kwargs)
        given = [self._carry(self.noted[tensor]) for tensor in sources]
        value: Tensor = self._call(function, args, kwargs, _value)
        known = WeakIdKeyDictionary({tensor: _value(self.noted[tensor]) for tensor in self._sources(args, kwargs)})

        # a way back that knew the flow, which knows all results, would be a cycle that is never freed
        def back(relevance: Tensor) -> list[Tensor]:
            inputs = [tensor.detach().requires_grad_() for tensor in given]
            values = WeakIdKeyDictionary(known | dict(zip(sources, inputs, strict=True)))
            with torch.enable_grad():
                look = values.__getitem__
                result = function(*_replaced(args, values, look), **_replaced(kwargs, values, look))
            slopes = torch.autograd.grad(result, inputs, relevance / stabilised(value, STABILISER))
            return [tensor.detach() * slope for tensor, slope in zip(inputs, slopes, strict=True)]

        with torch.enable_grad():
            carried = Through.apply(value, back, *given)
        return self._note(carried, Carried(carried))

    def _carry(self, state: Noted) -> Tensor:
        """The value in the graph of relevance."""
        if isinstance(state, Lost):
            raise without_rule(state.function)
        with torch.enable_grad():
            if isinstance(state, Called):
                if state.carried is None:
                    state.carried = Through.apply(state.value, self._rule(state), state.given)
                return state.carried
            if isinstance(state, Scaled):  # nothing to fold it into
                carried: Tensor = Through.apply(state.value, lambda relevance: (relevance,), state.given)
                return carried
        return state.value

    def _rule(self, state: Called) -> Callable[[Tensor], Sequence[Tensor]]:
        pixels = state.pixels
        bounds = (pixels.low, pixels.high) if pixels else (None, None)
        layer = Layer(state.given.detach(), state.weight, state.apply, state.value, *bounds)
        rule = self.composite.dense if state.dense else self.composite.convolution
        if pixels:
            # a dense layer sees every pixel: all of them alike would tell none from another
            rule = z_box if state.dense and self.composite.first is flat else self.composite.first
        divided = Divided(lambda: rule(layer), state.apply)
        return lambda relevance: (divided(relevance),)

    def _note(self, tensor: Tensor, state: Noted) -> Tensor:
        self.noted[tensor] = state
        return tensor

    def _sources(self, args: Any, kwargs: Any) -> list[Tensor]:
        """Arguments that have come from the image."""
        return [tensor for tensor in tensors_in((args, kwargs)) if tensor in self.noted]

    def _call(self, function: Function, args: Any, kwargs: Any, look: Callable[[Any], Tensor]) -> Any:
        """The function on what `look` gives for each argument that has come from the image."""
        swap = lambda tensor: look(self.noted[tensor])  # noqa: E731
        return function(*_replaced(args, self.noted, swap), **_replaced(kwargs, self.noted, swap))


def without_rule(name: str) -> ProtolensError:
    """The error for a function that relevance cannot pass."""
    return ProtolensError(
        f"relevance cannot go back through {name}, which has no rule; another method, such as integrated-gradients, "
        "can explain this network"
    )


def _replaced(tree: Any, noted: Container[Tensor], look: Callable[[Tensor], Tensor]) -> Any:
    """Arguments with other tensors in the place of those that are noted."""
    if isinstance(tree, Tensor):
        return look(tree) if tree in noted else tree
    if isinstance(tree, list | tuple):
        return type(tree)(_replaced(part, noted, look) for part in tree)
    if isinstance(tree, dict):
        return {key: _replaced(part, noted, look) for key, part in tree.items()}
    return tree


def _value(state: Noted) -> Tensor:
    return state.value.detach()


def _copy(state: Noted) -> Tensor:
    return state.value.detach().clone()


def _scaled_inputs(weight: Tensor, scale: Tensor, dense: bool) -> Tensor:
    """Weights that do to inputs what the old ones did to inputs times `scale`."""
    if dense:
        return weight * scale.flatten()
    outputs, inputs = weight.shape[:2]
    groups = scale.numel() // inputs
    parts = weight.reshape(groups, outputs // groups, *weight.shape[1:])
    return (parts * scale.view(groups, 1, inputs, *[1] * (weight.ndim - 2))).view_as(weight)
