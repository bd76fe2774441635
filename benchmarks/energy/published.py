"""Networks that published energies are about, as layers."""

from __future__ import annotations

from spikeserve.models.layers import Conv, Linear, Shape, Synaptic
from spikeserve.models.plans import planned

CIFAR: Shape = (32, 32, 3)
CLASSES = 10


def spikesim_vgg9() -> tuple[Synaptic, ...]:
    """The example of SpikeSim's tool: seven convolutions, counted at their sizes after pooling."""
    channels = (3, 64, 64, 128, 128, 256, 256, 256)
    sizes = (32, 32, 16, 16, 8, 8, 8, 4)
    return tuple(
        Conv(f"conv{k}", (size, size, c_in), c_out, stride=size // after)
        for k, (c_in, c_out, size, after) in enumerate(
            zip(channels, channels[1:], sizes, sizes[1:], strict=False), start=1
        )
    )


def vgg9() -> tuple[Synaptic, ...]:
    """VGG-9 with its two fully connected layers, as NeuroSim was run on it."""
    plan = ("64", "64", "P", "128", "128", "P", "256", "256", "256", "P")
    convolutions = planned(plan, CIFAR, CLASSES).synaptic[:-1]
    return (*convolutions, Linear("fc1", (4, 4, 256), 1024), Linear("fc2", (1, 1, 1024), CLASSES))


def vgg16() -> tuple[Synaptic, ...]:
    """DT-SNN's VGG-16 for CIFAR-10: thirteen convolutions, global average, one classifier."""
    plan = ("64", "64", "P", "128", "128", "P", *["256"] * 3, "P", *["512"] * 3, "P", *["512"] * 3)
    return planned((*plan, "G"), CIFAR, CLASSES).synaptic
