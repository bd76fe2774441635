"""``spikeserve import``: the flags, and what is printed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikeserve.importing.data.inputs import GREY_LEVELS
from spikeserve.importing.data.loading import MOST_INPUTS
from spikeserve.importing.dynamics.golden import Reading
from spikeserve.importing.dynamics.meaning import DIALECTS, MOST_SPIKES
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.importer import imported
from spikeserve.importing.integers.program import COARSE
from spikeserve.importing.network import FloatNetwork
from spikeserve.importing.request import Request
from spikeserve.models.encoding import MAX_TIMESTEPS
from spikeserve.models.errors import ModelError

OVERRIDES = (
    "reset", "dt", "leak", "gain", "fires", "start", "max_spikes", "min_membrane", "readout",
)  # fmt: skip
NAMEABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STEPS, EXTENT = (1e-12, 1e6), (1e-6, 1e6)
"""Timesteps, and what pixels may be divided by."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``spikeserve import``."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE.nir", help="the network")
    add("--from", dest="dialect", required=True, choices=sorted(DIALECTS), help="who wrote it")
    add("--timesteps", required=True, type=_number(int, 1, MAX_TIMESTEPS), metavar="T")
    add("--data", required=True, type=Path, help="inputs: .npy, .npz, or a folder of class folders")
    add("--labels", type=Path, help="their classes, from 0 on: .npy, .npz or text")
    add("--golden", type=Path, help="what the framework put out for the first of them, [T, N, K]")
    add("--out", required=True, type=Path, metavar="BUNDLE", help="the folder to write")
    add("--force", action="store_true", help="replace the bundle that is there")

    inputs = parser.add_argument_group("inputs")
    add = inputs.add_argument
    add(
        "--scale",
        type=_number(float, *EXTENT),
        default=float(GREY_LEVELS),
        help="pixels over it (255)",
    )
    add("--mean", help="taken away then, a number a channel: 0.49,0.48,0.45")
    add("--std", help="divided by then, a number a channel")
    add("--layout", choices=("hwc", "chw"), help="where channels are, if shapes do not tell")
    add("--input-max", type=_number(int, 1, 255), help="largest count of events in a frame")
    add("--limit", type=_number(int, 1), default=MOST_INPUTS, help=f"most inputs ({MOST_INPUTS})")

    meaning = parser.add_argument_group("meaning, where it is not the framework's usual one")
    add = meaning.add_argument
    add("--reset", choices=("subtract", "zero", "late-subtract", "none"))
    add("--dt", type=_number(float, *STEPS), help="the timestep, in the unit of the file's tau")
    add("--leak", choices=("euler", "exp"), help="1 - dt/tau or exp(-dt/tau)")
    add("--gain", choices=("declared", "one", "normalised"), help="r dt/tau, 1 or 1 - leak")
    add("--fires", choices=("at", "above"), help="v >= threshold or v > threshold")
    add("--start", choices=("zero", "reset", "leak"), help="the first potential")
    add("--max-spikes", type=_number(int, 1, MOST_SPIKES), help="of a neuron in a timestep")
    add("--min-membrane", type=_number(float, -1e6, 0), help="lowest potential, in thresholds: -1")
    add("--readout", choices=("declared", "membrane"), help="membrane: last neurons never reset")

    bundle = parser.add_argument_group("bundle")
    add = bundle.add_argument
    add("--bits", type=_number(int, 2, 16), default=COARSE, help=f"of weights at least ({COARSE})")
    add("--accept", nargs="?", type=_number(float, 0, 1), const=0.0, metavar="AGREEMENT",
        help="write it though it agrees less than it should, but at least so")  # fmt: skip
    add("--name", type=_name, help="of the bundle; the folder's, unless given")
    add("--class-names", type=Path, help="a text file, a name a line")
    add("--description", help="a sentence for the model card")


def run(options: argparse.Namespace, network_of: Callable[[Path], FloatNetwork]) -> int:
    """Import the network that ``network_of`` finds in the file; the exit code."""
    overrides = {
        name: value for name in OVERRIDES if (value := getattr(options, name, None)) is not None
    }
    try:
        _check(overrides, options.dialect)
        request = Request(
            reading=Reading(options.dialect, overrides),
            timesteps=options.timesteps,
            data=options.data,
            out=options.out,
            source=options.file,
            labels=options.labels,
            golden=options.golden,
            scale=options.scale,
            mean=options.mean,
            std=options.std,
            layout=options.layout,
            largest_count=options.input_max,
            bits=options.bits,
            accept=options.accept,
            force=options.force,
            limit=options.limit,
            name=options.name,
            class_names=options.class_names,
            description=options.description,
        )
        network = network_of(options.file)
        sheet, refusals = imported(network, request, _progress)
    except (ImportRefused, ModelError, OSError, MemoryError) as error:
        print(f"spikeserve import: {error or 'out of memory'}", file=sys.stderr)
        return 1
    print(sheet)
    if refusals:
        print(
            f"spikeserve import: refused: {'; '.join(refusals)}. --accept writes it all the same",
            file=sys.stderr,
        )
        return 1
    print(f"written; serve it with: spikeserve serve --bundle {request.out}")
    return 0


def _check(overrides: dict[str, Any], dialect: str) -> None:
    reset = overrides.get("reset", DIALECTS[dialect].reset)
    if overrides.get("max_spikes", 1) > 1 and reset == "zero":
        raise ImportRefused("--max-spikes: neurons that are reset to zero spike once a timestep")


def _progress(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


def _number(
    kind: type[int] | type[float], low: float | None = None, high: float | None = None
) -> Callable[[str], Any]:
    """A parser of numbers from ``low`` to ``high``."""

    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            whole = "whole " if kind is int else ""
            raise argparse.ArgumentTypeError(f"{text!r} is no {whole}number") from None
        if low is not None and not value >= low:  # refuses NaN too
            raise argparse.ArgumentTypeError(f"{text} is below {low:g}")
        if high is not None and not value <= high:
            raise argparse.ArgumentTypeError(f"{text} is above {high:g}")
        return value

    return parsed


def _name(text: str) -> str:
    if not NAMEABLE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: letters, digits, '.', '_' and '-', up to 100"
        )
    return text
