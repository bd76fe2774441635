"""What a NIR file does not say: the frameworks' neurons as a table, and its rows as rules.

A file names time constants, resistances and potentials. With which timestep they are meant, how a
leak follows from a time constant, whether the input gain is what is declared, and what a reset
does, depends on who wrote it. A :class:`Meaning` is one set of such rules, :data:`DIALECTS` those
of each framework; ``read`` turns declared neurons into neurons whose dynamics are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.network import Declared, FloatNetwork, Floats, Neurons

Leak = Literal["euler", "exp"]
Gain = Literal["declared", "one", "normalised"]
Reset = Literal["zero", "subtract", "late-subtract", "none"]
Start = Literal["zero", "reset", "leak"]
Fires = Literal["at", "above"]
Readout = Literal["declared", "membrane"]

MOST_SPIKES = 255
"""What the integer program can count in a timestep; frameworks know no limit."""


@dataclass(frozen=True)
class Meaning:
    """How declared neurons are to be read."""

    dt: float = 1e-4
    """The timestep, in the unit of the file's time constants."""
    dt_if: float | None = None
    """That of neurons without a time constant, where it is another one."""
    leak: Leak = "euler"
    """``1 - dt / tau`` or ``exp(-dt / tau)``."""
    gain: Gain = "declared"
    """Of neurons that leak: ``r dt / tau``, 1, or ``1 - leak``."""
    reset: Reset = "zero"
    """``zero``: to ``v_reset`` where the file has one. ``late-subtract``: taken off one step on."""
    fires: Fires = "at"
    """``v >= threshold`` or ``v > threshold``."""
    start: Start = "zero"
    """The first potential: 0, ``v_reset``, or ``v_leak`` (``v_reset`` of neurons without leak)."""
    max_spikes: int = 1
    min_membrane: float | None = None
    """The lowest potential, in thresholds."""
    readout: Readout = "declared"
    """``membrane``: the last neurons are read by their potential, never reset, not by spikes."""

    def __str__(self) -> str:
        """The row of the table."""
        several = f"up to {self.max_spikes} spikes" if self.max_spikes > 1 else "one spike"
        apart = self.dt_if is not None and self.dt_if != self.dt
        lowest = self.min_membrane
        parts = [
            f"dt {self.dt:g}" + (f" ({self.dt_if:g} without tau)" if apart else ""),
            {"euler": "leak 1 - dt/tau", "exp": "leak exp(-dt/tau)"}[self.leak],
            f"gain {GAINS[self.gain]}",
            {"at": "fires where v >= threshold", "above": "fires where v > threshold"}[self.fires],
            f"reset {RESETS[self.reset]}",
            f"starts at {STARTS[self.start]}",
            f"{several} a step",
            *([f"membrane at least {lowest:g} thresholds"] if lowest is not None else []),
            *(["last neurons read by their potential"] if self.readout == "membrane" else []),
        ]
        return ", ".join(parts)


GAINS = {"declared": "r dt/tau", "one": "1", "normalised": "1 - leak"}
RESETS = {
    "zero": "hard",
    "subtract": "subtract",
    "late-subtract": "subtract, one step late",
    "none": "none",
}
STARTS = {"zero": "0", "reset": "v_reset", "leak": "v_leak"}

DIALECTS: dict[str, Meaning] = {
    "snntorch": Meaning(reset="late-subtract", fires="above"),
    "spikingjelly": Meaning(start="reset"),
    "norse": Meaning(dt=1e-6, dt_if=1.0, fires="above", start="leak"),
    "sinabs": Meaning(
        dt=1.0, leak="exp", gain="normalised", reset="subtract", max_spikes=MOST_SPIKES
    ),
    "rockpool": Meaning(dt=1e-3, leak="exp", gain="one", reset="subtract", max_spikes=MOST_SPIKES),
    "spyx": Meaning(dt=1.0, gain="one", reset="late-subtract", fires="above"),
    "plain": Meaning(),
}
"""What each framework means by a file that it wrote (its defaults, where files do not tell)."""


