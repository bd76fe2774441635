"""What a spike code is worth: the same teacher, the same budget, other codes.

Every variant starts from one pass that says what its neurons can say in all timesteps together, and
ends with the same few epochs of the real dynamics. Compared on held-out images, as whatever decides
about a recipe is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.machine import machine
from spikeserve.models.exits import ExitPolicy, normalised_entropy, select_exits, softmax
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.data import DATASETS, Split, held_out
from spikeserve.training.recipe import Recipe, load_recipe
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.trainer import Trainer
from spikeserve.training.validation import BATCH

RECIPE = Path(__file__).with_suffix(".toml")
SEEDS = (1, 2)
TOLERANCE = 0.001  # accuracy that an exit may lose against the best fixed number of timesteps
THRESHOLDS = np.linspace(0, 1, 201)

REPEATEDLY = {"fire_once": False, "reset": "soft", "initial_potential": 0.5}
INPUTS: dict[str, dict[str, Any]] = {
    "direct": {"encoding": "direct", "input_gains": (1, 1, 1, 1)},
    "front-loaded": {"encoding": "direct", "input_gains": (3, 1, 1, 1), "input_unit": 2 / 3},
    "hybrid": {"encoding": "hybrid", "input_gains": (6, 2, 1, 1), "input_unit": 0.5},
}
PRICES: dict[str, tuple[str, float]] = {
    "free": ("levels", 0.0),
    "cheap": ("levels-cheap", 1.0),
    "cheapest": ("levels-cheapest", 4.0),
}


@dataclass(frozen=True)
class Variant:
    """A code: where its weights start, its dynamics, and what its last stage does otherwise."""

    start: str
    network: dict[str, Any]
    stage: dict[str, Any] = field(default_factory=dict)

    def of(self, recipe: Recipe, name: str) -> Recipe:
        """The recipe with this variant's dynamics in its last stage, which takes its name."""
        *earlier, last = recipe.stages
        changed = {"name": name, "init_from": self.start, **self.stage}
        stages = [*(stage.model_dump() for stage in earlier), last.model_dump() | changed]
        network = recipe.network.model_dump() | self.network
        return Recipe.model_validate(recipe.model_dump() | {"network": network, "stages": stages})


VARIANTS: dict[str, Variant] = {
    "once, hybrid": Variant(
        "binary",
        {"encoding": "hybrid", "fire_once": True, "reset": "hard"},
        {"fold": "threshold", "rate_weight": 0.3},
    ),
    "repeatedly from two levels, direct": Variant(
        "binary", {"encoding": "direct", "fire_once": False, "reset": "soft"}, {"rate_weight": 0.3}
    ),
    "repeatedly from two levels, hybrid": Variant(
        "binary",
        {"encoding": "hybrid", "fire_once": False, "reset": "soft"},
        {"fold": "threshold", "rate_weight": 0.3},
    ),
    "once, halving": Variant(
        "halved",
        {"encoding": "direct", "fire_once": True, "reset": "hard"},
        {"leak": 2.0, "accumulation": "halving"},
    ),
    **{
        f"levels, {source}, {price}": Variant(
            start, REPEATEDLY | INPUTS[source], {"rate_weight": w}
        )
        for source in INPUTS
        for price, (start, w) in PRICES.items()
    },
}


def ablated(runs: Path, data: Path) -> dict[str, Any]:
    """Train every variant in a folder of its own under ``runs``, or go on with what lies there."""
    recipe, _ = load_recipe(str(RECIPE))
    dataset = DATASETS[recipe.data.dataset]
    train = dataset.train(data)
    rows: list[dict[str, Any]] = []
    for seed in SEEDS:
        seeded = recipe.model_copy(update={"seed": seed})
        fitting, rest = held_out(train, recipe.data.held_out, seed)
        fitted = fitting.head(recipe.data.fraction)
        classes = len(dataset.labels)
        rows += [
            {"seed": seed} | row
            for row in compared(seeded, classes, fitted, rest, runs / f"seed-{seed}")
        ]
    network = recipe.build_network(classes, train.images.shape[1:])
    return {
        "about": (
            f"A VGG of {network.macs / 1e6:.0f} million multiply-accumulates, taught by its own "
            f"ReLU network: one pass for {recipe.stages[1].epochs} epochs, then all "
            f"{recipe.network.timesteps} timesteps for {recipe.stages[-1].epochs}, batch-norm "
            f"folded, on {len(fitted):,} images. Too short to be the best of any. Means of seeds "
            f"{' and '.join(map(str, SEEDS))}, each with {len(rest):,} held-out images of "
            f"{dataset.title}."
        ),
        "images": len(rest),
        "runs": rows,
        "machine": machine(),
    }


def compared(
    recipe: Recipe, classes: int, train: Split, rest: Split, runs: Path
) -> list[dict[str, Any]]:
    """Figures of every stage of one pass, and of every variant."""
    rows, folders = (
        [],
        [RunFolder(runs / name.replace(", ", "-").replace(" ", "-")) for name in VARIANTS],
    )
    for (name, variant), folder in zip(VARIANTS.items(), folders, strict=True):
        varied = variant.of(recipe, folder.path.name)
        if not folder.started:
            _start(folder, varied, folders)
        trainer = Trainer(varied, classes, train, rest, folder.path)
        model = trainer.run(resume=True).eval()
        rows.append({"name": name} | measured(model, trainer))
    return rows


def one_pass(folder: RunFolder) -> dict[str, list[float]]:
    """Held-out accuracy after each epoch of the stages of one pass that a folder has trained."""
    found: dict[str, list[float]] = {}
    for line in folder.log():
        if len(line["accuracy"]) == 1:
            found.setdefault(line["stage"], []).append(line["accuracy"][0])
    return found


def _start(folder: RunFolder, recipe: Recipe, others: list[RunFolder]) -> None:
    """Begin with what another variant has trained already: the one that has trained most of it."""
    stages = [recipe.stages[index] for index in recipe.required]
    done = [sum(other.finished(stage) for stage in stages) for other in others]
    if max(done):
        folder.start_from(recipe, others[int(np.argmax(done))])


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
