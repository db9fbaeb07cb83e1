"""What relevance does at each function of torch, by the function's name; others have no rule."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

Function = Callable[..., Any]
WEIGHTED = {"conv1d", "conv2d", "conv3d", "linear"}
# each value hands its relevance to the one that it was made of
PASSED = {
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "hardtanh", "prelu"),
    *("hardswish", "sigmoid", "hardsigmoid", "tanh", "logsigmoid", "clamp", "clamp_min", "clamp_max", "clip", "detach"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
    *("normalize", "layer_norm", "group_norm", "instance_norm", "local_response_norm"),
}
# values are moved or chosen: relevance goes the gradient's way
MOVED = {
    *("flatten", "view", "reshape", "permute", "transpose", "swapaxes", "movedim", "squeeze", "unsqueeze", "expand"),
    *("contiguous", "clone", "cat", "concat", "stack", "chunk", "split", "unbind", "narrow", "getitem", "pad", "roll"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    *("amax", "max", "to", "float", "type_as", "get:T", "get:mT", "t", "view_as", "reshape_as", "expand_as", "repeat"),
    *("unflatten", "select", "index_select", "gather", "pixel_shuffle", "channel_shuffle", "flip", "tile", "ravel"),
    *("where", "masked_fill"),
}
# linear in all that has come from the image: inputs divide by what they add
SUMMED = {
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("mean", "sum", "interpolate", "add", "radd", "sub", "rsub", "neg"),
}
# linear in one factor: the other is a constant or a gate
MULTIPLIED = {"mul", "rmul", "div", "truediv", "matmul", "rmatmul", "mm", "bmm"}
GATES = {"sigmoid", "hardsigmoid"}
# share out among places or channels; what they multiply gets the relevance
CONSTANT = {"softmax"}
COMMUTING = {"avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"}
COMMUTING |= {"flatten", "dropout", "dropout2d", "adaptive_avg_pool3d"}


def name_of(function: Function) -> str:
    """What a function is called in all its forms: relu for torch.relu, Tensor.relu_ and functional.relu."""
    name = str(getattr(function, "__name__", function))
    if name == "__get__":
        return f"get:{getattr(getattr(function, '__self__', None), '__name__', '')}"
    return name.strip("_")


def is_in_place(name: str) -> bool:
    """Whether a function of this name changes its first argument: add_ and __iadd__ do."""
    return name.startswith("__i") and name != "__invert__" if name.endswith("__") else name.endswith("_")


def keeps_constants(name: str, args: Any, kwargs: Any) -> bool:
    """Whether the function gives a constant where it takes one: means that count padded zeros do not."""
    if name.startswith("avg_pool"):
        named = dict(zip(("stride", "padding", "ceil_mode"), args[2:], strict=False)) | kwargs
        return not named.get("padding") and not named.get("ceil_mode")
    if name == "flatten":
        return bool((args[1:2] or (kwargs.get("start_dim", 0),))[0])
    return True


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors among arguments."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from tensors_in(part)
    elif isinstance(tree, dict):
        yield from tensors_in(list(tree.values()))
