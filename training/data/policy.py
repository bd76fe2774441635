"""TrivialAugment: one random operation of random strength for each image.

As good as searched policies such as AutoAugment (S. Müller, F. Hutter, "TrivialAugment:
Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021; the wide space). Images are uint8
``[B, H, W, C]``; strengths ``[B]`` are in -1…1.

torchvision's ``TrivialAugmentWide`` is not used: it draws one operation for a whole batch, and from
the global generator, so that a resumed run would see other images.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

GEOMETRIC = ("shear-x", "shear-y", "translate-x", "translate-y", "rotate")
PHOTOMETRIC = (
    "brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast",
    "equalize",
)  # fmt: skip
OPERATIONS = ("identity", *GEOMETRIC, *PHOTOMETRIC)
SHEAR, ROTATION, BLEND = 0.99, math.radians(135), 0.99
FEWEST_BITS = 2


def trivially_augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image with one operation of random strength."""
    batch = len(images)
    chosen = torch.randint(0, len(OPERATIONS), (batch,), generator=generator)
    strength = torch.rand(batch, generator=generator) * 2 - 1
    result = images.clone()
    for index, name in enumerate(OPERATIONS):
        rows = torch.nonzero(chosen == index)[:, 0]
        if len(rows) and name != "identity":
            place = rows.to(images.device)
            result[place] = applied(name, images[place], strength[rows].to(images.device))
    return result


def applied(name: str, images: Tensor, strength: Tensor) -> Tensor:
    """``images`` after operation ``name`` with ``strength`` in -1…1 each."""
    if name in GEOMETRIC:
        return warped(images, inverse_affine(name, strength, images.shape[2]))
    values = images.float()
    match name:
        case "brightness":
            values = blended(torch.zeros_like(values), values, strength)
        case "color":
            values = blended(grey(values).expand_as(values), values, strength)
        case "contrast":
            mean = grey(values).mean(dim=(1, 2, 3), keepdim=True).expand_as(values)
            values = blended(mean, values, strength)
        case "sharpness":
            values = blended(smoothed(values), values, strength)
        case "posterize":
            bits = 8 - (strength.abs() * (8 - FEWEST_BITS)).round()
            step = 2 ** (8 - bits)[:, None, None, None]
            values = (values / step).floor() * step
        case "solarize":
            threshold = (256 * (1 - strength.abs()))[:, None, None, None]
            values = torch.where(values >= threshold, 255 - values, values)
        case "autocontrast":
            low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
            values = torch.where(high > low, (values - low) * 255 / (high - low), values)
        case _:
            return equalized(images)
    return values.round().clamp(0, 255).to(torch.uint8)


def grey(values: Tensor) -> Tensor:
    """Luma ``[B, H, W, 1]`` (ITU-R 601), or the one channel there is."""
    if values.shape[-1] == 1:
        return values
    weights = torch.tensor([0.299, 0.587, 0.114], device=values.device)
    return (values * weights).sum(dim=-1, keepdim=True)


def blended(towards: Tensor, values: Tensor, strength: Tensor) -> Tensor:
    """``values`` extrapolated from ``towards`` (strength > 0) or interpolated to it (< 0)."""
    factor = (1 + BLEND * strength)[:, None, None, None]
    return towards + factor * (values - towards)


def smoothed(values: Tensor) -> Tensor:
    """A 3x3 mean with five times the weight on the middle; border pixels unchanged."""
    channels = values.shape[-1]
    kernel = torch.ones(3, 3, device=values.device)
    kernel[1, 1] = 5
    weight = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    inner = F.conv2d(values.permute(0, 3, 1, 2), weight, groups=channels)
    result = values.clone()
    result[:, 1:-1, 1:-1] = inner.permute(0, 2, 3, 1)
    return result


def equalized(images: Tensor) -> Tensor:
    """Histogram equalisation of every channel."""
    batch, height, width, channels = images.shape
    planes = images.permute(0, 3, 1, 2).reshape(batch * channels, -1).long()
    counts = torch.zeros(len(planes), 256, device=images.device)
    counts.scatter_add_(1, planes, torch.ones_like(planes, dtype=counts.dtype))
    below = counts.cumsum(1)
    first = below.gather(1, planes.amin(1, keepdim=True))  # pixels of the darkest value
    spread = (height * width - first).clamp(min=1)
    table = ((below - first) * 255 / spread).round().clamp(0, 255)
    flat = table.gather(1, planes).to(torch.uint8)
    flat = torch.where(first == height * width, planes.to(torch.uint8), flat)  # one value only
    return flat.view(batch, channels, height, width).permute(0, 2, 3, 1)


def inverse_affine(name: str, strength: Tensor, extent: int) -> Tensor:
    """Maps of output to input coordinates about the centre, ``[B, 2, 3]`` over (x, y, 1)."""
    matrix = torch.zeros(len(strength), 2, 3, device=strength.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1
    match name:
        case "shear-x":
            matrix[:, 0, 1] = SHEAR * strength
        case "shear-y":
            matrix[:, 1, 0] = SHEAR * strength
        case "translate-x":
            matrix[:, 0, 2] = extent * strength
        case "translate-y":
            matrix[:, 1, 2] = extent * strength
        case _:
            angle = ROTATION * strength
            matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
            matrix[:, 0, 1], matrix[:, 1, 0] = -angle.sin(), angle.sin()
    return matrix


def warped(images: Tensor, matrix: Tensor) -> Tensor:
    """Images resampled under ``matrix [B, 2, 3]``: the nearest pixel, black outside."""
    batch, height, width, _ = images.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device) - (height - 1) / 2,
        torch.arange(width, device=images.device) - (width - 1) / 2,
        indexing="ij",
    )
    points = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
    source = matrix @ points
    column = (source[:, 0] + (width - 1) / 2).round().long()
    row = (source[:, 1] + (height - 1) / 2).round().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = torch.arange(batch, device=images.device)[:, None]
    gathered = images[index, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return (gathered * inside[..., None]).view(images.shape)
