"""How a network's last layer is read: spikes counted, logits averaged, or a leaky potential."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikeserve.importing.dynamics.interpreter import currents
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.network import FloatNetwork, Floats, Neurons, Synapse
from spikeserve.models.layers import Linear, Shape

Kind = Literal["spikes", "logits", "potential"]


@dataclass(frozen=True)
class Readout:
    """What the network puts out at a step, and how steps add up."""

    kind: Kind
    leak: float = 1.0
    """What stays of the sum of earlier steps' logits."""

    def accumulated(self, outputs: Floats) -> Floats:
        """What the class is the largest of, ``[T, N, K]`` like the float network's outputs."""
        return outputs if self.kind == "potential" else outputs.cumsum(axis=0)

    @property
    def served_leak(self) -> float | None:
        """As the exit rule has it: None where steps are averaged."""
        return None if self.leak == 1 else self.leak


def readout_of(network: FloatNetwork) -> Readout:
    """How ``network`` is read.

    Raises:
        ImportRefused: classes leak differently.
    """
    last = network.layers[-1]
    if not isinstance(last, Neurons):
        return Readout("logits")
    if last.spiking:
        return Readout("spikes")
    if np.ptp(last.leak) > 1e-5 or np.ptp(last.start) > 1e-9:
        raise ImportRefused(
            f"{last.name}: the classes' potentials leak differently, or begin apart; the exit rule "
            "knows one leak for all"
        )
    leak = float(last.leak.mean())
    return Readout("potential", 1.0 if leak > 1 - 1e-9 else leak)


def served_readout(network: FloatNetwork) -> tuple[FloatNetwork, Readout]:
    """``network`` with a ``Linear`` last, as served networks have, whose currents are logits."""
    readout = readout_of(network)
    last = network.layers[-1]
    if isinstance(last, Neurons) and last.spiking:
        names = {layer.name for layer in network.layers}
        name = "readout"
        while name in names:
            name += "_"
        return replace(network, layers=(*network.layers, _counting(name, last.shape))), readout
    layers = network.layers
    if isinstance(last, Neurons):
        layers = (*layers[:-2], _driven(layers[-2], last))
    synapse = layers[-1]
    if not isinstance(synapse, Synapse) or synapse.layer.joins:
        raise ImportRefused(
            "the last layer must be neurons, or a convolution or linear layer that feeds none; "
            "a pool or a sum of currents cannot be read"
        )
    return replace(network, layers=(*layers[:-1], _dense(synapse))), readout


def _counting(name: str, shape: Shape) -> Synapse:
    """Each neuron's spikes as its class's logit; classes run by channel, row and column."""
    height, width, channels = shape
    classes = height * width * channels
    order = np.arange(classes).reshape(channels, height, width).transpose(1, 2, 0).reshape(-1)
    weight = np.zeros((classes, classes))
    weight[np.arange(classes), order] = 1.0
    return Synapse(Linear(name, shape, classes), weight, np.zeros(classes))


def _driven(synapse: object, neurons: Neurons) -> Synapse:
    """Currents as what they add to a potential, measured from where it begins."""
    if not isinstance(synapse, Synapse):
        raise ImportRefused(f"{neurons.name}: what is read by its potential must be fed by weights")
    constant = (1 - neurons.leak) * (neurons.rest - neurons.start)
    return replace(
        synapse,
        weight=synapse.weight * neurons.gain,
        bias=synapse.bias * neurons.gain + constant,
    )


def _dense(synapse: Synapse) -> Synapse:
    """A last convolution as the linear layer that it is."""
    layer = synapse.layer
    if isinstance(layer, Linear):
        return synapse
    inputs = int(np.prod(layer.in_shape))
    basis = np.eye(inputs).reshape(inputs, *layer.in_shape)
    silent = replace(synapse, bias=np.zeros_like(synapse.bias))
    outputs = currents(silent, basis).transpose(0, 3, 1, 2).reshape(inputs, -1)
    bias = np.repeat(synapse.bias, layer.positions)
    return Synapse(Linear(layer.name, layer.in_shape, outputs.shape[1]), outputs, bias)
