"""From a float network and the user's data to a bundle, and the truth about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from spikeserve.importing.arrays import sha256_of
from spikeserve.importing.bundle import Origin, check_out, written
from spikeserve.importing.data import FIRST, Data, floats_of, loaded
from spikeserve.importing.early import LEAST_LABELLED, Calibrated, calibrated_halves
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.flat import with_map
from spikeserve.importing.golden import Match, Search, told
from spikeserve.importing.inputs import GREY_LEVELS, Inputs, Normalisation
from spikeserve.importing.integers import LEAST_SPIKES
from spikeserve.importing.interpreter import interpreted
from spikeserve.importing.labels import class_names
from spikeserve.importing.meaning import read_all
from spikeserve.importing.measure import accuracies, silent, spike_ratios
from spikeserve.importing.network import FloatNetwork, Neurons
from spikeserve.importing.recorded import recorded
from spikeserve.importing.request import Request
from spikeserve.importing.sheet import Sheet, too_few
from spikeserve.importing.widen import Measured, measured

TOLERANCE = 0.005
"""Accuracy that early exit may lose on the inputs that calibrate it."""

Say = Callable[[str], None]


@dataclass
class Log:
    """Progress, and what is to be remembered."""

    say: Say
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.say(f"note: {text}")


def imported(
    network: FloatNetwork, source: Path | None, request: Request, say: Say
) -> tuple[Sheet, list[str]]:
    """Import ``network`` and write its bundle; the sheet, and why it was refused, if it was.

    Args:
        source: the file that the network comes from.

    Raises:
        ImportRefused: says what is wrong and what to do; nothing is written.
    """
    log = Log(say)
    check_out(request.out, force=request.force)
    network = with_map(network, request.data)
    classes = network.classes
    if classes < 2:
        raise ImportRefused(
            f"the network puts out {classes} value; a classifier with two classes or more is needed"
        )
    data = loaded(
        request.data,
        request.labels,
        network.input_shape,
        classes,
        request.timesteps,
        layout=request.layout,
        limit=request.limit,
    )
    for note in data.notes:
        log.note(note)
    inputs = Inputs(data.values, _normalisation(request, data, network))
    log.say(f"reads as {request.read_as}")
    golden = None
    if request.golden is not None:
        golden = _checked(network, inputs, request)
        log.say(f"golden: {golden.identical} of {golden.inputs} inputs identical")
    full = network if request.reading is None else read_all(network, request.reading.meaning)
    log.say(f"runs the float network on {len(inputs):,} inputs")
    answer = interpreted(full, inputs, request.timesteps)
    _check_alive(full, silent(full, answer), len(inputs), request)
    count = _largest_count(request, data, log)
    log.say("rounds it")
    found = measured(full, inputs, answer, bits=request.bits, largest_count=count, say=say)
    for warning in found.rounded.warnings:
        log.note(warning)
    if (few := too_few(len(inputs))) is not None:
        log.note(few)
    names = class_names(request.class_names, classes, data.class_names)
    exits = _exits(found, data, log)
    sheet = _sheet(request, golden, found, data, exits, tuple(log.notes))
    refusals = sheet.refusals
    if refusals and not _accepted(request, found):
        return sheet, refusals
    sheet = replace(sheet, notes=(*sheet.notes, *(f"accepted: {text}" for text in refusals)))
    origin = Origin(
        source=None if source is None else source.name,
        source_sha256=None if source is None else sha256_of(source),
        reading=request.read_as,
        data=request.data.name,
        data_sha256=data.sha256,
        golden_sha256=None if request.golden is None else sha256_of(request.golden),
        golden=golden,
    )
    written(request, origin, sheet, exits, names)
    return sheet, []


def _normalisation(request: Request, data: Data, network: FloatNetwork) -> Normalisation:
    channels = network.input_shape[2]
    mean = floats_of(request.mean, channels, "--mean")
    std = floats_of(request.std, channels, "--std")
    if data.counts:
        if mean is not None or std is not None:
            raise ImportRefused("--mean and --std are for images; frames are counts of events")
        return Normalisation.plain(channels, 1.0)
    if not (math.isfinite(request.scale) and request.scale > 0):
        raise ImportRefused(f"--scale must be positive, not {request.scale:g}")
    if std is not None and (std <= 0).any():
        raise ImportRefused(f"--std must be positive, not {request.std}")
    if mean is not None and np.abs(mean).max() > 1 and request.scale == GREY_LEVELS:
        raise ImportRefused(
            f"--mean {request.mean}: pixels are divided by 255 first, so it is within 0…1; or say "
            "--scale 1"
        )
    return Normalisation(
        request.scale,
        np.zeros(channels) if mean is None else mean,
        np.ones(channels) if std is None else std,
    )


def _checked(network: FloatNetwork, inputs: Inputs, request: Request) -> Match:
    """That the asked meaning gives the recorded outputs.

    Raises:
        ImportRefused: it does not; names the meaning that does.
    """
    assert request.golden is not None
    classes = network.classes
    first = inputs[: min(FIRST, len(inputs))]
    forms = recorded(request.golden, request.timesteps, classes, len(first))
    searches = [Search(network, first, form) for form in forms]
    matches = [search.match(request.reading) for search in searches]
    best = max(matches, key=lambda match: match.identical / match.inputs)
    if best.holds:
        return best
    if request.reading is None:
        raise ImportRefused(
            f"the recorded outputs are not reproduced: {best.identical} of {best.inputs} inputs "
            "are identical; are they of these inputs, in this order, in evaluation mode?"
        )
    for search in searches:
        found, tried = search.found(request.reading)
        if found or search is searches[-1]:
            raise ImportRefused(told(best, found, tried))
    raise AssertionError


def _check_alive(full: FloatNetwork, dead: list[str], inputs: int, request: Request) -> None:
    if not dead:
        return
    asked = (
        "" if request.reading is None else f"Is dt {request.reading.meaning.dt:g} right (--dt)? "
    )
    gains = {
        layer.name: float(np.mean(layer.gain))
        for layer in full.layers
        if isinstance(layer, Neurons) and layer.name in dead
    }
    raise ImportRefused(
        f"dead: {' and '.join(dead)} never fire{'s' if len(dead) == 1 else ''} on {inputs:,} "
        f"inputs in {request.timesteps} steps (a current counts "
        f"{', '.join(f'{gain:.3g}' for gain in gains.values())} times). {asked}Neurons that do not "
        "leak mean r times dt = 1. Are the inputs those that it was trained on (--scale, --mean, "
        "--std)?"
    )


def _largest_count(request: Request, data: Data, log: Log) -> int | None:
    if not data.counts:
        return None
    most = int(data.values.max())
    if request.largest_count is not None:
        if most > request.largest_count:
            log.note(f"counts of up to {most} are taken as {request.largest_count} (--input-max)")
        return request.largest_count
    return max(LEAST_SPIKES, most)


def _exits(found: Measured, data: Data, log: Log) -> Calibrated | None:
    if data.labels is None:
        log.note("no labels: nothing is said of accuracy, and early exit is not calibrated")
        return None
    if len(data) < LEAST_LABELLED:
        log.note(f"{len(data)} labelled inputs are too few to calibrate early exit")
        return None
    return calibrated_halves(found, data.labels, TOLERANCE)


def _sheet(
    request: Request,
    golden: Match | None,
    found: Measured,
    data: Data,
    exits: Calibrated | None,
    notes: tuple[str, ...],
) -> Sheet:
    return Sheet(
        meaning=request.read_as,
        golden=None if golden is None else f"{golden.identical} of {golden.inputs} identical",
        measured=found,
        ratios=tuple(float(ratio) for ratio in spike_ratios(found.trace, found.answer)),
        accuracies=(
            None
            if data.labels is None
            else accuracies(data.labels, found.trace.predictions[-1], found.truth.classes[-1])
        ),
        early=None if exits is None else exits.early,
        energy=None,
        notes=notes,
    )


def _accepted(request: Request, found: Measured) -> bool:
    return request.accept is not None and found.agreement.without_ties >= request.accept
