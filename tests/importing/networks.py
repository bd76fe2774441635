"""Small float networks with declared neurons, and images for them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from spikeserve.importing.data.inputs import Inputs, Normalisation
from spikeserve.importing.network import Declared, FloatNetwork, Synapse
from spikeserve.models.layers import Conv, Linear, Pool, Shape

SHAPE: Shape = (6, 6, 2)
CLASSES = 5
DT = 1e-4


def declared(
    name: str,
    shape: Shape,
    kind: Literal["IF", "LIF", "LI"] = "LIF",
    *,
    steps: float = 5.0,
    v_leak: float = 0.0,
    v_reset: float | None = 0.0,
) -> Declared:
    """Neurons with a time constant of so many steps of 1e-4, whose gain is 1."""
    whole = np.ones(shape[2])
    tau = None if kind == "IF" else whole * steps * DT
    return Declared(
        name,
        shape,
        kind,
        tau,
        whole * (1 / DT if tau is None else steps),
        whole * v_leak,
        None if kind == "LI" else whole,
        None if v_reset is None else whole * v_reset,
    )


def network(
    seed: int = 0, *, kind: Literal["IF", "LIF"] = "LIF", last: str = "neurons", **options: float
) -> FloatNetwork:
    """conv, neurons, pool, linear and, unless ``last`` says otherwise, neurons."""
    draw = np.random.default_rng(seed)
    conv = Conv("c", SHAPE, 6, kernel=3, padding=1)
    pool = Pool("p", conv.out_shape, 2, "sum")
    linear = Linear("l", pool.out_shape, CLASSES)
    layers: list[Synapse | Pool | Declared] = [
        Synapse(conv, draw.normal(0.15, 0.5, conv.weight_shape), draw.normal(0, 0.1, 6)),
        declared("n", conv.out_shape, kind, **options),
        pool,
        Synapse(linear, draw.normal(0, 0.15, linear.weight_shape), draw.normal(0.1, 0.1, CLASSES)),
    ]
    if last == "neurons":
        layers.append(declared("o", (1, 1, CLASSES), kind, **options))
    elif last == "LI":
        layers.append(declared("o", (1, 1, CLASSES), "LI"))
    return FloatNetwork(tuple(layers))


def images(count: int = 40, seed: int = 1) -> Inputs:
    values = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)
    return Inputs(values, Normalisation.plain(SHAPE[2]))
