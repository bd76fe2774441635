"""Answers as the Open Inference Protocol has them: one tensor an output, one value an image."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spikeserve.service.classification import Ticket, ranking
from spikeserve.service.schemas import Classification, Energy, Expectation
from spikeserve.service.tensors import DTYPES, OUTPUTS, Tensor, Wanted

COLUMNS: dict[str, Callable[[Classification], Any]] = {
    "class": lambda one: one.prediction.index,
    "label": lambda one: one.prediction.label,
    "timesteps": lambda one: one.timesteps_used,
    "entropy": lambda one: one.entropy,
    "entropy_threshold": lambda one: one.entropy_threshold,
    "energy_pj": lambda one: _energy(one).total_pj,
    "stop_reason": lambda one: one.stop_reason,
}


def summary(answers: Sequence[Classification]) -> dict[str, Any]:
    """The response's parameters: plain values only, so one image's own where there is one."""
    plain: dict[str, Any] = {
        "average_timesteps": statistics.fmean(one.timesteps_used for one in answers),
        "energy_total_pj": sum(_energy(one).total_pj for one in answers),
        "energy_is_an_estimate": True,
    }
    thresholds = (one.requested_entropy_threshold for one in answers)
    if (asked := next(filter(None, thresholds), None)) is not None:  # the same by all
        plain["requested_entropy_threshold"] = asked
    if expected := [one.expected for one in answers if one.expected]:
        for part in Expectation.model_fields:
            plain[f"expected_{part}"] = statistics.fmean(getattr(one, part) for one in expected)
    if len(answers) == 1:
        (one,) = answers
        plain |= {
            "timesteps_used": one.timesteps_used,
            "entropy": one.entropy,
            "entropy_threshold": one.entropy_threshold,
            "stop_reason": one.stop_reason,
            "energy_pj": _energy(one).total_pj,
            "energy_static_pj": _energy(one).static_pj,
        }
    return plain


def _energy(one: Classification) -> Energy:
    assert one.energy is not None  # the protocol knows no way to leave it out
    return one.energy


def output(want: Wanted, tickets: Sequence[Ticket], answers: Sequence[Classification]) -> Tensor:
    """The tensor of one wanted output."""
    if want.classes:
        best = [_best(ticket, want.classes) for ticket in tickets]
        return Tensor(want.name, "BYTES", np.array(best, object))
    values: list[Any]
    if want.name == "probabilities":
        values = [ticket.job.row.probabilities for ticket in tickets]
    else:
        values = [COLUMNS[want.name](one) for one in answers]
    datatype = OUTPUTS[want.name]
    return Tensor(want.name, datatype, np.array(values, DTYPES.get(datatype, object)))


def _best(ticket: Ticket, classes: int) -> list[str]:
    """``value:index:label``, as Triton's classification extension has it."""
    probabilities = ticket.job.row.probabilities
    assert probabilities is not None
    return [
        f"{scored.probability}:{scored.index}:{scored.label}"
        for scored in ranking(ticket.model, probabilities, classes)
    ]
