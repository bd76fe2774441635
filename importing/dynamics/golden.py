"""The meaning that reproduces what a framework answered.

A few recorded outputs tell meanings apart where classes do not: an input counts only if its whole
output is the same at every timestep, but for one in a hundred values of long runs. Meanings that
lose too many inputs are left at that timestep, so that a search over all of them takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.inputs import Inputs
from spikeserve.importing.dynamics.interpreter import currents, steps
from spikeserve.importing.dynamics.meaning import DIALECTS, MOST_SPIKES, Meaning, read_all
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.network import Declared, FloatNetwork, Floats, Neurons, Synapse

ENOUGH = 0.97
"""The share of inputs that have to be identical: float32 rounding may flip one of forty."""
NEAR = 0.9
"""The share that is enough where no meaning gives more: of runs so long that more inputs flip."""
TOLERANCE = 1e-4
"""Of the largest output: what float32 may differ by."""
FLIPPED = 0.01
"""The share of an input's outputs that are not 0 that rounding may have changed: of long runs."""
MOST_INPUTS = 64
MOST_OVERRIDES = 4
SHOWN = 3

Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """A dialect and what is told otherwise, as the command line takes them."""

    dialect: str
    overrides: Overrides

    @property
    def meaning(self) -> Meaning:
        return overridden(DIALECTS[self.dialect], self.overrides)

    def __str__(self) -> str:
        flags = " ".join(
            f"--{name.replace('_', '-')} {value:g}"
            if isinstance(value, int | float)
            else f"--{name.replace('_', '-')} {value}"
            for name, value in self.overrides.items()
        )
        return f"--from {self.dialect} {flags}".strip()


@dataclass(frozen=True)
class Match:
    """How far a reading reproduces the recorded outputs."""

    reading: Reading | None
    identical: int
    inputs: int

    @property
    def holds(self) -> bool:
        return self.identical >= ENOUGH * self.inputs

    def is_nearest(self, others: list[Match]) -> bool:
        """Whether this is near, and none of the others nearer."""
        best = max((other.identical for other in others), default=0)
        return NEAR * self.inputs <= self.identical >= best


def overridden(meaning: Meaning, overrides: Overrides) -> Meaning:
    """``--dt`` is the timestep of all neurons, whether they have a time constant or not."""
    apart = {"dt_if": None} if "dt" in overrides else {}
    return replace(meaning, **{**apart, **overrides})


