"""The network that each stage of a run starts from, and the one that it ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from spikeserve.models.layers import Conv
from spikeserve.models.network import Network
from spikeserve.training.build import SpikingNetwork, folded
from spikeserve.training.bundle_start import PREFIX as BUNDLE
from spikeserve.training.bundle_start import bundle_of, set_from_bundle
from spikeserve.training.compensation import compensated, patch_covariance
from spikeserve.training.conversion import set_thresholds
from spikeserve.training.errors import TrainingError
from spikeserve.training.recipe import Recipe
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.stage import Stage
from spikeserve.training.teacher.network import Teacher
from spikeserve.training.teacher.weights import WEIGHTS, load_teacher
from spikeserve.training.weights_file import load_into, read_state

Sample = Callable[[int], Tensor]
"""Frames ``[T, B, C, H, W]`` of some training images, for a number of timesteps T."""
Teaching = Callable[[Tensor, Tensor], Tensor]
"""A teacher's logits ``[B, K]``, for images ``[B, H, W, C]`` uint8 and their first frames."""


class StageNetworks:
    """Builds a recipe's networks and sets their weights from a run folder."""

    def __init__(
        self, recipe: Recipe, network: Network, folder: RunFolder, device: torch.device
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.folder = folder
        self.device = device

    def final(self, index: int) -> SpikingNetwork:
        """The network that stage ``index`` ended with, in evaluation mode.

        Raises:
            TrainingError: the stage has not finished, or its file holds another network.
        """
        stage = self.recipe.stages[index]
        path = self.folder.weights(stage)
        if not path.exists():
            raise TrainingError(f"stage {stage.name!r} has not finished in {self.folder.path}")
        model = self._built(normalised=not self.recipe.is_folded(index))
        load_into(model, read_state(path, self.device), path)
        return _configured(model, stage).eval()

    def initial(self, index: int, sample: Sample) -> SpikingNetwork:
        """The network that stage ``index`` starts from, its thresholds set for ``sample``.

        Raises:
            TrainingError: the weights it starts from are missing or another network's.
        """
        stage = self.recipe.stages[index]
        initial = self.recipe.initial_stage(index)
        model = self._built(normalised=True) if initial is None else self.final(initial)
        if stage.pretrained is not None and stage.pretrained.startswith(BUNDLE):
            count = set_from_bundle(model, bundle_of(stage.pretrained).program, sample(1))
            print(f"{stage.name}: starts from {count} layers of {stage.pretrained}", flush=True)
        elif stage.pretrained is not None:
            self._load_pretrained(model, stage.pretrained)
        if stage.fold is not None:
            model = folded(model, stage.fold)
        if initial is not None and self.recipe.stages[initial].timesteps == 1:
            _spread_readout(model)
        if stage.leak is not None:
            for neurons in model.neurons:
                torch.nn.init.constant_(neurons.leak, stage.leak)
        if stage.compensated:
            _compensate(model, stage, sample(1)[0])
        model = _configured(model, stage)
        if stage.threshold_percentile is not None:
            frames = sample(stage.timesteps).float()
            set_thresholds(model, frames, stage.threshold_percentile, stage.threshold_scale)
        return model

    def teacher(self, index: int) -> Teaching | None:
        """Who teaches stage ``index``."""
        stage = self.recipe.stages[index]
        if stage.ann_teacher is not None:
            ann = self.ann_teacher(stage.ann_teacher)
            return lambda images, _: ann(images)
        if stage.teacher is None:
            return None
        network = self.final(self.recipe.index(stage.teacher))
        return lambda _, frames: network(frames)[0]

    def ann_teacher(self, name: str) -> Teacher:
        """The teacher in the run folder ``name`` beside this run's.

        Raises:
            TrainingError: it is missing, or was trained on other images than this recipe's: on
                another data set, or on images that are held out here.
        """
        path = self.folder.path.with_name(name) / WEIGHTS
        model, about = load_teacher(path, self.device)
        data, seed = self.recipe.data, self.recipe.seed
        if (about.dataset, about.held_out, about.seed) != (data.dataset, data.held_out, seed):
            raise TrainingError(
                f"{path} was trained on {about.dataset} with {about.held_out} images held out and "
                f"seed {about.seed}, {self.recipe.name} on {data.dataset} with {data.held_out} "
                f"and {seed}"
            )
        return model

    def _built(self, *, normalised: bool) -> SpikingNetwork:
        settings = self.recipe.network
        model = SpikingNetwork(
            self.network,
            settings.timesteps,
            settings.leak,
            normalised=normalised,
            initial=settings.initial_potential,
            drive=settings.drive,
            saturating=self.recipe.quantize.saturating,
        )
        return model.to(self.device)

    def _load_pretrained(self, model: SpikingNetwork, pretrained: str) -> None:
        """Copy another network's weights, all but the classifier's.

        Layers are matched in order, those without weights left out: strides may take the place of
        pools.
        """
        path = self.folder.pretrained_weights(pretrained, self.recipe)
        own, theirs = model.state_dict(), read_state(path, self.device)
        found = dict(zip(_by_layer(theirs), theirs.values(), strict=True))
        places = dict(zip(own, _by_layer(own), strict=True))
        last = max(layer for layer, _ in places.values())
        for name, (layer, part) in places.items():
            if layer < last:
                value = found.get((layer, part))
                if value is None or value.shape != own[name].shape:
                    raise TrainingError(f"{path}: nothing in it fits {name} of this network")
                own[name] = value
        model.load_state_dict(own)


def _by_layer(names: Iterable[str]) -> list[tuple[int, str]]:
    """Of every parameter its layer, counting only layers that have some, and its name there.

    What belongs to the network as a whole has layer -1.
    """
    parts = [name.removeprefix("stack.").split(".", 1) for name in names]
    indices = sorted({int(first) for first, *_ in parts if first.isdigit()})
    return [
        (indices.index(int(first)), rest[0]) if first.isdigit() else (-1, first)
        for first, *rest in parts
    ]


@torch.no_grad()
def _spread_readout(model: SpikingNetwork) -> None:
    """Give all timesteps the scale that a single pass has learned, in their former proportions."""
    scale = model.readout_scale
    once = any(lif.fire_once for lif in model.network.lifs)
    if not once:
        scale.copy_(scale[0].expand_as(scale))


@torch.no_grad()
def _compensate(model: SpikingNetwork, stage: Stage, frames: Tensor) -> None:
    """Round the first layer's weights so that errors cancel on ``frames [B, C, H, W]``."""
    first = model.synaptic[0]
    if not isinstance(first.layer, Conv) or stage.weight_bits is None:
        raise TrainingError(f"stage {stage.name!r}: only convolutions are compensated")
    covariance = patch_covariance(first.layer, frames)
    first.weight.copy_(compensated(first.weight, covariance, stage.weight_bits))


def _configured(model: SpikingNetwork, stage: Stage) -> SpikingNetwork:
    """Set what a stage decides about a network: activation, rounding, trainable parameters."""
    for neurons in model.neurons:
        neurons.activation = stage.neurons
        neurons.leak.requires_grad_(stage.train_leak)
        neurons.theta.requires_grad_(stage.train_threshold and stage.neurons == "lif")
        neurons.largest_leak = max(1.0, stage.leak or 0.0)
    model.accumulation = stage.accumulation
    for module in model.synaptic:
        module.weight_bits = stage.weight_bits
    for module in model.synaptic[:-1]:
        module.bias.requires_grad_(stage.fold == "current")
    if stage.frozen >= len(model.synaptic):
        raise TrainingError(f"stage {stage.name!r}: {stage.frozen} layers frozen, nothing trains")
    for index, module in enumerate(model.synaptic):
        module.frozen = index < stage.frozen
        if module.frozen:
            module.requires_grad_(requires_grad=False)
    for neurons, feeding in zip(model.neurons, model.network.feeding, strict=True):
        if max(feeding) < stage.frozen:
            neurons.requires_grad_(requires_grad=False)
    return model
