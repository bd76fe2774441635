"""The training loop: a recipe's stages one after the other, each epoch checkpointed.

A stage starts from the weights that an earlier one left in the run folder.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor
from torch.optim import Optimizer

from spikeserve.models.layers import Conv
from spikeserve.training.build import SpikingNetwork, folded
from spikeserve.training.compensation import compensated, patch_covariance
from spikeserve.training.conversion import set_thresholds
from spikeserve.training.data import Split
from spikeserve.training.data.batches import Batches
from spikeserve.training.errors import TrainingError, TrainingPaused
from spikeserve.training.objective import objective
from spikeserve.training.optimizers import optimizers_of, set_learning_rates
from spikeserve.training.precision import compute_type
from spikeserve.training.recipe import Recipe, Stage
from spikeserve.training.rounding import PIXEL_UNIT
from spikeserve.training.run_folder import RunFolder, load_weights, save_whole
from spikeserve.training.team import Team
from spikeserve.training.time_limit import TimeLimit

EVALUATION_BATCH = 500
SAMPLE_IMAGES = 2000  # that rounding and thresholds begin with
SETTLING_BATCHES = 60


def choose_device() -> torch.device:
    """CUDA when present, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def encoded(images: Tensor, table: Tensor, timesteps: int, dtype: torch.dtype) -> Tensor:
    """Frames ``[T, B, C, H, W]``, channels last in memory, of ``images [B, H, W, C]`` uint8."""
    frames = table[:timesteps, images.long()]  # [T, B, H, W, C]
    return frames.to(dtype).div_(PIXEL_UNIT).permute(0, 1, 4, 2, 3)


