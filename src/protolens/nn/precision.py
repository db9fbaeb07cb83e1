"""What keeps full precision when the rest of a forward pass does not."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Given = ParamSpec("Given")
Result = TypeVar("Result")
HALF = (torch.bfloat16, torch.float16)


def in_full_precision(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A function that computes in float32 whatever autocast says, on tensors of half precision as on others.

    Distances are differences of large numbers: in bfloat16 three digits are left, and the nearest place is another.
    """

    @wraps(function)
    def exact(*given: Given.args, **named: Given.kwargs) -> Result:
        device = next(value.device.type for value in (*given, *named.values()) if isinstance(value, Tensor))
        if device == "meta":  # shapes alone, which autocast knows nothing of
            return function(*given, **named)
        full: Any = function
        with torch.autocast(device, enabled=False):
            result: Result = full(*map(_full, given), **{name: _full(value) for name, value in named.items()})
        return result

    return exact


def _full(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value
