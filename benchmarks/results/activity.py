"""What a trained network does on held-out images: accuracy, operations, early exit, and served."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeserve.models.engines.event import EventEngine
from spikeserve.models.exits import ExitPolicy, normalised_entropy, select_exits, softmax
from spikeserve.models.inference import trace
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.quantize import quantised
from spikeserve.training.trainer import Trainer
from spikeserve.training.validation import BATCH

TOLERANCE = 0.001  # accuracy that an exit may lose against the best fixed number of timesteps
THRESHOLDS = np.linspace(0, 1, 201)


@torch.no_grad()
def measured(model: SpikingNetwork, trainer: Trainer) -> dict[str, Any]:
    """Accuracy and operations at every timestep, and what leaving early makes of them.

    Operations are synaptic operations of all layers but the first, per multiply-accumulate of
    theirs: 1 is what one dense pass would compute.
    """
    timesteps = trainer.recipe.network.timesteps
    counted = _Activity(model, timesteps)
    outputs, labels = [], trainer.held_out.labels
    for start in range(0, len(labels), BATCH):
        frames = trainer.encoder(trainer.held_out.images[start : start + BATCH], timesteps)
        with trainer.encoder.autocast():
            outputs.append(model.accumulated(model(frames)))
    counted.detach()
    logits = torch.cat(outputs, dim=1).double().cpu().numpy()  # [T, N, K]
    right = logits.argmax(axis=2) == labels.cpu().numpy()
    operations = counted.by_timestep
    fewest = leaving_early(logits, right, operations.cumsum())
    return {
        "accuracy": [round(float(share), 4) for share in right.mean(axis=1)],
        "operations": [round(float(share), 4) for share in operations],
        "early_exit": fewest,
        "served": served(model, trainer) if model.servable else None,
    }


def served(model: SpikingNetwork, trainer: Trainer) -> dict[str, Any]:
    """Accuracy at every timestep of the integer program, and milliseconds an image takes: with
    weights scaled down until no sum can leave int16, and with weights of full size."""
    images, labels = (x.cpu().numpy() for x in (trainer.held_out.images, trainer.held_out.labels))
    engines = {}
    for name, saturating in (("bounded", False), ("saturating", True)):
        model.saturating = saturating
        engines[name] = EventEngine(quantised(model, 8), threads=1)
    spent: dict[str, list[float]] = {name: [] for name in engines}
    right: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in engines}
    for start in range(0, len(images), BATCH):
        chunk = slice(start, start + BATCH)
        for name, engine in engines.items():  # in turns
            began = time.perf_counter()
            run = trace(engine, trainer.recipe.encoding, images[chunk])
            spent[name].append(1000 * (time.perf_counter() - began) / len(images[chunk]))
            right[name].append(run.predictions == labels[chunk])
    return {
        name: {
            "accuracy": np.concatenate(right[name], axis=1).mean(axis=1).round(4).tolist(),
            "milliseconds": round(median(spent[name]), 4),
        }
        for name in engines
    }


def leaving_early(
    logits: NDArray[np.float64], right: NDArray[np.bool_], operations: NDArray[np.float64]
) -> dict[str, float]:
    """The threshold of least operations that loses no more than the tolerance.

    Args:
        logits: accumulated, ``[T, N, K]``.
        right: ``[T, N]``.
        operations: up to each timestep, ``[T]``.
    """
    entropies = normalised_entropy(softmax(logits))
    floor = right.mean(axis=1).max() - TOLERANCE
    found = []
    for threshold in THRESHOLDS:
        exits = select_exits(entropies, ExitPolicy(float(threshold), 1, len(right)))
        accuracy = np.take_along_axis(right, exits[None] - 1, axis=0).mean()
        if accuracy >= floor:
            found.append((operations[exits - 1].mean(), exits.mean(), accuracy, threshold))
    if not found:  # entropies rank images too badly even without exits
        exits = np.full(right.shape[1], 1 + int(right.mean(axis=1).argmax()))
        found = [(operations[exits - 1].mean(), exits.mean(), right.mean(axis=1).max(), 0.0)]
    names = ("operations", "timesteps", "accuracy", "threshold")
    return {name: round(float(x), 4) for name, x in zip(names, min(found), strict=True)}


class _Activity:
    """Counts what reaches the layers of a network, while it is attached."""

    def __init__(self, model: SpikingNetwork, timesteps: int) -> None:
        layers = [module for module in model.synaptic[1:] if module.layer.is_matrix]
        costs = [module.layer.macs * module.layer.input_growth for module in layers]
        self.by_timestep = np.zeros(timesteps)
        self._images = 0
        self._hooks = [
            module.register_forward_pre_hook(self._counter(cost / sum(costs)))
            for module, cost in zip(layers, costs, strict=True)
        ]
        self._hooks.append(layers[0].register_forward_pre_hook(self._count_images))

    def _counter(self, share: float) -> Any:
        def count(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs = arguments[0].float()
            by_step = inputs.reshape(len(self.by_timestep), -1, inputs[0].numel())  # [T, B, …]
            self.by_timestep += share * by_step.mean(2).sum(1).double().cpu().numpy()

        return count

    def _count_images(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._images += len(arguments[0]) // len(self.by_timestep)

    def detach(self) -> None:
        """Stop counting; operations are an image's from now on."""
        for hook in self._hooks:
            hook.remove()
        self.by_timestep /= self._images