class Fit:
    """One run of one recipe in one folder."""

    def __init__(self, recipe: Recipe, classes: int, train: Split, held_out: Split, folder: Path):
        self.recipe = recipe
        self.folder = RunFolder(folder)
        self.team = Team.joined()
        if recipe.batch_size % self.team.size:
            raise TrainingError(
                f"batches of {recipe.batch_size} cannot be shared by {self.team.size} processes"
            )
        self.device = choose_device()
        self.dtype = compute_type(self.device)
        self.batches = Batches.on(self.device, train)
        self.held_out = Batches.on(self.device, held_out)
        self.table = torch.from_numpy(recipe.encoding.table).to(self.device)
        height, width, channels = train.images.shape[1:]
        self.network = recipe.build_network(classes, (height, width, channels))

    def run(self, *, resume: bool, minutes: float | None = None) -> SpikingNetwork:
        """Train every stage that has not finished; returns the final network, ready to quantise.

        Raises:
            TrainingPaused: another epoch would take more than ``minutes`` altogether.
        """
        limit = TimeLimit(minutes)
        stages = [self.recipe.stages[index] for index in self.recipe.needed]
        with ExitStack() as stack:

            def begin() -> None:
                stack.enter_context(self.folder.occupied())
                for stage in stages:  # or the folder would hold a run that cannot go on
                    if stage.trunk is not None and not self.folder.weights(stage).exists():
                        self.folder.trunk_weights(stage.trunk, self.recipe)
                self.folder.begin(self.recipe, resume=resume)

            self.team.lead(begin)
            for index, stage in zip(self.recipe.needed, stages, strict=True):
                if not self.folder.weights(stage).exists():
                    torch.manual_seed(self.recipe.seed + index)
                    model = self._entering(index)
                    self._train(model, index, limit)
                    self.team.lead(partial(self.folder.save, stage, model.state_dict()))
        return self.trained(self.recipe.last)

    def trained(self, index: int) -> SpikingNetwork:
        """The network as stage ``index`` left it, in evaluation mode."""
        stage = self.recipe.stages[index]
        path = self.folder.weights(stage)
        if not path.exists():
            raise TrainingError(f"stage {stage.name!r} has not finished in {self.folder.path}")
        model = self._blank(normalised=not self.recipe.folded(index))
        _load(model, load_weights(path, self.device), path)
        return _configured(model, stage).eval()

    def _blank(self, *, normalised: bool) -> SpikingNetwork:
        settings = self.recipe.network
        model = SpikingNetwork(
            self.network, settings.timesteps, settings.leak, normalised=normalised
        )
        return model.to(self.device)

    def _entering(self, index: int) -> SpikingNetwork:
        """The network a stage starts from."""
        stage = self.recipe.stages[index]
        origin = self.recipe.origin(index)
        model = self._blank(normalised=True) if origin is None else self.trained(origin)
        if stage.trunk is not None:
            self._graft(model, stage.trunk)
        if stage.fold is not None:
            model = folded(model, stage.fold)
        if stage.leak is not None:
            for neurons in model.neurons:
                torch.nn.init.constant_(neurons.leak, stage.leak)
        if stage.compensated:
            self._compensate(model, stage)
        model = _configured(model, stage)
        if stage.threshold_percentile is not None:
            frames = self._sample(stage.timesteps).float()
            set_thresholds(model, frames, stage.threshold_percentile, stage.threshold_scale)
        return model

    def _graft(self, model: SpikingNetwork, trunk: str) -> None:
        """Take over another network's weights, all but the classifier's."""
        path = self.folder.trunk_weights(trunk, self.recipe)
        classifier = f"stack.{len(model.stack) - 1}."
        own, found = model.state_dict(), load_weights(path, self.device)
        for name in own:
            if not name.startswith(classifier):
                if name not in found or found[name].shape != own[name].shape:
                    raise TrainingError(f"{path}: {name} does not fit this network")
                own[name] = found[name]
        model.load_state_dict(own)

    def _sample(self, timesteps: int) -> Tensor:
        return self._frames(self.batches.images[:SAMPLE_IMAGES], timesteps)

    def _frames(self, images: Tensor, timesteps: int) -> Tensor:
        return encoded(images, self.table, timesteps, self.dtype)

    def _precision(self) -> torch.autocast:
        enabled = self.dtype is not torch.float32
        return torch.autocast(self.device.type, self.dtype if enabled else None, enabled)

    def _compensate(self, model: SpikingNetwork, stage: Stage) -> None:
        pixels = model.synapses[0]
        if not isinstance(pixels.layer, Conv) or stage.weight_bits is None:
            raise TrainingError(f"stage {stage.name!r}: only convolutions are compensated")
        frames = self._sample(1)[0]
        covariance = patch_covariance(pixels.layer, frames)
        with torch.no_grad():
            pixels.weight.copy_(compensated(pixels.weight, covariance, stage.weight_bits))

    def _train(self, model: SpikingNetwork, index: int, limit: TimeLimit) -> None:
        stage = self.recipe.stages[index]
        optimizers = optimizers_of(model, stage)
        teacher = self._teacher(stage)
        generator = torch.Generator().manual_seed(self.recipe.seed + 1000 * index)
        checkpoint = self.folder.checkpoint
        first = 0
        if checkpoint.exists():
            saved = load_weights(checkpoint, self.device)
            if saved.get("stage") == stage.name:
                first = saved["epoch"]
                _load(model, saved["model"], checkpoint)
                for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
                    optimizer.load_state_dict(state)
                generator.set_state(saved["generator"].cpu())
        self.team.lead(lambda: self.folder.forget(stage, first))
        for epoch in range(first, stage.epochs):
            if not self.team.decided(limit.allows(stage.timesteps)):
                raise TrainingPaused(
                    f"time is up before epoch {epoch + 1} of {stage.epochs} of stage "
                    f"{stage.name!r}; go on with --resume"
                )
            limit.begin()
            line: dict[str, Any] = {"stage": stage.name, "epoch": epoch + 1, "of": stage.epochs}
            line |= self._epoch(model, stage, epoch, optimizers, teacher, generator)
            if not self.team.decided(math.isfinite(line["loss"])):
                raise TrainingError(
                    f"stage {stage.name!r} diverged in epoch {epoch + 1}: its loss is no number; "
                    "lower the learning rate; what was saved before is kept"
                )
            line |= self.evaluate(model, stage)
            limit.end(stage.timesteps)
            if self.team.leads:
                self._report(line)
                saved = {
                    "stage": stage.name,
                    "epoch": epoch + 1,
                    "model": model.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "generator": generator.get_state(),
                }
                save_whole(saved, checkpoint)
        if stage.weight_bits is not None:
            self._settle(model, stage, generator)

    @torch.no_grad()
    def _settle(self, model: SpikingNetwork, stage: Stage, generator: torch.Generator) -> None:
        """Estimate batch-norm anew: rounded weights move in jumps that its averages lag behind."""
        norms = [synapse.norm for synapse in model.synapses if synapse.norm is not None]
        if not norms:
            return
        model.train()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over all batches
        size = min(self.recipe.batch_size, len(self.batches.labels))
        batches = self.batches.epoch(size, generator, stage.augmentation)
        for images, _ in islice(batches, SETTLING_BATCHES):
            with self._precision():
                model(self._frames(images, stage.timesteps))
        accuracy = self.evaluate(model, stage)["accuracy"]
        print(f"{stage.name}: held-out % behind settled batch-norm {accuracy}", flush=True)

    def _shared_out(
        self, stage: Stage, size: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches, of which this process takes its share."""
        share = self.team.share
        for images, labels in self.batches.epoch(size, generator, stage.augmentation):
            yield images[share], labels[share]

    def _teacher(self, stage: Stage) -> SpikingNetwork | None:
        if stage.teacher is None:
            return None
        names = [s.name for s in self.recipe.stages]
        return self.trained(names.index(stage.teacher))

    def _epoch(
        self,
        model: SpikingNetwork,
        stage: Stage,
        epoch: int,
        optimizers: list[Optimizer],
        teacher: SpikingNetwork | None,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        """One pass over the training images; returns mean loss, rate and seconds."""
        model.train()
        started = time.perf_counter()
        size = min(self.recipe.batch_size, len(self.batches.labels))
        size -= size % self.team.size
        if not size:
            raise TrainingError(f"fewer images than the {self.team.size} processes")
        per_epoch = len(self.batches.labels) // size
        losses, rates = [], []
        batches = track(
            self._shared_out(stage, size, generator),
            description=f"{stage.name} {epoch + 1}/{stage.epochs}",
            total=per_epoch,
            transient=True,  # the epoch's line takes its place
            disable=not sys.stdout.isatty(),
        )
        for step, (images, labels) in enumerate(batches):
            set_learning_rates(optimizers, stage, epoch + step / per_epoch)
            frames = self._frames(images, stage.timesteps)
            with self._precision():
                logits = model(frames)
            target = None
            if teacher is not None:
                with torch.no_grad(), self._precision():
                    target = teacher(frames[:1])[0]
            loss, rate = objective(stage, model, logits, labels, target)
            if rate is not None:
                rates.append(rate.detach())
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.team.average_gradients(model)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.detach())
        self.team.average_statistics(model)
        return {
            "loss": round(float(torch.stack(losses).mean()), 4),
            "activity": round(float(torch.stack(rates).mean()), 4) if rates else None,
            "seconds": round(time.perf_counter() - started, 1),
        }

    @torch.no_grad()
    def evaluate(self, model: SpikingNetwork, stage: Stage) -> dict[str, Any]:
        """Held-out accuracy after every timestep, and each layer's mean spike rate."""
        model.eval()
        right = torch.zeros(stage.timesteps)
        rates = torch.zeros(len(model.neurons))
        labels = self.held_out.labels
        chunks = range(0, len(labels), EVALUATION_BATCH)
        for start in chunks:
            images = self.held_out.images[start : start + EVALUATION_BATCH]
            with self._precision():
                logits = model(self._frames(images, stage.timesteps)).cumsum(0)
            hits = logits.argmax(-1) == labels[start : start + EVALUATION_BATCH]
            right += hits.sum(1).cpu()
            rates += torch.stack([n.rate for n in model.neurons]).cpu() / len(chunks)
        return {
            "accuracy": [round(float(x), 4) for x in right / len(labels)],
            "rates": [round(float(x), 4) for x in rates] if stage.neurons == "lif" else None,
        }

    def _report(self, line: dict[str, Any]) -> None:
        self.folder.append(line)
        accuracy = " ".join(f"{100 * value:.1f}" for value in line["accuracy"])
        print(
            f"{line['stage']:>10} {line['epoch']:>3}/{line['of']}  loss {line['loss']:.3f}  "
            f"held-out % by timestep {accuracy}  activity {line['activity'] or 0:.3f}  "
            f"{line['seconds']:.0f} s",
            flush=True,
        )


def _load(model: SpikingNetwork, state: dict[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise TrainingError(f"{path} holds no weights of this network: {error}") from error


def _configured(model: SpikingNetwork, stage: Stage) -> SpikingNetwork:
    """Set what a stage decides about a network: activation, rounding, what is trainable."""
    for neurons in model.neurons:
        neurons.activation = stage.neurons
        neurons.leak.requires_grad_(stage.train_leak)
        neurons.theta.requires_grad_(stage.train_threshold and stage.neurons == "lif")
    for synapse in model.synapses:
        synapse.weight_bits = stage.weight_bits
    for synapse in model.synapses[:-1]:
        synapse.bias.requires_grad_(stage.fold == "current")
    return model
