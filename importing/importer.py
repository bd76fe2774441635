"""From a float network and the user's data to a bundle, and the truth about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import ValidationError

from spikeserve.importing.data.flat import with_map
from spikeserve.importing.data.inputs import GREY_LEVELS, Inputs, Normalisation
from spikeserve.importing.data.labels import class_names
from spikeserve.importing.data.loading import FIRST, Data, floats_of, loaded
from spikeserve.importing.dynamics.golden import Match, Search, told
from spikeserve.importing.dynamics.interpreter import interpreted
from spikeserve.importing.dynamics.meaning import read_all
from spikeserve.importing.dynamics.recorded import recorded
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.integers.measure import accuracies, silent, spike_ratios
from spikeserve.importing.integers.program import LEAST_SPIKES
from spikeserve.importing.integers.widen import Measured, measured
from spikeserve.importing.network import Declared, FloatNetwork, Neurons, Synapse
from spikeserve.importing.request import Request
from spikeserve.importing.result.bundle import check_out, manifest_of, self_test_of, written
from spikeserve.importing.result.early import LEAST_LABELLED, Calibrated, calibrated_halves
from spikeserve.importing.result.provenance import provenance
from spikeserve.importing.result.sheet import Sheet, too_few
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.manifest import IMAGE_CHANNELS, Evaluation, Manifest

LARGE = 1e12
"""Multiplications from which on the float network is run in float32, as its framework runs it."""

Say = Callable[[str], None]


@dataclass
class Log:
    """Progress, and what is to be remembered."""

    say: Say
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.say(f"note: {text}")


def imported(network: FloatNetwork, request: Request, say: Say) -> tuple[Sheet, list[str]]:
    """Import ``network`` and write its bundle; the sheet, and why it was refused, if it was.

    Raises:
        ImportRefused: says what is wrong and what to do; nothing is written.
    """
    log = Log(say)
    check_out(request.out, force=request.force)
    network = with_map(network, request.data)
    classes = network.classes
    _check_network(network)
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
    elif request.reading is not None:
        log.note("whether the framework computes this is not known: no --golden was given")
    full = network if request.reading is None else read_all(network, request.reading.meaning)
    work = full.macs * request.timesteps * len(inputs)
    log.say(
        f"runs the float network on {len(inputs):,} inputs, {work / 1e9:,.0f} billion "
        "multiplications"
    )
    precision = np.float64 if work < LARGE else np.float32
    answer = interpreted(full, inputs, request.timesteps, precision)
    _check_alive(full, silent(full, answer), len(inputs), request)
    count = _largest_count(request, data, network, log)
    log.say("rounds it")
    found = measured(full, inputs, answer, bits=request.bits, largest_count=count, say=say)
    for warning in found.rounded.warnings:
        log.note(warning)
    if (few := too_few(len(inputs))) is not None:
        log.note(few)
    names = class_names(request.class_names, classes, data.class_names)
    exits = _exits(found, data, log)
    sheet = _sheet(request, golden, found, data, exits)
    test = self_test_of(found)
    told = provenance(
        request,
        found,
        golden,
        sheet.ratios,
        sheet.accuracies,
        0 if exits is None else exits.early.calibrated_on,
        data.sha256,
        tuple(sheet.refusals),
    )
    try:
        manifest = manifest_of(request, found, exits, names, told, test)
    except ValidationError as error:
        first = error.errors()[0]
        raise ImportRefused(f"cannot be a bundle: {first['msg']}") from error
    sheet = replace(sheet, energy=_energy(manifest, found), notes=tuple(log.notes))
    if sheet.refusals and not _accepted(request, found):
        return sheet, sheet.refusals
    written(request.out, manifest, found, test, _card(manifest, sheet))
    return sheet, []


def _check_network(network: FloatNetwork) -> None:
    """What no meaning and no data would change."""
    spiking = [
        layer.v_threshold is not None if isinstance(layer, Declared) else layer.spiking
        for layer in network.layers
        if isinstance(layer, Declared | Neurons)
    ]
    if not any(spiking):
        raise ImportRefused("the network has no spiking neurons; there is nothing to serve")
    for layer in network.layers:
        numbers = (layer.weight, layer.bias) if isinstance(layer, Synapse) else ()
        if not all(np.isfinite(values).all() for values in numbers):
            raise ImportRefused(f"{layer.name}: weights or biases are not finite")


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
        if best.is_nearest(found):
            return best
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


def _largest_count(request: Request, data: Data, network: FloatNetwork, log: Log) -> int | None:
    if not data.counts:
        if request.largest_count is not None:
            raise ImportRefused("--input-max is for frames of counts; these are images")
        channels = network.input_shape[2]
        if channels in IMAGE_CHANNELS:
            return None
        log.note(f"images of {channels} channels are served as recordings of equal frames")
        return GREY_LEVELS
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
    return calibrated_halves(found, data.labels)


def _sheet(
    request: Request,
    golden: Match | None,
    found: Measured,
    data: Data,
    exits: Calibrated | None,
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
    )


def _energy(manifest: Manifest, found: Measured) -> str:
    """What the average input costs, as an estimate."""
    model, pairs = EnergyModel(manifest, load_profile()), found.trace.active_pairs
    everything = np.full(pairs.shape[1], manifest.timesteps)
    full = float(model.estimates(pairs, everything).total_pj.mean()) / 1e6
    early = "" if manifest.evaluation is None else _early_energy(manifest.evaluation)
    outside = "; ".join(model.domain_notes)
    domain = f", out of domain: {outside}" if outside else ""
    return f"{early}{full:.2f} µJ for all steps (estimate{domain})"


def _early_energy(evaluation: Evaluation) -> str:
    picojoules = evaluation.default.energy_pj
    return "" if picojoules is None else f"{picojoules / 1e6:.2f} µJ an input; "


def _card(manifest: Manifest, sheet: Sheet) -> str:
    """The model card: the sheet, and what its lines mean."""
    return "\n".join(
        [
            f"# {manifest.name} {manifest.version}",
            "",
            manifest.description,
            "",
            f"Written by `spikeserve import`; created {manifest.created}.",
            "",
            "```text",
            str(sheet),
            "```",
            "",
            "Agreement is with the float network's classes, which the integer program rounds. "
            "Nothing is known of inputs that are unlike those it was measured on.",
            "",
        ]
    )


def _accepted(request: Request, found: Measured) -> bool:
    return request.accept is not None and found.agreement.without_ties >= request.accept
