"""Convolutions of small maps, several images beside each other.

A processor's matrix tiles take 16 places of a row at a time. Maps of 4 or 8 columns leave most of
a tile empty, so that a layer of 4x4 takes three times as long as one of 16x16 with as many
operations (docs/LOG.md). Here images stand in one long row with a column of zeros between them,
which is the padding of both neighbours; what windows across a border give is left out. The sums are
the same numbers in the same order.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeserve.models.layers import Window

NARROW = 8  # columns of output; wider maps fill tiles by themselves
TOGETHER = 32  # images in a row at most


@functools.cache
def has_tiles() -> bool:
    """Whether this processor multiplies bfloat16 in tiles (AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def pays(x: Tensor, window: Window) -> bool:
    """Whether ``x [N, C, H, W]`` is better convolved side by side."""
    narrow = window.positions((x.shape[2], x.shape[3]))[1] <= NARROW
    tiled = x.dtype is torch.bfloat16 and x.device.type == "cpu" and has_tiles()
    return tiled and narrow and x.shape[3] >= window.stride[1]


def convolved_side_by_side(
    x: Tensor, kernels: Tensor, bias: Tensor | None, window: Window
) -> Tensor:
    """``F.conv2d`` of ``x [N, C, H, W]`` with ``kernels [c_out, C, h, w]``, on a CPU."""
    count, channels, height, width = x.shape
    rows, columns = window.positions((height, width))
    group = max(g for g in range(1, TOGETHER + 1) if count % g == 0)
    (_, step), (top, side) = window.stride, window.padding
    last = (columns - 1) * step + window.kernel[1] - side  # what an image's last window sees
    period = -(-max(width + side, last, columns * step) // step) * step  # windows begin alike
    maps = x.permute(0, 2, 3, 1).reshape(-1, group, height, width, channels)
    padded = F.pad(maps, (0, 0, 0, period - width)).permute(0, 2, 1, 3, 4)
    row = F.pad(padded.reshape(-1, height, group * period, channels), (0, 0, side, 0))
    needed = (group * period // step - 1) * step + window.kernel[1]
    row = F.pad(row, (0, 0, 0, max(0, needed - row.shape[2])))
    sums = F.conv2d(row.permute(0, 3, 1, 2), kernels, bias, window.stride, (top, 0))
    apart = sums.permute(0, 2, 3, 1)[:, :, : group * period // step]
    apart = apart.reshape(-1, rows, group, period // step, kernels.shape[0])[:, :, :, :columns]
    return apart.permute(0, 2, 1, 3, 4).reshape(count, rows, columns, -1).permute(0, 3, 1, 2)
