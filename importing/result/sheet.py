"""What an import found, as it is printed and stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from spikeserve.importing.integers.measure import ENOUGH_INPUTS, Accuracies
from spikeserve.importing.integers.program import COARSE
from spikeserve.importing.integers.widen import Measured
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool, Synaptic
from spikeserve.training.evaluate import accuracy_interval

LEAST = 0.97
BELOW_NOISE = 0.02
LOST = -0.01
"""Accuracy that must not be lost for certain."""
TOLERANCE = 0.005
"""Accuracy that early exit may lose on the inputs that calibrate it, a standard error included."""
WIDTH = 13


@dataclass(frozen=True)
class EarlyExit:
    """What exits give on inputs that nothing was chosen on."""

    accuracy: float
    average_timesteps: float
    threshold: float
    fixed: float
    """Accuracy if all stopped at the next whole timestep."""
    fixed_timesteps: int
    static: float
    calibrated_on: int
    measured_on: int


@dataclass(frozen=True)
class Sheet:
    """All that is shown of an import."""

    meaning: str
    golden: str | None
    measured: Measured
    ratios: tuple[float, ...]
    accuracies: Accuracies | None
    early: EarlyExit | None
    energy: str | None
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return "\n".join(f" {name:<{WIDTH}} {text}".rstrip() for name, text in self.rows())

    def rows(self) -> Iterator[tuple[str, str]]:
        """Its lines: a name, empty where a line goes on, and what is said."""
        found, count = self.measured, len(self.measured.inputs)
        known = f" (golden: {self.golden})" if self.golden else ""
        yield "reads as", self.meaning + known
        yield "layers", " · ".join(_layer(layer) for layer in found.rounded.program.network.layers)
        yield "weights", "/".join(map(str, found.settings.bits)) + " bits"
        timesteps, agreement = len(found.answer.outputs), found.agreement
        yield (
            "agreement",
            f"{_percent(agreement.last)} at T = {timesteps}, {_percent(agreement.overall)} over "
            f"all steps, {_percent(agreement.without_ties)} without ties (n = {count:,})",
        )
        if found.noise is not None:
            as_good = agreement.lack(found.noise) == 0
            yield (
                "",
                "the float network under half a grey level of noise: "
                f"{_percent(found.noise.last)}, {_percent(found.noise.overall)}, "
                f"{_percent(found.noise.without_ties)} → "
                + ("as good as noise" if as_good else "below noise"),
            )
        if self.accuracies is not None:
            one = self.accuracies
            low, high = (100 * value for value in one.difference)
            yield (
                "accuracy",
                f"{_percent(one.served)} ({_span(*one.interval)}; float {_percent(one.original)}, "
                f"difference {100 * (one.served - one.original):+.1f}, "
                f"95 % {low:+.1f}…{high:+.1f})",
            )
        ratios = (f"layer {k} {ratio:.3f}" for k, ratio in enumerate(self.ratios, start=1))
        yield "spikes", "  ".join(ratios) + " of the float network's"
        if self.early is not None:
            early = self.early
            yield (
                "early exit",
                f"{_percent(early.accuracy)} at {early.average_timesteps:.2f} of {timesteps} "
                f"steps, threshold {early.threshold:g} (chosen on {early.calibrated_on:,} inputs "
                f"to lose {100 * TOLERANCE:g} points at most, a standard error included; "
                f"measured on {early.measured_on:,} others;",
            )
            yield (
                "",
                f"all stopped at {early.fixed_timesteps}: {_percent(early.fixed)}, all {timesteps} "
                f"steps: {_percent(early.static)})",
            )
        else:
            yield "early exit", "not calibrated: requests name a threshold, or all steps run"
        if self.energy is not None:
            yield "energy", self.energy
        for note in self.notes:
            yield "note", note

    @property
    def refusals(self) -> list[str]:
        """Why this should not be served."""
        found, count = self.measured, len(self.measured.inputs)
        bar = bar_of(found)
        reached = found.agreement.without_ties
        reasons = []
        sure = reached if count >= ENOUGH_INPUTS else accuracy_interval(reached, count)[1]
        if sure < bar:
            reasons.append(
                f"the integer program agrees with the float network on {_percent(reached)} "
                f"without ties; {_percent(bar)} is the least"
            )
        if self.accuracies is not None and self.accuracies.difference[1] < LOST:
            low, high = (100 * value for value in self.accuracies.difference)
            reasons.append(f"it loses accuracy for certain: 95 % {low:+.1f}…{high:+.1f} points")
        return reasons


def bar_of(found: Measured) -> float:
    """The least agreement without ties that is served unasked."""
    return LEAST if found.noise is None else min(LEAST, found.noise.without_ties - BELOW_NOISE)


def too_few(count: int) -> str | None:
    """What to say of few inputs."""
    if count >= ENOUGH_INPUTS:
        return None
    return (
        f"{count} inputs are too few to say anything of agreement or accuracy; give "
        f"{ENOUGH_INPUTS} or more"
    )


def _layer(layer: Layer) -> str:
    shape = "×".join(map(str, layer.out_shape))
    match layer:
        case Conv():
            window = layer.window
            kernel, stride = window.kernel, window.stride
            size = f"k{kernel[0]}" if kernel[0] == kernel[1] else f"k{kernel[0]}×{kernel[1]}"
            apart = stride[0] if stride[0] == stride[1] else f"{stride[0]}×{stride[1]}"
            groups = f" g{layer.groups}" if layer.groups > 1 else ""
            step = f" s{apart}" if stride != (1, 1) else ""
            text = f"conv {layer.in_shape[2]}→{layer.out_channels} {size}{step}{groups}"
        case Linear():
            text = f"linear {layer.weight_shape[0]}→{layer.out_channels}"
        case Synaptic():
            text = f"{layer.kind if hasattr(layer, 'kind') else 'synapse'} {shape}"
        case Pool():
            text = f"{layer.mode} pool {'×'.join(map(str, layer.window.kernel))}"
        case Lif():
            several = f", ≤ {layer.max_spikes} spikes" if layer.max_spikes > 1 else ""
            text = f"{'if' if layer.leak == 1 else f'lif {layer.leak:.3g}'} {shape}{several}"
    bits = getattr(layer, "weight_bits", None)
    return text + (f" ({bits} bits)" if bits is not None and bits != COARSE else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _span(low: float, high: float) -> str:
    return f"{100 * low:.1f}…{100 * high:.1f}"
