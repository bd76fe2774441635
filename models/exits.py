"""The one exit rule: accumulated logits -> probabilities -> normalised entropy -> stop or go.

    mean_t = (1/t) * sum of the logits up to t         | leaky: leak * leaky_(t-1) + logits of t
    p      = softmax(logit_scale * mean_t / temperature_t)
    q      = softmax(sharpness * logit_scale * mean_t / temperature_t)
    H      = -sum(q ln q) / ln K                       in 0…1
    stop   when H < entropy_threshold, from min_timesteps on, at max_timesteps at the latest

``leaky`` is a readout neuron's membrane potential, which is how some networks were trained.
Temperatures make ``p`` honest; a sharpness above 1 makes ``H`` look only at classes that could
still win, since what is spread over the others says nothing about the answer.

Everything is float64 from integer logits, computed row by row, so that the same row
gives the same bits whatever its neighbours. ``entropy_threshold = 0`` never exits early.
Source: Li et al., "Input-Aware Dynamic Timestep Spiking Neural Networks", DAC 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.errors import InvalidPolicy

TINY = float(np.finfo(np.float64).tiny)  # stands in for a probability of 0: 0 ln 0 = 0

Floats = NDArray[np.float64]
Sums = NDArray[np.int64] | Floats
"""Accumulated logits: whole numbers, but where they leak."""
StopReason = Literal["entropy", "max_timesteps", "deadline"]
"""``deadline`` is the scheduler's: a policy knows no clock."""


@dataclass(frozen=True)
class ExitPolicy:
    """When one row may stop.

    Raises:
        InvalidPolicy: the threshold is not in 0…1, or the limits are not in order.
    """

    entropy_threshold: float
    min_timesteps: int
    max_timesteps: int

    def __post_init__(self) -> None:
        threshold = self.entropy_threshold
        if not (isinstance(threshold, Real) and 0.0 <= threshold <= 1.0):  # also refuses NaN
            raise InvalidPolicy(
                f"entropy_threshold must be between 0 and 1, not {self.entropy_threshold}"
            )
        limits = (self.min_timesteps, self.max_timesteps)
        if not (all(isinstance(t, Integral) for t in limits) and 1 <= limits[0] <= limits[1]):
            raise InvalidPolicy(
                f"1 <= min_timesteps <= max_timesteps needed, "
                f"not {self.min_timesteps} and {self.max_timesteps}"
            )

    def check_limit(self, timesteps: int) -> None:
        """Raises InvalidPolicy if the policy asks for more than the model's ``timesteps``."""
        if self.max_timesteps > timesteps:
            raise InvalidPolicy(
                f"max_timesteps is {self.max_timesteps}, but the model runs at most {timesteps}"
            )

    def decide(self, t: int, entropy: float) -> StopReason | None:
        """Why to stop after timestep ``t``, or None to go on."""
        if t >= self.min_timesteps and entropy < self.entropy_threshold:
            return "entropy"
        return "max_timesteps" if t >= self.max_timesteps else None


@dataclass(frozen=True)
class Readout:
    """Turns accumulated integer logits into probabilities; calibrated per timestep."""

    logit_scale: float
    temperatures: tuple[float, ...]
    sharpness: float = 1.0
    leak: float | None = None
    """What stays of the sum over earlier timesteps; None: all of it, and means are read."""

    def summed(self, logits: NDArray[np.integer], before: Sequence[Sums | None]) -> Sums:
        """Sums ``[N, K]`` of this timestep's logits and what rows had summed up before it."""
        sums: NDArray[Any] = logits.astype(np.int64 if self.leak is None else np.float64)
        for row, earlier in enumerate(before):
            if earlier is not None:
                sums[row] += earlier if self.leak is None else self.leak * earlier
        return sums

    def probabilities(self, logit_sums: Sums, t: NDArray[np.int64]) -> Floats:
        """Class probabilities ``[N, K]`` of sums ``[N, K]`` over the first ``t [N]`` timesteps."""
        return softmax(logit_sums * self._scales[t - 1, None])

    def entropies(self, logit_sums: Sums, t: NDArray[np.int64]) -> Floats:
        """What exits are decided by, ``[N]``, for the same arguments."""
        scales = self.sharpness * self._scales[t - 1, None]
        return normalised_entropy(softmax(logit_sums * scales))

    @cached_property
    def _scales(self) -> Floats:
        """What turns a sum over the first t timesteps into calibrated logits, ``[T]``."""
        steps = np.arange(1, len(self.temperatures) + 1) if self.leak is None else 1
        scales: Floats = self.logit_scale / (steps * np.array(self.temperatures))
        return scales


def logit_sums(logits: NDArray[np.integer], leak: float | None) -> Sums:
    """All timesteps' sums ``[T, ...]`` at once: the slow twin of :meth:`Readout.summed`."""
    if leak is None:
        return logits.cumsum(axis=0, dtype=np.int64)
    sums = logits.astype(np.float64)
    for t in range(1, len(sums)):
        sums[t] += leak * sums[t - 1]
    return sums


def softmax(logits: Floats) -> Floats:
    """Softmax over the last axis, ``[N, K]``."""
    exponentials: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normalised: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalised


def normalised_entropy(probabilities: Floats) -> Floats:
    """``-sum(p ln p) / ln K`` over the last axis, ``[N]``, in 0…1."""
    logs = np.log(np.maximum(probabilities, TINY))
    entropy: Floats = (probabilities * logs).sum(axis=-1) / -math.log(logs.shape[-1])
    return np.minimum(np.maximum(entropy, 0.0), 1.0)


def select_exits(entropies: Floats, policy: ExitPolicy) -> NDArray[np.int64]:
    """Post-hoc exit timesteps ``[N]`` from entropies ``[T, N]`` of a full run.

    The slow twin of stopping for real: both must agree on every row.
    """
    limit = min(policy.max_timesteps, len(entropies))
    sure = entropies[:limit] < policy.entropy_threshold
    sure[: policy.min_timesteps - 1] = False
    sure[limit - 1] = True
    first: NDArray[np.int64] = sure.argmax(axis=0) + 1
    return first
