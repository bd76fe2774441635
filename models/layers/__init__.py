"""The kinds of layers, a file each: shapes, cost, and what a layer does to integers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from spikeserve.models.layers.conv import Conv
from spikeserve.models.layers.lif import Lif
from spikeserve.models.layers.linear import Linear
from spikeserve.models.layers.pool import Pool
from spikeserve.models.layers.shortcut import Shortcut
from spikeserve.models.layers.synaptic import Synaptic
from spikeserve.models.layers.window import Shape, Window

Layer = Synaptic | Pool | Lif
"""What a layer can be, to whoever walks over a network."""
Described = Annotated[Conv | Linear | Shortcut | Pool | Lif, Field(discriminator="kind")]
"""The kinds there are, as manifests describe them."""

__all__ = [
    "Conv",
    "Described",
    "Layer",
    "Lif",
    "Linear",
    "Pool",
    "Shape",
    "Shortcut",
    "Synaptic",
    "Window",
]
