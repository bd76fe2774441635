"""Weights to start from, out of a served bundle: its integers as a float network with batch-norm.

A bundle's batch-norm is folded away, and every channel has a unit of its own. Here it is unfolded
again: a channel's weights get the length of fresh ones, its statistics are those of the pictures
that will be trained on, and its shift is such that, on these, it fires at the first timestep where
the bundle does. Convolutions know nothing of the size of their maps, so that a network for larger
pictures, with other pools or other classes can start so. Layers are matched in order, as far as
their shapes agree; what follows, and always the classifier, keeps fresh weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.errors import BundleError
from spikeserve.models.program import Program
from spikeserve.models.shipped import bundle_folder
from spikeserve.training.build import FLOATS, Neurons, Pooling, SpikingNetwork, SynapticModule
from spikeserve.training.errors import TrainingError
from spikeserve.training.rounding import PIXEL_UNIT

PREFIX = "bundle:"
"""What ``pretrained`` begins with where a stage starts from a bundle: a shipped one's name, or a
folder."""
FARTHEST = 6.0
"""Standard deviations between a channel's mean and its threshold, at most: beyond, it is silent on
these pictures, and would never learn to be otherwise."""


def bundle_of(pretrained: str) -> Bundle:
    """The bundle that ``pretrained`` names.

    Raises:
        TrainingError: there is none, or it is damaged.
    """
    name = pretrained.removeprefix(PREFIX)
    try:
        bundle = load_bundle(Path(bundle_folder(name)))
    except BundleError as error:
        raise TrainingError(f"pretrained = {pretrained!r}: {error}") from error
    program = bundle.program
    if program.drive is not None or program.largest_count is not None or any(program.counts):
        raise TrainingError(
            f"pretrained = {pretrained!r}: its neurons spike several times, or its input is no "
            "plain picture; only weights of networks without either can be started from"
        )
    return bundle


@torch.no_grad()
def set_from_bundle(model: SpikingNetwork, program: Program, frames: Tensor) -> int:
    """Set ``model``'s first layers to those of ``program``; returns how many.

    Args:
        model: with batch-norm, its neurons as they were built.
        frames: ``[1, B, C, H, W]`` of pictures that will be trained on.

    Raises:
        TrainingError: not even the first layer fits.
    """
    count = _fitting(model, program)
    if not count:
        ours, theirs = model.synaptic[0].layer, program.network.synaptic[0]
        raise TrainingError(
            f"the bundle's weights fit no layer: its first has {theirs.weight_shape}, this "
            f"network's {ours.weight_shape}"
        )
    model.eval()
    x, index = frames.flatten(0, 1).float(), 0
    for module in model.stack:
        if isinstance(module, SynapticModule):
            if index == count:
                break
            _set_layer(module, model.neurons[index], program, index, x)
            index += 1
        x = module(x) if isinstance(module, Pooling) else module(x, 1)
    return count


def _fitting(model: SpikingNetwork, program: Program) -> int:
    """How many of the first layers have equal shapes; where a block begins, or the classifier, both
    are past comparing."""
    count = 0
    for index, (module, layer) in enumerate(
        zip(model.synaptic[:-1], program.network.synaptic[:-1], strict=False)
    ):
        alone = model.network.feeding[index] == program.network.feeding[index] == (index,)
        rows, channels = module.layer.weight_shape
        fits = (len(_weight(program, index, rows).T), layer.out_channels) == (rows, channels)
        if not (alone and fits and module.norm is not None):
            break
        if module.layer.window.kernel != layer.window.kernel:
            break
        count += 1
    return count


def _weight(program: Program, index: int, rows: int) -> Tensor:
    """A layer's integers ``[c_out, rows]``; the first one's as they act on grey pictures, where
    ``rows`` are those of a single channel."""
    layer, weight = program.network.synaptic[index], program.weights[index].weight
    if index == 0 and rows == layer.window.area < len(weight):
        weight = weight.reshape(rows, -1, layer.out_channels).sum(axis=1, dtype=np.int16)
    return torch.from_numpy(weight).T


def _set_layer(
    module: SynapticModule, neurons: Neurons, program: Program, index: int, x: Tensor
) -> None:
    """One layer and its neurons, for its inputs ``x [B, C, H, W]``."""
    norm, layer = module.norm, program.network.synaptic[index]
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    numbers, served, lif = (
        program.weights[index],
        program.neurons[index],
        program.network.lifs[index],
    )
    weight = _weight(program, index, module.layer.weight_shape[0]).to(module.weight)
    scale = module.weight.norm(dim=1).mean() / weight.norm(dim=1).clamp(min=1)
    module.weight.copy_(weight * scale[:, None])
    needed = torch.from_numpy(served.threshold - numbers.bias).to(scale) * 2**layer.shift
    threshold = needed * scale / (PIXEL_UNIT if index == 0 else 1)
    variance, mean = torch.var_mean(module.layer.sums(FLOATS, x, module.weight.T), dim=(0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    distance = (threshold - mean) / (variance + norm.eps).sqrt()
    norm.bias.copy_(neurons.theta - distance.clamp(-FARTHEST, FARTHEST))
    lif = program.network.lifs[index]
    neurons.leak.fill_(lif.leak_q / (1 << lif.leak_bits))
