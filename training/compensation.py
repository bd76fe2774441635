"""Rounding the first layer to few bits with the least error of its sums, not of its weights.

    minimise  E[((q / s - w) x)²] = d C d'        d = q / s - w,  C the covariance of patches x

over integers ``q`` and a scale ``s`` for every output channel, by coordinate descent: each
weight in turn compensates the errors of all others. The pixels of a patch are nearly equal, so
errors of opposite sign cancel; weights that are rounded singly let errors add up. The mean of
``x`` is left out, since the batch-norm after the layer subtracts it. (The objective is that of
GPTQ: E. Frantar et al., ICLR 2023.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeserve.models.layers import Conv
from spikeserve.training.errors import TrainingError

SCALES = torch.linspace(0.3, 1.0, 29)
"""Shares of the largest weight that are tried as the largest integer."""
SWEEPS = 30
POSITIONS = 1 << 19


def patch_covariance(layer: Conv, frames: Tensor) -> Tensor:
    """Covariance ``[rows, rows]`` of the patches that ``layer`` sees in ``[B, C, H, W]``.

    Raises:
        TrainingError: the layer is grouped.
    """
    if layer.groups > 1:
        raise TrainingError(f"{layer.name!r} is grouped: its rounding cannot be compensated")
    window, c_in = layer.window, layer.in_shape[2]
    columns = F.unfold(frames.float(), window.kernel, 1, window.padding, window.stride)
    patches = columns.view(len(frames), c_in, window.area, -1).permute(0, 3, 2, 1).flatten(0, 1)
    patches = patches.flatten(1).double()  # rows as weights have them: (k, k, c_in)
    patches = patches[:: len(patches) // POSITIONS + 1]
    centred = patches - patches.mean(dim=0)
    covariance: Tensor = centred.T @ centred / len(centred)
    return covariance


@torch.no_grad()
def compensated(weight: Tensor, covariance: Tensor, bits: int) -> Tensor:
    """``weight [c_out, rows]`` on a grid of ``bits`` bits a channel, with errors that cancel.

    Args:
        covariance: of the layer's inputs, ``[rows, rows]``.

    Each channel uses its largest integer, so that scaling by the largest weight finds the same
    grid.
    """
    target, largest = weight.double(), 2 ** (bits - 1) - 1
    best, least = target, torch.full((len(weight),), torch.inf, dtype=torch.float64)
    least = least.to(weight.device)
    for share in SCALES.tolist():
        scale = largest / (target.abs().amax(dim=1).clamp(min=1e-8) * share)
        integers = _coordinate_descent(target, covariance, scale, largest)
        candidate = integers / scale[:, None]
        error = candidate - target
        squared = ((error @ covariance) * error).sum(dim=1)
        better = (squared < least) & (integers.abs().amax(dim=1) == largest)
        least = torch.where(better, squared, least)
        best = torch.where(better[:, None], candidate, best)
    return best.to(weight.dtype)


def _coordinate_descent(target: Tensor, covariance: Tensor, scale: Tensor, largest: int) -> Tensor:
    integers = (target * scale[:, None]).round().clamp(-largest, largest)
    own = covariance.diagonal().clamp(min=1e-12)
    for _ in range(SWEEPS):
        before = integers.clone()
        for j in range(target.shape[1]):
            error = integers / scale[:, None] - target
            others = error @ covariance[:, j] - error[:, j] * own[j]
            wanted = (target[:, j] - others / own[j]) * scale
            integers[:, j] = wanted.round().clamp(-largest, largest)
        if torch.equal(integers, before):
            break
    return integers
