"""``spikeserve.convert``: a module that is there in Python becomes a bundle."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from spikeserve.importing.data.inputs import Inputs, Normalisation
from spikeserve.importing.dynamics.interpreter import interpreted
from spikeserve.importing.dynamics.meaning import MOST_SPIKES
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.importer import imported
from spikeserve.importing.lowering.findings import Finding
from spikeserve.importing.lowering.walk import Checked, lowered
from spikeserve.importing.network import FloatNetwork
from spikeserve.importing.request import Request
from spikeserve.importing.result.sheet import Sheet
from spikeserve.importing.torch.recording import (
    FRAMES,
    Run,
    evaluating,
    is_single_step,
    recorded,
    sizes_seen,
)
from spikeserve.importing.torch.tracing import Reduction, traced

IDENTICAL = 0.97
"""Inputs whose whole output has to be the module's; float32 may flip a spike of the others."""
CLOSE = 1e-5
"""Of the largest output: what float32 leaves."""


def convert(
    module: nn.Module,
    example: Tensor,
    *,
    timesteps: int,
    data: Path | str | ArrayLike,
    out: Path | str,
    labels: Path | str | ArrayLike | None = None,
    run: Run | None = None,
    **options: Any,
) -> Sheet:
    """Import a module: check it against itself, round it, measure it, write its bundle.

    Args:
        module: layers, pools and spiking neurons, read in evaluation mode and left as it was.
        example: a batch of inputs as the module takes them, ``[N, C, H, W]`` or ``[N, C]``; frames
            of events ``[N, T, C, H, W]``.
        data, labels: as for ``spikeserve import``: files, or arrays.
        run: resets the module and puts out ``[T, N, K]``, where calling it T times is not right.
        options: other fields of :class:`spikeserve.importing.request.Request`.

    Raises:
        ImportRefused: names everything that cannot be served; nothing is written.
    """
    network, writer = network_of(module, example, timesteps=timesteps, run=run)
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            reading=None,
            timesteps=timesteps,
            data=_file(data, Path(folder, "data.npy")),
            labels=None if labels is None else _file(labels, Path(folder, "labels.npy")),
            out=Path(out),
            module=type(module).__name__,
            writer=writer,
            **options,
        )
        sheet, refusals = imported(network, request, _say)
    if refusals:
        raise ImportRefused(f"{sheet}\nrefused: {'; '.join(refusals)}; accept=… writes it anyway")
    return sheet


def network_of(
    module: nn.Module, example: Tensor, *, timesteps: int, run: Run | None = None
) -> tuple[FloatNetwork, str | None]:
    """The float network that a module is, held against the module's own outputs; its framework.

    Raises:
        ImportRefused: names every layer that cannot be served, or outputs differ.
    """
    if example.ndim not in (2, 4, FRAMES) or not len(example):
        raise ImportRefused(
            f"the example has the shape {tuple(example.shape)}; a batch [N, C, H, W] or [N, C] of "
            "inputs is expected, without time, or frames of events [N, T, C, H, W]"
        )
    if example.ndim == FRAMES and example.shape[1] != timesteps:
        raise ImportRefused(f"the example has {example.shape[1]} frames for {timesteps} timesteps")
    with sizes_seen(module) as sizes:
        outputs = recorded(module, example, timesteps, run)
    with evaluating(module):
        found = traced(module, example, sizes)
    checked = lowered(found.graph)
    if found.findings or checked.network is None:
        raise ImportRefused(_reasons(module, found.findings, checked))
    if found.reduction and run is None and len(outputs) == timesteps and is_single_step(module):
        outputs = recorded(module, example, 1)  # one call is all timesteps
    _check_same(
        checked.network, example, outputs.double().cpu().numpy(), timesteps, found.reduction
    )
    return checked.network, found.graph.writer


def _reasons(module: nn.Module, findings: list[Finding], checked: Checked) -> str:
    known = {finding.node for finding in findings}
    every = [*findings, *(f for f in checked.refusals if f.node not in known)]
    lines = "\n".join(f"  {one.node} ({one.kind}): {one.text}" for one in every)
    return f"{type(module).__name__} cannot be served:\n{lines}"


def _check_same(
    network: FloatNetwork,
    example: Tensor,
    outputs: NDArray[np.float64],
    timesteps: int,
    reduction: Reduction | None,
) -> None:
    if not outputs.any():
        raise ImportRefused(
            "all outputs for the example are 0, which proves nothing: give inputs like those that "
            "the module was trained on, normalised as they were"
        )
    if len(outputs) != timesteps and reduction is None:
        raise ImportRefused(
            "the module puts out one value a class for all timesteps, and not by a sum or a mean; "
            "run= can put out [T, N, classes]"
        )
    answer = interpreted(network, _inputs(network, example), timesteps)
    if answer.most.max(initial=0) >= MOST_SPIKES:
        raise ImportRefused(
            f"neurons spike {MOST_SPIKES} times in a timestep or more, which cannot be counted; "
            "are the inputs scaled as in training? else raise thresholds and train on"
        )
    ours = answer.outputs
    if reduction is not None:
        ours = ours.sum(axis=0, keepdims=True)
        outputs = outputs.sum(axis=0, keepdims=True) if len(outputs) == timesteps else outputs
        ours = ours / timesteps if reduction == "mean" else ours
    if ours.shape != outputs.shape:
        raise ImportRefused(
            f"the module puts out {outputs.shape[2]} values, its last layer {ours.shape[2]}"
        )
    close = CLOSE * max(1.0, float(np.abs(outputs).max()))
    same = int(np.isclose(ours, outputs, rtol=CLOSE, atol=close).all(axis=(0, 2)).sum())
    if same < IDENTICAL * len(example):
        raise ImportRefused(
            f"the module's own outputs are not reproduced: {same} of {len(example)} inputs are "
            "identical; it does something that its layers do not tell, or keeps state between "
            "runs: give run=, which resets it and puts out [T, N, classes]"
        )


def _inputs(network: FloatNetwork, example: Tensor) -> Inputs:
    height, width, channels = network.input_shape
    batch = example.shape[:2] if example.ndim == FRAMES else example.shape[:1]
    maps = np.moveaxis(example.detach().cpu().numpy(), -3, -1) if example.ndim >= 4 else example
    return Inputs(
        np.asarray(maps).reshape(*batch, height, width, channels),
        Normalisation.plain(channels, 1.0),
    )


def _file(values: Path | str | ArrayLike, path: Path) -> Path:
    if isinstance(values, Path | str):
        return Path(values)
    if isinstance(values, Mapping):
        raise ImportRefused("data: a file or an array is expected")
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    np.save(path, array)
    return path


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)