class Search:
    """Recorded outputs, and how far meanings reproduce them."""

    def __init__(self, network: FloatNetwork, inputs: Inputs, golden: Floats) -> None:
        """``golden``: ``[T, N, K]`` of the first N inputs."""
        count = min(golden.shape[1], len(inputs), MOST_INPUTS)
        self.network, self.inputs, self.golden = network, inputs[:count], golden[:, :count]
        self.tolerance = TOLERANCE * max(float(np.abs(golden).max()), 1e-9)
        self._allowed = np.floor(FLIPPED * (self.golden != 0).sum(axis=(0, 2)))
        opening = network.layers[0]
        assert isinstance(opening, Synapse)
        constant = self.inputs.constant
        self._first = currents(opening, self.inputs.frame(1)) if constant else None

    def __len__(self) -> int:
        return len(self.inputs)

    def identical(self, full: FloatNetwork, *, enough: float = 0) -> int:
        """How many inputs' outputs are the same at all steps; 0 once they are fewer than
        ``enough``."""
        differing = np.zeros(len(self), np.int64)
        with np.errstate(all="ignore"):  # wrong meanings may grow beyond all bounds
            run = steps(full, self.inputs, len(self.golden), first=self._first)
            for step, recorded in zip(run, self.golden, strict=True):
                if step.outputs.shape != recorded.shape:
                    raise ImportRefused(
                        f"golden outputs of {recorded.shape[1]} values, but the network puts out "
                        f"{step.outputs.shape[1]}"
                    )
                same = np.abs(step.outputs - recorded) <= self.tolerance
                differing += (~same).sum(axis=1)
                identical = int((differing <= self._allowed).sum())
                if identical < enough:
                    return 0
        return identical

    def match(self, reading: Reading | None) -> Match:
        """How far one reading reproduces the outputs; None: the network's neurons are known."""
        full = self.network
        if reading is not None:
            try:
                full = read_all(full, reading.meaning)
            except ImportRefused:  # no such leak: another meaning may have one
                return Match(reading, 0, len(self))
        return Match(reading, self.identical(full), len(self))

    def found(self, asked: Reading) -> tuple[list[Match], int]:
        """A reading of each framework that reproduces the outputs with the fewest overrides, and
        how many meanings were tried."""
        known: dict[bytes, int] = {}
        named: set[str] = set()
        matches: list[Match] = []
        for number in range(MOST_OVERRIDES + 1):
            for reading in self._readings(asked.dialect, number):
                if reading.dialect in named:
                    continue
                try:
                    full = read_all(self.network, reading.meaning)
                except ImportRefused:
                    continue
                key = _fingerprint(full)
                if key not in known:
                    known[key] = self.identical(full, enough=NEAR * len(self))
                if known[key]:
                    matches.append(Match(reading, known[key], len(self)))
                    named.add(reading.dialect)
            if number and matches:
                break
        return sorted(matches, key=lambda match: -match.identical), len(known)

    def _readings(self, asked: str, number: int) -> Iterator[Reading]:
        choices = self._choices()
        dialects = [asked, *(name for name in DIALECTS if name != asked)]
        for dialect in dialects:
            meaning = DIALECTS[dialect]
            for names in combinations(choices, number):
                for values in product(*(choices[name] for name in names)):
                    told = dict(zip(names, values, strict=True))
                    if all(getattr(meaning, name) != value for name, value in told.items()):
                        yield Reading(dialect, told)

    def _choices(self) -> dict[str, tuple[Any, ...]]:
        """What may be told otherwise, and the values worth trying."""
        declared = [layer for layer in self.network.layers if isinstance(layer, Declared)]
        leaky = any(layer.tau is not None for layer in declared)
        choices: dict[str, tuple[Any, ...]] = {
            "reset": ("late-subtract", "subtract", "zero", "none"),
            "dt": _timesteps(declared),
            "max_spikes": (1, MOST_SPIKES),
            "min_membrane": (-1.0,),
        }
        if leaky:
            choices |= {"leak": ("euler", "exp"), "gain": ("declared", "one", "normalised")}
        if any(_starts_matter(layer) for layer in declared):
            choices |= {"start": ("zero", "reset", "leak")}
        whole = np.array_equal(self.golden, np.round(self.golden)) and (self.golden >= 0).all()
        if not whole and declared and declared[-1] is self.network.layers[-1]:
            choices |= {"readout": ("membrane",)}
        choices |= {"fires": ("at", "above")}
        return choices


def _timesteps(declared: list[Declared]) -> tuple[float, ...]:
    """Timesteps that frameworks use, and those that make a declared gain 1."""
    found = {1e-6, 1e-4, 1e-3, 1.0}
    for layer in declared:
        if layer.kind in ("IF", "LIF", "LI"):
            guess = float(np.median((1.0 if layer.tau is None else layer.tau) / layer.r))
            if math.isfinite(guess) and guess > 0:
                found.add(float(f"{guess:.4g}"))
    return tuple(sorted(found))


def _starts_matter(layer: Declared) -> bool:
    return bool(layer.v_leak.any() or (layer.v_reset is not None and layer.v_reset.any()))


def _fingerprint(network: FloatNetwork) -> bytes:
    """The same for networks whose neurons do the same."""
    parts: list[bytes] = []
    for layer in network.layers:
        if isinstance(layer, Neurons):
            numbers: list[NDArray[np.float64]] = [layer.leak, layer.gain, layer.rest, layer.start]
            if layer.reset == "hard":
                numbers.append(layer.reset_to)
            if layer.minimum is not None:
                numbers.append(layer.minimum)
            parts += [np.round(values, 9).tobytes() for values in numbers]
            rules = (layer.reset, layer.delayed, layer.strict, layer.max_spikes, layer.spiking)
            parts.append(repr((rules, layer.minimum is None)).encode())
    return b"|".join(parts)


def told(asked: Match, matches: list[Match], tried: int) -> str:
    """What to say where the asked meaning does not reproduce the outputs."""
    beginning = f"asked: {asked.reading}; {asked.identical} of {asked.inputs} inputs identical"
    if not matches:
        return (
            f"your outputs are reproduced by none of {tried} meanings ({beginning}); are they each "
            "timestep's own, no running sums, of these inputs in this order, with the same "
            "normalisation (--mean, --std, --scale), and of the network in evaluation mode?"
        )
    best = matches[0]
    exactly = (
        "exactly"
        if best.identical == best.inputs
        else (f"for {best.identical} of {best.inputs} inputs")
    )
    others = "".join(f"; as well by: {match.reading}" for match in matches[1 : SHOWN + 1])
    return f"your outputs are reproduced {exactly} by: {best.reading} ({beginning}){others}"
