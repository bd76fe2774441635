"""Which layers need more than eight bits: found by measuring, one layer after the other.

The bar is the float network's own agreement with itself under half a grey level of noise, which no
camera and no image file is better than. While agreement is below it, the layer that gains most is
widened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.inputs import Inputs
from spikeserve.importing.dynamics.interpreter import Answer, interpreted
from spikeserve.importing.dynamics.readout import readout_of
from spikeserve.importing.integers.measure import Agreement, Truth
from spikeserve.importing.integers.program import COARSE, FINE, Rounded, Settings, groups, integers
from spikeserve.importing.integers.served import answered
from spikeserve.importing.network import FloatNetwork
from spikeserve.models.inference import Trace

GOOD_COUNTS = 0.99
"""The bar for counts of events, which have no grey levels."""
LEAST_TRIED, MOST_TRIED = 50, 500  # inputs
TRIED_MACS, NOISE_MACS = 2e11, 5e11
"""How many multiply-accumulates one try, and one draw of noise, may take."""
DRAWS = 3  # of noise: one alone says little of a few hundred inputs

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """A float network, its integer program, and how well they agree."""

    network: FloatNetwork
    inputs: Inputs
    answer: Answer
    truth: Truth
    rounded: Rounded
    settings: Settings
    trace: Trace
    agreement: Agreement
    noise: Agreement | None
    """Of the float network with itself under half a grey level of noise; None for counts."""
    tried: tuple[str, ...]
    """Bits that were tried, and what they gave."""


def measured(
    full: FloatNetwork,
    inputs: Inputs,
    answer: Answer,
    *,
    bits: int = COARSE,
    largest_count: int | None = None,
    say: Say,
) -> Measured:
    """Round ``full`` with as many bits as it needs.

    Args:
        answer: what the float network puts out for ``inputs``.
        bits: of weights that need no more.
    """
    timesteps, readout = len(answer.outputs), readout_of(full)
    truth = Truth.of(answer, readout)
    noise, noisy = None, []
    heard = _subset(full, len(inputs), timesteps, NOISE_MACS, len(inputs))
    if inputs.constant:
        say("the float network again, under half a grey level of noise")
        for draw in range(DRAWS):
            moved = interpreted(full, inputs[heard].blurred(draw), timesteps, np.float32)
            noisy.append(readout.accumulated(moved.outputs).argmax(axis=2))
        noise = Agreement.over(truth.of_rows(heard), noisy)
    many = groups(full)
    first = max(bits, FINE) if inputs.constant else bits
    settings = Settings(
        normalisation=inputs.normalisation,
        most=tuple(int(most) for most in answer.most),
        largest_logit=float(np.abs(answer.outputs).max()) or 1.0,
        bits=(first, *[bits] * (many - 1)),
        largest_count=largest_count,
    )
    rows = _subset(full, len(inputs), timesteps, TRIED_MACS, MOST_TRIED)
    some, bar = truth.of_rows(rows), noise
    if noisy and len(heard) == len(inputs):
        bar = Agreement.over(some, [classes[:, rows] for classes in noisy])

    tried: list[str] = []

    def lack(settings: Settings) -> float:
        """By how much agreement is below the bar; 0: it is not."""
        trace = answered(integers(full, settings), inputs[rows], timesteps)
        found = Agreement.of(some, trace.predictions)
        tried.append(_shown(settings.bits, found))
        return found.lack(bar) if bar else max(0.0, GOOD_COUNTS - found.without_ties)

    lacking = lack(settings)
    while lacking > 0 and (narrow := [k for k in range(many) if settings.bits[k] < FINE]):
        say(f"{_shown(settings.bits)} agree less than noise would: widens a layer")
        choices = [_widened(settings, k) for k in narrow]
        results = [lack(choice) for choice in choices]
        best = int(np.argmin(results))
        if results[best] >= lacking:
            break
        settings, lacking = choices[best], results[best]
    rounded = integers(full, settings)
    trace = answered(rounded, inputs, timesteps)
    return Measured(
        full,
        inputs,
        answer,
        truth,
        rounded,
        settings,
        trace,
        Agreement.of(truth, trace.predictions),
        noise,
        tuple(tried),
    )


def _widened(settings: Settings, group: int) -> Settings:
    bits = tuple(FINE if k == group else b for k, b in enumerate(settings.bits))
    return replace(settings, bits=bits)


def _shown(bits: tuple[int, ...], found: Agreement | None = None) -> str:
    share = f": {100 * found.without_ties:.2f} % without ties" if found else ""
    return f"{'/'.join(map(str, bits))} bits{share}"


def _subset(
    full: FloatNetwork, count: int, timesteps: int, budget: float, most: int
) -> NDArray[np.int64]:
    """Inputs that are run so often: fewer of large networks."""
    affordable = int(budget / (full.macs * timesteps))
    chosen = min(count, max(LEAST_TRIED, min(most, affordable)))
    return np.linspace(0, count - 1, chosen).astype(np.int64)
