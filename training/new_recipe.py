"""A recipe for somebody's pictures, written with what has worked for that many of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from spikeserve.models.layers import Shape
from spikeserve.models.network import Network
from spikeserve.models.plans import planned, vgg8
from spikeserve.training.bundle_start import PREFIX

FEW, MANY = 2_000, 20_000
"""Pictures to train on. Few: what the bundle has learned is kept in its first layers. Many: as the
bundles themselves were trained."""
TIMESTEPS = 4
MEMORY = 1 << 32
"""Bytes that a training step may take, and a quarter of the machine's at most."""
BYTES_A_NEURON = 24
"""And timestep: its current, potential and spike, and gradients of them (docs/LOG.md)."""
KEPT = 5
"""First layers that stay the bundle's where pictures are few."""
MOST_HELD_OUT = 5_000
FEWEST_HELD_OUT = 10


@dataclass(frozen=True)
class Plan:
    """What decides how long the training takes, and how well it goes."""

    size: int
    batch_size: int
    held_out: int
    start: str | None
    """A bundle, by name or folder, whose weights are the first."""
    frozen: int
    """Of its layers, that stay as they are."""
    one_pass_epochs: int
    temporal_epochs: int
    learning_rate: float


def held_out(images: int) -> int:
    """How many of ``images`` to calibrate on: a fifth of few, a tenth of many."""
    share = images // 5 if images < FEW else images // 10
    return min(MOST_HELD_OUT, max(share, min(FEWEST_HELD_OUT, images // 2)))


def largest_batch(network: Network, timesteps: int) -> int:
    """Pictures whose currents, potentials and spikes at all timesteps fit into memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    most = min(MEMORY, machine // 4) // (timesteps * network.neurons * BYTES_A_NEURON)
    return max(1, most // 8 * 8 if most > 8 else most)


def sensible(images: int, shape: Shape, start: str | None) -> Plan:
    """Choices for ``images`` pictures to train on, of ``shape`` each.

    docs/LOG.md has the measurements behind them (2026-11-27, "A few hundred photographs").
    """
    rest, side = held_out(images), max(shape[:2])
    most = largest_batch(planned(vgg8(side), shape, 2), TIMESTEPS)
    if images < FEW:
        batch = min(32, max(8, (images - rest) // 4), most)
        epochs = 20 if start else 40
        return Plan(side, batch, rest, start, KEPT if start else 0, epochs, 3, 0.01)
    if images < MANY:
        return Plan(
            side, min(64, most), rest, start, 0, 15 if start else 25, 3, 0.01 if start else 0.02
        )
    return Plan(side, min(256, most), rest, start, 0, 12 if start else 18, 3, 0.02)


def written(name: str, dataset: str, title: str, plan: Plan, seed: int, shape: Shape) -> str:
    """The recipe as TOML, to be read and changed by people."""
    items = ", ".join(f'"{item}"' for item in vgg8(plan.size))
    start = f"pretrained = {json.dumps(PREFIX + plan.start)}\n" if plan.start else ""
    frozen = (
        f"frozen = {plan.frozen} # layers that keep the bundle's weights\n" if plan.frozen else ""
    )
    padding = max(2, min(shape[:2]) // 8)
    height, width, channels = shape
    colours = "colour" if channels == 3 else "grey"
    return f"""# Written by spiketrain new; every setting is in docs/TRAINING.md. Train it with
#     spiketrain all {name}.toml
name = "{name}"
version = "1"
description = {json.dumps(f"Hybrid-encoded spiking VGG-8 for {title}, T = 4", ensure_ascii=False)}
seed = {seed}
batch_size = {plan.batch_size}

[data]
dataset = {json.dumps(dataset, ensure_ascii=False)} # {height} x {width} pixels, {colours}
held_out = {plan.held_out} # pictures that temperatures and the default threshold are fitted to

[network]
plan = [{items}]
encoding = "hybrid"
timesteps = 4

[[stages]] # spiking, a single timestep
name = "single-step"
neurons = "lif"
{start}timesteps = 1
epochs = {plan.one_pass_epochs}
optimizer = "muon"
learning_rate = {plan.learning_rate}
train_threshold = false
{frozen}label_smoothing = 0.1
rate_weight = 0.02
crop_padding = {padding}

[[stages]] # batch-norm folded away, all four timesteps, weights rounded as served
name = "temporal"
neurons = "lif"
timesteps = 4
epochs = {plan.temporal_epochs}
optimizer = "adamw"
learning_rate = 0.0002
weight_decay = 0.0
fold = "threshold"
weight_bits = 8
train_leak = true
rate_weight = 0.02
crop_padding = {padding}

[quantize]
weight_bits = 8

[calibrate]
tolerance = 0.001
"""
