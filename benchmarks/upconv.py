"""The decoder's last layer, forward and backward: taps first and two matrix products, against resize and convolve."""

import torch
from common import Figure, arguments, in_turn, show

from protolens.nn.decoders import LastUpConv, UpConv
from protolens.train.device import keep_freed_memory

BATCH = 250
GOAL = 2.0


def figure(channels: int, bands: int, before: int, size: int) -> Figure:
    fast = LastUpConv(channels, bands, (before, before), (size, size)).to(memory_format=torch.channels_last)
    slow = UpConv(channels, bands, (size, size)).to(memory_format=torch.channels_last)
    slow.load_state_dict(fast.state_dict())
    maps = torch.rand(BATCH, channels, before, before).to(memory_format=torch.channels_last).requires_grad_()
    direction = torch.rand(BATCH, bands, size, size)
    torch.testing.assert_close(fast(maps), slow(maps))
    ours, theirs = in_turn(*(lambda layer=layer: layer(maps).backward(direction) for layer in (fast, slow)), rounds=20)
    name = f"upconv {channels} -> {bands}, {before} -> {size} px, batch {BATCH}"
    return Figure(name, 1e3 * ours, 1e3 * theirs, "ms", theirs / ours, GOAL)


given = arguments(__doc__)
keep_freed_memory()
show([figure(32, 1, 14, 28), figure(32, 3, 16, 32), figure(256, 3, 16, 32)], given.json)
