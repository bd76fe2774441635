"""Flows as layers of a served network: one after the other, with shortcuts past them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spikeserve.importing.lowering.findings import Refusal
from spikeserve.importing.lowering.flows import INPUT, Currents, Flow, Signal, Term, currents_of
from spikeserve.importing.lowering.maps import added, as_matrix, ungrouped
from spikeserve.importing.network import Declared, FloatNetwork, Neurons, Synapse
from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers import Conv, Linear, Pool, Shortcut

MAX_KERNEL, MAX_PADDING = 31, 15
"""Of a convolution that is served."""


@dataclass
class Emission:
    """Collects layers; the newest neurons' spikes are what the next weights read."""

    layers: list[Synapse | Pool | Declared | Neurons] = field(default_factory=list)
    newest: str = INPUT
    _names: set[str] = field(default_factory=set)
    _placed: dict[str, str] = field(default_factory=dict)
    """Pools that are layers, by node, and what they read."""

    def neurons(self, flow: Flow, neurons: Declared | Neurons) -> None:
        """Place what feeds them, and them.

        Raises:
            Refusal: the currents come from elsewhere than a chain with shortcuts allows.
        """
        self._synapses(currents_of(flow, f"{neurons.name}.in"), joins=True)
        self._place(neurons, neurons.name)
        self.newest = neurons.name

    def finish(self, flow: Flow) -> FloatNetwork:
        """Place what is read out.

        Raises:
            Refusal: that is no value a class.
        """
        if isinstance(flow, Signal):
            direct = flow.source == self.newest and not flow.pools and (flow.factor == 1).all()
            if direct and flow.source != INPUT and flow.shape[:2] == (1, 1):
                return FloatNetwork(tuple(self.layers))
            if not flow.spiking:
                raise Refusal(f"puts out a map {flow.shape} of potentials; one a class is needed")
            flat, flow = flow.flat, currents_of(replace(flow, flat=False), "readout")
        else:
            flat = flow.flat
        self._synapses(flow, joins=False, flattened=flat)
        return FloatNetwork(tuple(self.layers))

    def _synapses(self, currents: Currents, *, joins: bool, flattened: bool = False) -> None:
        terms = _merged(currents.terms)
        main = [term for term in terms if term.signal.source == self.newest]
        if not main:
            raise Refusal(
                "reads nothing of the neurons before it: branches that run beside each other are "
                "not served, only currents that join a chain"
            )
        rest = [term for term in terms if term is not main[0]]
        if rest and not joins:
            raise Refusal("adds up in the readout; put neurons before it, or one linear layer")
        if len(rest) > 1:
            raise Refusal("more than one shortcut joins here; one can be served")
        self._main(main[0], readout=not joins, flattened=flattened)
        for term in rest:
            self._shortcut(term)

    def _main(self, term: Term, *, readout: bool, flattened: bool) -> None:
        for pool in term.signal.pools:
            if pool.name in self._placed:
                continue
            self._place(pool, pool.name)
            self._placed[pool.name] = pool.name
        one, name = term.map, self._fresh(term.name)
        linear = readout or one.out_shape[:2] == (1, 1)
        if linear:
            matrix = as_matrix(one, flattened)
            places = matrix.shape[1] // len(one.bias)
            layer = Linear(name, one.in_shape, matrix.shape[1])
            self._place(Synapse(layer, matrix, np.repeat(one.bias, places)), name)
            return
        window = one.window
        if max(window.kernel) > MAX_KERNEL or max(window.padding) > MAX_PADDING:
            raise Refusal(
                f"needs a kernel {window.kernel} with padding {window.padding}; up to {MAX_KERNEL} "
                f"and {MAX_PADDING} are served: put neurons between, or smaller windows"
            )
        rows, columns = window.kernel
        weight = one.weight.reshape(rows * columns * one.weight.shape[2], -1)
        try:
            conv = Conv(
                name, one.in_shape, weight.shape[1], window.kernel, window.stride,
                window.padding, groups=one.groups,
            )  # fmt: skip
        except InvalidNetwork as error:
            raise Refusal(str(error).partition(": ")[2]) from error
        self._place(Synapse(conv, weight, one.bias), name)

    def _shortcut(self, term: Term) -> None:
        one, signal, name = term.map, term.signal, self._fresh(term.name)
        if signal.source == INPUT:
            raise Refusal("a shortcut from the input is not served, only one from neurons")
        source, shape, pool = signal.source, signal.source_shape, 1
        if signal.pools:
            last = signal.pools[-1]
            if all(placed.name in self._placed for placed in signal.pools) and all(
                placed.spiking for placed in signal.pools
            ):
                source, shape = last.name, last.out_shape
            elif len(signal.pools) == 1 and _tiles(last):
                pool = last.window.kernel[0]
            else:
                raise Refusal(
                    "a shortcut reads a pool that it cannot repeat: one average pool whose windows "
                    "tile the map is possible"
                )
        window = one.window
        if window.kernel != (1, 1) or window.padding != (0, 0) or window.stride != (1, 1):
            raise Refusal(
                f"a shortcut with a kernel {window.kernel} and stride {window.stride} is not "
                "served: a 1x1 convolution is, behind an average pool where the map shrinks"
            )
        projects = not one.is_diagonal
        weight = (ungrouped(one) if projects else one).weight[0, 0]
        layer = Shortcut(name, source, shape, weight.shape[1], pool, projects)
        self._place(Synapse(layer, weight, one.bias), name)

    def _place(self, layer: Synapse | Pool | Declared | Neurons, name: str) -> None:
        self._names.add(name)
        self.layers.append(layer)

    def _fresh(self, name: str) -> str:
        return name if name not in self._names else self._fresh(f"{name}+")


def _merged(terms: tuple[Term, ...]) -> list[Term]:
    """Terms of the same signal as one."""
    found: list[Term] = []
    for term in terms:
        for index, other in enumerate(found):
            if _same(term.signal, other.signal):
                found[index] = replace(other, map=added(other.map, term.map))
                break
        else:
            found.append(term)
    return found


def _same(one: Signal, other: Signal) -> bool:
    """Whether both are the same spikes; factors are in the maps already."""
    return (one.source, one.pools) == (other.source, other.pools)


def _tiles(pool: Pool) -> bool:
    window = pool.window
    square = window.kernel[0] == window.kernel[1]
    return (
        pool.mode == "sum" and square and window.stride == window.kernel and not any(window.padding)
    )
