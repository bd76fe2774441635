"""What is compared: a contender takes pixels and gives classes; its time leaves nothing out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [N, H, W, C]
Classes = NDArray[np.int64]  # [N]

NO_CHAIN = "twins are made of plain chains of layers only"


class Unavailable(Exception):
    """A contender that cannot run here; says why."""


@dataclass(frozen=True)
class Contender:
    """One way to classify images.

    Args:
        family: "SpikeServe", "ANN" or "SNN framework".
        accurate: its classes mean something; frameworks run untrained weights, because a dense
            timestep takes the same time whatever the weights.
        same_as: a contender that gives the same classes, bit for bit, so that they need not be
            counted twice.
    """

    name: str
    family: str
    predict: Callable[[Pixels], Classes]
    accurate: bool = True
    same_as: str | None = None


Build = Callable[[int], Contender]
"""Makes a contender for a number of threads.

Raises:
    Unavailable: its library is missing or refuses the network.
"""
