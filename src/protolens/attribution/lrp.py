"""Layer-wise relevance propagation (Bach et al. 2015) for any network, batched over images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from protolens.attribution.flow import Flow
from protolens.attribution.rules import COMPOSITES
from protolens.errors import ProtolensError, did_you_mean

DEFAULT = "epsilon-plus-flat"


def lrp(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    targets: Tensor,
    composite: str = DEFAULT,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Relevance of every pixel and band for the logit of a class: [B, C, H, W].

    network: images [B, C, H, W] -> logits [B, K], in evaluation mode; targets: [B], the class of each image; composite:
    a name of COMPOSITES, rules by kind of layer, of which a dense first layer has z-box in place of flat; bounds: least
    and greatest value of a pixel, for the rule z-box. On a network without biases relevance sums to the logit; else
    constants keep a part. Raises ProtolensError for a function without a rule, an unknown composite.
    """
    with torch.no_grad(), start(images, composite, bounds) as flow:
        logits = network(flow.images)
    output = flow.carried(logits)
    chosen = nn.functional.one_hot(targets, output.shape[1]).to(output.dtype)
    return flow.relevance(output, output.detach() * chosen)


def start(images: Tensor, composite: str = DEFAULT, bounds: tuple[float, float] = (0.0, 1.0)) -> Flow:
    """A flow of relevance with the rules of that name. Raises ProtolensError for an unknown one."""
    if composite not in COMPOSITES:
        raise ProtolensError(f"{composite} is no composite of rules{did_you_mean(composite, COMPOSITES)}")
    return Flow(images, COMPOSITES[composite], *bounds)
