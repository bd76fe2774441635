"""airbench's network (arXiv 2404.00498): whitening by frozen weights, six convolutions, GELU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
KERNEL = 2  # of the whitening layer
EPSILON = 5e-4  # keeps directions without variance from exploding
SCALE = 1 / 9  # of the logits


class Group(nn.Module):
    """Convolve, halve the map, convolve: ``[B, c_in, H, W]`` to ``[B, c_out, H / 2, W / 2]``."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.first = identity_convolution(channels_in, channels)
        self.first_norm = gainless_norm(channels)
        self.second = identity_convolution(channels, channels)
        self.second_norm = gainless_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first_norm(F.max_pool2d(self.first(x), 2)))
        return F.gelu(self.second_norm(self.second(x)))


class Teacher(nn.Module):
    """Images ``[B, H, W, 3]`` uint8 to logits ``[B, classes]``."""

    def __init__(self, classes: int, widths: tuple[int, int, int] = (128, 384, 384)) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 2 * 3 * KERNEL**2, KERNEL)
        self.whiten.weight.requires_grad_(False)
        inputs = (self.whiten.out_channels, *widths[:-1])
        self.groups = nn.Sequential(*map(Group, inputs, widths))
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.groups(F.gelu(self.whiten(normalised(images))))
        logits: Tensor = self.head(x.amax((2, 3))) * SCALE
        return logits

    @torch.no_grad()
    def whiten_by(self, images: Tensor) -> None:
        """Set the first layer to the principal directions of patches, scaled to unit variance."""
        patches = F.unfold(normalised(images), KERNEL).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        weight = (vectors / (values + EPSILON).sqrt()).T.reshape(-1, 3, KERNEL, KERNEL)
        self.whiten.weight.copy_(torch.cat([weight, -weight]))
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()


def normalised(images: Tensor) -> Tensor:
    """Pixels ``[B, H, W, 3]`` of zero mean and unit variance, ``[B, 3, H, W]``."""
    mean, std = (torch.tensor(values, device=images.device) for values in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def gainless_norm(channels: int) -> nn.BatchNorm2d:
    """Batch-norm that shifts but does not scale."""
    layer = nn.BatchNorm2d(channels, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer


def identity_convolution(channels_in: int, channels: int) -> nn.Conv2d:
    """A 3x3 convolution whose first outputs begin as its inputs."""
    layer = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:channels_in])
    return layer
