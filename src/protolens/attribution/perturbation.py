"""What a classifier says when parts of an image are hidden: the ground of LIME and KernelSHAP."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from protolens.errors import ProtolensError, did_you_mean

Answer = Callable[[Tensor], Tensor]  # images [N, C, H, W] to what is said of each, [N, K]
Fill = Literal["segment", "image", "black"]
Plan = tuple[Tensor, Callable[[Tensor], Tensor]]
Precision = Literal["float32", "bfloat16"]
BYTES_AT_ONCE = 2 << 20  # of perturbed images; more fits no cache, and all of them no memory


def check_precision(name: str) -> None:
    """Raise ProtolensError for arithmetic that is not known."""
    known = get_args(Precision)
    if name not in known:
        raise ProtolensError(f"{name} is not a precision{did_you_mean(name, known)}")


def in_precision(answer: Answer, precision: str) -> Answer:
    """The same answer, computed by arithmetic of that precision and given as float32."""
    check_precision(precision)

    def rounded(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return answer(images).float()

    return rounded


@torch.no_grad()
def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy with batch normalisation in the convolutions before it, or the network itself where that is not possible.

    In bfloat16 normalisation takes a fifth of a ResNet's time. network: in evaluation mode, for it is traced, and what
    cannot be traced is left as it is; images: both have to say the same of the first.
    """
    from torch.fx.experimental.optimization import fuse

    try:
        copy = fuse(network)
        said, told = network(images[:1]), copy(images[:1])
    except Exception:  # of whatever a network does that cannot be traced or copied
        return network
    return copy if torch.allclose(told, said, rtol=1e-4, atol=1e-4 * float(said.abs().max())) else network


def superpixels(images: Tensor, segments: int = 50) -> Tensor:
    """Number of the segment that each pixel is in, [B, H, W], from 0 without gaps, by SLIC (Achanta 2012).

    images: [B, C, H, W] in [0, 1], of any number of bands; segments: how many are asked for; SLIC comes close.
    """
    from skimage.segmentation import slic

    pixels = images.detach().movedim(1, -1).cpu().double().numpy()
    colour = pixels.shape[-1] == 3
    cut = partial(slic, n_segments=segments, compactness=10 if colour else 0.1, start_label=0, convert2lab=colour)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # it lets go of Python's lock
        found = threads.map(cut, pixels)
    numbered = [np.unique(labels, return_inverse=True)[1].reshape(labels.shape) for labels in found]
    return torch.from_numpy(np.stack(numbered)).to(images.device)


def check_segments(images: Tensor, segments: Tensor) -> Tensor:
    """How many segments each image has, [B]. Raises ProtolensError where they do not fit or are not numbered so."""
    expected = (len(images), *images.shape[2:])
    if tuple(segments.shape) != expected or segments.is_floating_point():
        raise ProtolensError(
            f"segments are {tuple(segments.shape)} of {segments.dtype}; they have to be whole numbers, {expected}"
        )
    counts: Tensor = segments.flatten(1).amax(dim=1) + 1
    whole = segments.flatten(1).long()
    present = torch.zeros(len(segments), max(1, int(counts.max())), dtype=torch.bool, device=segments.device)
    if (segments < 0).any() or (present.scatter_(1, whole, True).sum(dim=1) != counts).any():
        raise ProtolensError("the segments of each image have to be numbered from 0 without gaps")
    return counts


def fill_of(images: Tensor, segments: Tensor, fill: Fill) -> Tensor:
    """What is seen where a segment is hidden: its own mean, [B, C, H, W], or the image's mean or black, [B, C, 1, 1].

    The package lime shows a segment's own mean, which hides little of a stroke on black.
    """
    if fill == "black":
        return torch.zeros_like(images[:, :, :1, :1])
    if fill == "image":
        return images.mean(dim=(2, 3), keepdim=True)
    flat, number = images.flatten(2), segments.flatten(1)
    count = int(number.max()) + 1
    sums = images.new_zeros(len(images), flat.shape[1], count)
    places = number[:, None].expand_as(flat)
    sums.scatter_add_(2, places, flat)
    sizes = images.new_zeros(len(images), count).scatter_add_(1, number, torch.ones_like(flat[:, 0])).clamp_min(1)
    return (sums / sizes[:, None]).gather(2, places).view_as(images)