def read_all(network: FloatNetwork, meaning: Meaning) -> FloatNetwork:
    """``network`` with all declared neurons read.

    Raises:
        ImportRefused: a layer has no such meaning; names the layer.
    """
    layers = [
        read(layer, meaning) if isinstance(layer, Declared) else layer for layer in network.layers
    ]
    for layer in layers[:-1]:
        if isinstance(layer, Neurons) and not layer.spiking:
            raise ImportRefused(
                f"{layer.name}: neurons that do not spike can only be the last layer, the readout"
            )
    last = layers[-1]
    if meaning.readout == "membrane":
        if not isinstance(last, Neurons):
            raise ImportRefused("--readout membrane: the last layer has no neurons")
        layers[-1] = replace(last, spiking=False, reset="none", delayed=False)
    return replace(network, layers=tuple(layers))


def read(declared: Declared, meaning: Meaning) -> Neurons:
    """Neurons with the dynamics that ``declared`` ones have under ``meaning``."""
    leak = leak_of(declared, meaning)
    resets = declared.kind in ("IF", "LIF")
    several = meaning.max_spikes if resets and meaning.reset != "zero" else 1
    threshold = declared.v_threshold
    spiking = threshold is not None
    if threshold is None:
        threshold = np.full_like(leak, np.inf)
    return Neurons(
        name=declared.name,
        shape=declared.shape,
        leak=leak,
        gain=gain_of(declared, meaning, leak),
        rest=declared.v_leak,
        threshold=threshold,
        start=start_of(declared, meaning),
        reset_to=_reset_potential(declared),
        reset=_reset_rule(declared, meaning),
        delayed=resets and meaning.reset == "late-subtract",
        strict=meaning.fires == "above",
        max_spikes=several,
        minimum=(
            threshold * meaning.min_membrane
            if resets and meaning.min_membrane is not None
            else None
        ),
        spiking=spiking,
    )


def leak_of(declared: Declared, meaning: Meaning) -> Floats:
    """The share of a potential that stays after a step, ``[C]``.

    Raises:
        ImportRefused: it would not be within 0…1.
    """
    if declared.kind == "Threshold":
        return np.zeros_like(declared.r)
    if declared.tau is None:
        return np.ones_like(declared.r)
    steps = meaning.dt / declared.tau
    leak: Floats = np.exp(-steps) if meaning.leak == "exp" else 1 - steps
    if not (declared.tau > 0).all() or not ((leak >= -1e-9) & (leak <= 1)).all():
        raise ImportRefused(
            f"{declared.name}: with dt {meaning.dt:g} and tau {_span(declared.tau)} the leak would "
            f"be {_span(leak)}, which is not within 0…1; was the file written by another "
            "framework (--from), or with another timestep (--dt)?"
        )
    return np.maximum(leak, 0.0)


def gain_of(declared: Declared, meaning: Meaning, leak: Floats) -> Floats:
    """What a current is multiplied by, ``[C]``."""
    if declared.kind == "Threshold":
        return np.ones_like(declared.r)
    if declared.tau is None:
        gain = declared.r * (meaning.dt if meaning.dt_if is None else meaning.dt_if)
        return np.where(np.isnan(declared.r), 1.0, gain)  # tau and r were infinite
    match meaning.gain:
        case "declared":
            return declared.r * (meaning.dt / declared.tau)
        case "one":
            return np.ones_like(leak)
        case "normalised":
            return 1 - leak


def start_of(declared: Declared, meaning: Meaning) -> Floats:
    """Potentials before the first step, ``[C]``."""
    match meaning.start:
        case "zero":
            return np.zeros_like(declared.r)
        case "leak" if declared.tau is not None:
            return declared.v_leak
        case _:
            return _reset_potential(declared)


def _reset_potential(declared: Declared) -> Floats:
    return np.zeros_like(declared.r) if declared.v_reset is None else declared.v_reset


def _reset_rule(declared: Declared, meaning: Meaning) -> Literal["hard", "subtract", "none"]:
    if declared.kind in ("LI", "I"):
        return "none"
    if declared.kind == "Threshold":
        return "hard"
    match meaning.reset:
        case "zero":
            return "hard"
        case "subtract" | "late-subtract":
            return "subtract"
        case "none":
            return "none"


def _span(values: Floats) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g}…{high:g}"
