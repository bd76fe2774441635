"""States in which every number of a program shows, for engines whose numbers come from a file.

Pictures touch few of a program's numbers: neurons that stay far from their thresholds look alike
whatever the weights are. So states are made up: of every neuron, one row or another has the
potential that lands exactly on its threshold, or one below it, or on a multiple of it where neurons
spike several times a timestep. There a change of 1 in a weight, bias, leak or threshold alters a
spike or a potential, and potentials are compared as well. Where potentials have a minimum, some
land one below it. Who spikes is random, from few to most neurons of a layer, so that sums of
different weights differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step
from spikeserve.models.engines.reference import Bools, Ints, NumpyOperations
from spikeserve.models.layers import Lif
from spikeserve.models.layers.lif import MEMBRANE_MAX, MEMBRANE_MIN, Memory
from spikeserve.models.program import IntegerNeurons, Program
from spikeserve.models.timestep import timestep

FEWEST_ROWS, ROWS, MOST_ROWS = 4, 32, 128
MACS, MOST_MACS = 1 << 28, 1 << 36
"""What small networks may take for more rows, and beyond what large ones have to do with fewer."""
TOGETHER = 8
"""Rows made at once."""
NEURONS = 1 << 23
"""Of all rows made at once: there is a dozen numbers for each."""
SHARES = (0.05, 0.2, 0.5, 0.8)
"""Of a layer's neurons that spike in a row; behind a pool they are more."""
ANYWHERE = 0.2
"""Share of neurons whose potential is any 16-bit number: for leaks and clipping."""
QUIET = 0.5
"""Share of rows in which neurons spike once at most, though they could several times."""
LOW = 0.1
"""Share of neurons whose potential falls below its minimum, where there is one."""
FIRED = 0.1
"""Share of neurons that have fired before."""


@dataclass(frozen=True)
class Probes:
    """Rows to step, in the reference's terms, and what has to come out."""

    frames: NDArray[np.uint8]
    state: State
    expected: Step


@dataclass
class Potentials:
    """A layer's potentials, chosen when the currents that they will be added to are known."""

    lif: Lif
    neurons: IntegerNeurons
    rng: np.random.Generator
    chosen: Ints = field(init=False)

    def __add__(self, current: Ints) -> Ints:
        rng, size = self.rng, current.shape
        share = rng.choice(SHARES, (size[0], 1, 1, 1))
        quiet = self._quiet(size[0])
        wanted = self._reached(quiet, size) - (rng.random(size) >= share)
        if self.neurons.is_held:
            wanted = np.where(rng.random(size) < LOW, self.neurons.minimum - 1, wanted)
        before = before_leak(wanted - current, self.lif)
        free = rng.integers(MEMBRANE_MIN, MEMBRANE_MAX + 1, size)
        anywhere = rng.random(size) < np.where(quiet, 0, ANYWHERE)
        self.chosen = np.where(anywhere, free, before).astype(np.int32)
        return leaked(self.chosen, self.lif) + current

    def _quiet(self, rows: int) -> Bools:
        """Rows in which neurons that can spike several times do not: the layer behind them would
        hardly ever be anything but saturated."""
        if self.lif.max_spikes == 1:
            return np.zeros((rows, 1, 1, 1), np.bool_)
        return self.rng.random((rows, 1, 1, 1)) < QUIET

    def _reached(self, quiet: Bools, size: tuple[int, ...]) -> Ints:
        """Thresholds, or what a number of spikes takes: at random, at most one that is cut off."""
        threshold, most = self.neurons.threshold, self.lif.max_spikes
        if most == 1:
            return threshold
        times = np.where(quiet, 1, np.clip(MEMBRANE_MAX // threshold, 1, most + 1))
        reached: Ints = (threshold * self.rng.integers(1, times + 1, size)).astype(np.int32)
        return reached


class ChoosingOperations(NumpyOperations):
    """The reference's, where leaks wait for the potentials they apply to."""

    def floor_scaled(
        self, x: Ints | Potentials, multiplier: int, bits: int, nearest: bool = False
    ) -> Ints:
        if isinstance(x, Potentials):
            return x  # type: ignore[return-value]  # applies its leak when it is added
        return super().floor_scaled(x, multiplier, bits, nearest)


def leaked(v: Ints, lif: Lif) -> Ints:
    """What stays of potentials."""
    return NumpyOperations().floor_scaled(v, lif.leak_q, lif.leak_bits, lif.rounds_to_nearest)


def before_leak(v: NDArray[np.int64] | Ints, lif: Lif) -> Ints:
    """The potential that leaks to ``v``, or the nearest one of 16 bits that there is."""
    half = (1 << lif.leak_bits) // 2 if lif.rounds_to_nearest else 0
    wanted = (v.astype(np.int64) << lif.leak_bits) - half
    scaled = -(-wanted // max(lif.leak_q, 1))  # rounded up
    before: Ints = np.clip(scaled, MEMBRANE_MIN, MEMBRANE_MAX).astype(np.int32)
    return before


def probes(program: Program) -> Iterator[Probes]:
    """The same rows every time, at least one for every timestep that a drive tells apart."""
    rng = np.random.default_rng(0)
    steps = 1 if program.drive is None else program.drive.steps
    network = program.network
    enough = min(ROWS, max(FEWEST_ROWS, MOST_MACS // network.macs))
    rows = max(enough, steps, min(MOST_ROWS, MACS // network.macs))
    together = min(TOGETHER, max(1, NEURONS // network.neurons))
    for first in range(0, rows, together):
        yield _probes(program, np.arange(first, first + together) % steps, rng)


def _probes(program: Program, done: NDArray[np.int64], rng: np.random.Generator) -> Probes:
    network, rows = program.network, len(done)
    frames = _frames(program, rows, rng)
    potentials = [
        Potentials(lif, neurons, rng)
        for lif, neurons in zip(network.lifs, program.neurons, strict=True)
    ]
    fired: list[Bools] = [rng.random((rows, *lif.in_shape)) < FIRED for lif in network.lifs]
    memories = list(map(Memory, potentials, fired))
    numbers = frames.astype(np.int32)
    result = timestep(program, ChoosingOperations(), numbers, memories, done)
    after = result.memories
    return Probes(
        frames,
        State((*(layer.chosen for layer in potentials), *fired, done)),
        Step(
            logits=result.logits.reshape(rows, -1),
            active_pairs=np.stack(result.active_pairs, axis=1),
            spikes=np.stack(result.spikes, axis=1),
            state=State((*(m.v for m in after), *(m.fired for m in after), done + 1)),
        ),
    )


def _frames(program: Program, rows: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pixels or counts of events, many of them zero in some rows."""
    shape = (rows, *program.network.input_shape)
    present = rng.random(shape) < rng.choice([0.2, 0.5, 1.0], (rows, 1, 1, 1))
    return np.where(present, rng.integers(0, program.largest_input + 1, shape), 0).astype(np.uint8)