@torch.no_grad()
def answers(answer: Answer, images: Tensor, hidden: Tensor, segments: Tensor, kept: Tensor, targets: Tensor) -> Tensor:
    """What is said of the target class when some segments are hidden: [B, M], float64.

    images: [B, C, H, W]; hidden: what is seen instead, of the same shape or [B, C, 1, 1]; segments: [B, H, W]; kept:
    [M, d] booleans, the same hidings for each image; targets: [B]. Images and hidings go together through the
    classifier, so many as fit BYTES_AT_ONCE.
    """
    shape = (*images.shape[2:], images.shape[1])
    # bands last, for convolutions are a third faster so; a pixel's bands are hidden together
    shown, unseen = (pixels.expand_as(images).movedim(1, -1).flatten(1) for pixels in (images, hidden))
    number = segments[..., None].expand(len(segments), *shape).flatten(1)
    seen = kept.to(images)  # 1 where a segment is seen
    said = []
    for image, hiding in blocks(len(images), len(kept), at_once(images)):
        share = seen[hiding].index_select(1, number[image].flatten()).view(-1, *shown[image].shape)
        pixels = torch.lerp(unseen[image], shown[image], share)  # exactly one or the other
        told = answer(pixels.view(-1, *shape).movedim(-1, 1)).view(*share.shape[:2], -1)
        said.append(told.gather(2, targets[image, None].expand(len(told), -1, 1))[..., 0].mT.double())
    return torch.cat([row.flatten() for row in said]).view(len(images), len(kept))


def blocks(images: int, times: int, most: int) -> Iterator[tuple[slice, slice]]:
    """All pairs of an image and a time, image by image, in blocks of at most so many pairs and of about one size."""
    parts = -(-times // most)
    ends = [times * part // parts for part in range(parts + 1)]
    together = 1 if parts > 1 else most // times
    for first in range(0, images, together):
        for begin, end in pairwise(ends):
            yield slice(first, first + together), slice(begin, end)


def at_once(images: Tensor) -> int:
    """How many images of this shape fit BYTES_AT_ONCE, at least one."""
    return max(1, BYTES_AT_ONCE // (images[0].numel() * images.element_size()))


def rounds(images: Tensor, times: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Each image so many times: positions of images and numbers of the time, as many at once as fit BYTES_AT_ONCE."""
    for pairs in torch.arange(len(images) * times, device=images.device).split(at_once(images)):
        yield pairs // times, pairs % times


def map_of_segments(
    answer: Answer, images: Tensor, targets: Tensor, segments: Tensor, fill: Fill, plan: Callable[[int], Plan]
) -> Tensor:
    """What hiding segments tells of each, as a value of its pixels, [B, H, W]: the way of LIME and KernelSHAP.

    answer, images, targets, segments: as for `answers`; plan: for so many segments, which hidings are looked at,
    [M, d] booleans, and what makes values [B, d] of what is said of them, [B, M]. Images with equally many segments go
    together.
    """
    counts, hidden = check_segments(images, segments), fill_of(images, segments, fill)
    result = torch.zeros(segments.shape, dtype=torch.float64, device=images.device)
    for count in counts.unique().tolist():
        chosen = (counts == count).nonzero().flatten()
        kept, solve = plan(count)
        said = answers(answer, images[chosen], hidden[chosen], segments[chosen], kept, targets[chosen])
        result[chosen] = painted(solve(said), segments[chosen])
    return result.float()


def painted(values: Tensor, segments: Tensor) -> Tensor:
    """Each pixel with the value of its segment. values: [B, d]; segments: [B, H, W]; returns [B, H, W]."""
    return values.gather(1, segments.flatten(1)).view(segments.shape)
