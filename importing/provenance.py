"""Where an imported bundle comes from, and what was measured, as it is stored in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from spikeserve.importing.golden import Match
from spikeserve.importing.measure import Accuracies, Agreement
from spikeserve.importing.widen import Measured


@dataclass(frozen=True)
class Origin:
    """Where an imported network comes from."""

    source: str | None
    """The name of the file."""
    source_sha256: str | None
    reading: str
    """What it was read as."""
    data: str
    data_sha256: str
    golden_sha256: str | None = None
    golden: Match | None = None


def facts(
    origin: Origin,
    found: Measured,
    ratios: tuple[float, ...],
    accuracy: Accuracies | None,
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    """All that the sheet says but early exit and energy, which have sections of their own."""
    golden = origin.golden
    return {
        "source": origin.source,
        "source_sha256": origin.source_sha256,
        "meaning": origin.reading,
        "golden": None
        if golden is None
        else {
            "sha256": origin.golden_sha256,
            "inputs": golden.inputs,
            "identical": golden.identical,
        },
        "dataset": origin.data,
        "dataset_sha256": {origin.data: origin.data_sha256},
        "inputs": len(found.inputs),
        "weight_bits": found.settings.bits,
        "agreement": _shares(found.agreement),
        "noise": None if found.noise is None else _shares(found.noise),
        "spikes_ratio": tuple(round(ratio, 5) for ratio in ratios),
        "accuracy": None
        if accuracy is None
        else {
            "served": accuracy.served,
            "original": accuracy.original,
            "interval": accuracy.interval,
            "difference": accuracy.difference,
        },
        "tried": found.tried,
        "warnings": warnings,
        "software": {name: version(name) for name in ("numpy", "onnx")},
    }


def _shares(agreement: Agreement) -> dict[str, Any]:
    return {
        "last": agreement.last,
        "overall": agreement.overall,
        "without_ties": agreement.without_ties,
        "by_timestep": agreement.by_timestep,
        "by_timestep_without_ties": agreement.by_timestep_without_ties,
    }
