"""Accuracy and spike rates on held-out training images, after every epoch."""

from __future__ import annotations

import torch

from spikeserve.training.build import SpikingNetwork
from spikeserve.training.data.batches import Batches
from spikeserve.training.frames import FrameEncoder

BATCH = 500
NEURON_STEPS = 1 << 29
"""In a batch: neurons of large images times timesteps would crowd memory."""


@torch.no_grad()
def validated(
    model: SpikingNetwork, held_out: Batches, encoder: FrameEncoder, timesteps: int
) -> tuple[list[float], list[float]]:
    """Accuracy after every timestep ``[T]``, and each LIF layer's mean spike rate."""
    model.eval()
    right = torch.zeros(timesteps)
    rates = torch.zeros(len(model.neurons))
    labels = held_out.labels
    size = max(1, min(BATCH, NEURON_STEPS // (timesteps * model.network.neurons)))
    starts = range(0, len(labels), size)
    for start in starts:
        images = held_out.images[start : start + size]
        with encoder.autocast():
            logits = model.accumulated(model(encoder(images, timesteps)))
        hits = logits.argmax(-1) == labels[start : start + size]
        right += hits.sum(1).cpu()
        rates += torch.stack([n.rate for n in model.neurons]).cpu() / len(starts)
    accuracy = [round(float(x), 4) for x in right / len(labels)]
    return accuracy, [round(float(x), 4) for x in rates]
