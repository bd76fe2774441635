"""The training loop: a recipe's stages one after the other, each epoch checkpointed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from spikeserve.training.allocator import keep_freed_memory
from spikeserve.training.ann_start import (
    ANN,
    AnnStart,
    padded_with_mean,
    set_from_ann,
    suspicions,
)
from spikeserve.training.batch_norm import reestimate_statistics
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.checkpoint import TrainingState
from spikeserve.training.data import Split
from spikeserve.training.data.batches import Batches
from spikeserve.training.data_parallel import ProcessGroup
from spikeserve.training.device import choose_device, compute_type, hardware
from spikeserve.training.errors import TrainingError, TrainingPaused
from spikeserve.training.frames import FrameEncoder
from spikeserve.training.objective import objective
from spikeserve.training.optimizers import optimizers_of, set_learning_rates
from spikeserve.training.recipe import Recipe
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.stage import Stage
from spikeserve.training.stage_networks import StageNetworks, Teaching
from spikeserve.training.time_limit import TimeLimit
from spikeserve.training.validation import validated

SAMPLE_IMAGES = 2000  # that thresholds and the first layer's rounding are fitted to
SAMPLE_PIXELS = SAMPLE_IMAGES * 32 * 32  # of larger images there are fewer


class Trainer:
    """One run of one recipe in one folder."""

    def __init__(
        self,
        recipe: Recipe,
        classes: int,
        train: Split,
        held_out: Split,
        folder: Path,
        sha256: dict[str, str] | None = None,
    ) -> None:
        """``sha256``: of the data set's arrays, which the folder remembers."""
        self.recipe = recipe
        self.sha256 = sha256
        self.folder = RunFolder(folder)
        self.processes = ProcessGroup.from_environment()
        if recipe.batch_size % self.processes.world_size:
            raise TrainingError(
                f"batches of {recipe.batch_size} cannot be shared by "
                f"{self.processes.world_size} processes"
            )
        keep_freed_memory()
        device = choose_device()
        self.hardware = hardware(device, self.processes.world_size)
        self.train = Batches.on(device, train)
        self.held_out = Batches.on(device, held_out)
        table = torch.from_numpy(recipe.encoding.table).to(device)
        self.encoder = FrameEncoder(table, compute_type(device))
        height, width, channels = train.images.shape[1:]
        self.network = recipe.build_network(classes, (height, width, channels))
        self.networks = StageNetworks(recipe, self.network, self.folder, device)

    def run(
        self, *, resume: bool, minutes: float | None = None, ann: AnnStart | None = None
    ) -> SpikingNetwork:
        """Train every stage that has not finished; returns the final network, ready to quantise.

        ``ann`` takes the place of the first stage, unless that has finished.

        Raises:
            TrainingPaused: another epoch would take more than ``minutes`` altogether.
        """
        limit = TimeLimit(minutes)
        stages = [self.recipe.stages[index] for index in self.recipe.required]
        with ExitStack() as stack:

            def start() -> None:
                stack.enter_context(self.folder.locked())
                for stage in stages:  # or the folder would hold a run that cannot go on
                    if stage.pretrained is not None and not self.folder.finished(stage):
                        self.folder.check_pretrained(stage.pretrained, self.recipe)
                    if stage.ann_teacher is not None and not self.folder.finished(stage):
                        self.networks.ann_teacher(stage.ann_teacher)
                finish = None if ann is None else self._taking_over(ann)
                self.folder.start(self.recipe, resume=resume, data=self.sha256)
                if finish is not None:
                    finish()
                elif not self.folder.finished(stages[0]):
                    (self.folder.path / ANN).unlink(missing_ok=True)  # from a stop half-way

            self.processes.run_on_main(start)
            for index, stage in zip(self.recipe.required, stages, strict=True):
                if not self.folder.finished(stage):
                    torch.manual_seed(self.recipe.seed + index)
                    model = self.networks.initial(index, self.sample)
                    self._train_stage(model, index, limit)
                    save = partial(self.folder.save_weights, stage, model.state_dict())
                    self.processes.run_on_main(save)
        return self.networks.final(self.recipe.last)

    def _taking_over(self, ann: AnnStart) -> Callable[[], None] | None:
        """What finishes the first stage with an ANN's weights; None where that was done before.

        Nothing has been written when this raises.

        Raises:
            TrainingError: they do not fit, or the stage is no ReLU network's, or was trained.
        """
        index = self.recipe.required[0]
        stage = self.recipe.stages[index]
        state, digest = ann.read()
        if self.folder.finished(stage):
            ann.check_noted(self.folder.path, digest)
            return None
        if stage.neurons != "relu" or stage.pretrained is not None or stage.fold is not None:
            raise TrainingError(
                f"{self.recipe.name} begins with stage {stage.name!r}; an ANN can only take the "
                'place of a first stage with neurons = "relu", without pretrained and fold '
                "(docs/TRAINING.md has one)"
            )
        model = self.networks.initial(index, self.sample)
        differences = set_from_ann(model, state, ann)

        def finish() -> None:
            notes = differences.notes
            if differences.borders:
                notes.append(self._at_borders(model, stage, ann, anew=not differences.bare))
            accuracy = self._validate(model, stage)["accuracy"]
            line = {"stage": stage.name, "epoch": 0, "of": 0, "hardware": self.hardware}
            line |= {"loss": None, "accuracy": accuracy, "rates": None, "activity": None}
            self.folder.truncate_log(stage, -1)
            self.folder.append_log({**line, "seconds": 0.0})
            ann.note(self.folder.path, digest)
            self.folder.save_weights(stage, model.state_dict())
            said = "".join(f"; {note}" for note in [*notes, *suspicions(accuracy, self.network)])
            print(
                f"{stage.name}: {ann.path.name}, {100 * accuracy[0]:.1f} % held out{said}",
                flush=True,
            )

        return finish

    def _at_borders(self, model: SpikingNetwork, stage: Stage, ann: AnnStart, *, anew: bool) -> str:
        """Estimate statistics ``anew`` for black padding; says what the ANN's own padding gives."""
        with padded_with_mean(model, ann):
            (own, *_) = self._validate(model, stage)["accuracy"]
        if anew:
            generator = torch.Generator().manual_seed(self.recipe.seed)
            batches = self.train.epoch(self.recipe.batch_size, generator, stage.augmentation)
            reestimate_statistics(model, batches, self.encoder, stage.timesteps)
        return f"{100 * own:.1f} % with borders of its mean, as it had them; here they are black"

    def sample(self, timesteps: int) -> Tensor:
        """Frames of the first training images, ``[T, B, C, H, W]``."""
        height, width = self.train.images.shape[1:3]
        count = min(SAMPLE_IMAGES, max(1, SAMPLE_PIXELS // (height * width)))
        return self.encoder(self.train.images[:count], timesteps)

    def _train_stage(self, model: SpikingNetwork, index: int, limit: TimeLimit) -> None:
        stage = self.recipe.stages[index]
        generator = torch.Generator().manual_seed(self.recipe.seed + 1000 * index)
        state = TrainingState(stage.name, model, optimizers_of(model, stage), generator)
        teacher = self.networks.teacher(index)
        done = state.load(self.folder.checkpoint)
        self.processes.run_on_main(lambda: self.folder.truncate_log(stage, done))
        self.processes.check_same(model, f"before stage {stage.name!r}")
        for epoch in range(done, stage.epochs):
            if not self.processes.broadcast(limit.allows(stage.timesteps * stage.epoch_share)):
                raise TrainingPaused(
                    f"time is up before epoch {epoch + 1} of {stage.epochs} of stage "
                    f"{stage.name!r}; go on with --resume"
                )
            limit.begin()
            line: dict[str, Any] = {"stage": stage.name, "epoch": epoch + 1, "of": stage.epochs}
            line["hardware"] = self.hardware
            line |= self._train_epoch(state, stage, epoch, teacher)
            if not self.processes.broadcast(math.isfinite(line["loss"])):
                raise TrainingError(
                    f"stage {stage.name!r} diverged in epoch {epoch + 1}: its loss is no number; "
                    "lower the learning rate; what was saved before is kept"
                )
            self.processes.check_same(model, f"after epoch {epoch + 1} of stage {stage.name!r}")
            line |= self._validate(model, stage)
            limit.end(stage.timesteps * stage.epoch_share)
            if self.processes.is_main:
                self._report(line)
                state.save(self.folder.checkpoint, epoch + 1)
        if stage.weight_bits is not None:
            batches = self.train.epoch(self.recipe.batch_size, generator, stage.augmentation)
            if reestimate_statistics(model, batches, self.encoder, stage.timesteps):
                accuracy = self._validate(model, stage)["accuracy"]
                print(f"{stage.name}: batch-norm estimated anew: {accuracy} held out", flush=True)

    def _train_epoch(
        self, state: TrainingState, stage: Stage, epoch: int, teacher: Teaching | None
    ) -> dict[str, Any]:
        """One pass over the training images; returns mean loss, activity and seconds."""
        model, optimizers = state.model, state.optimizers
        model.train()
        started = time.perf_counter()
        size = min(self.recipe.batch_size, len(self.train.labels))
        size -= size % self.processes.world_size
        if not size:
            raise TrainingError(f"fewer images than the {self.processes.world_size} processes")
        per_epoch = self.train.count(size, stage.epoch_share)
        losses, rates = [], []
        shard = self.processes.shard
        batches = track(
            self.train.epoch(size, state.generator, stage.augmentation, stage.epoch_share),
            description=f"{stage.name} {epoch + 1}/{stage.epochs}",
            total=per_epoch,
            transient=True,  # the epoch's line takes its place
            disable=not sys.stdout.isatty(),
        )
        for step, (images, labels) in enumerate(batches):
            set_learning_rates(optimizers, stage, epoch + step / per_epoch)
            frames = self.encoder(images[shard], stage.timesteps)
            with self.encoder.autocast():
                logits = model(frames)
            target = None
            if teacher is not None:
                with torch.no_grad(), self.encoder.autocast():
                    target = teacher(images[shard], frames[:1]).float()
            loss, rate = objective(stage, model, logits, labels[shard], target)
            if rate is not None:
                rates.append(rate.detach())
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.processes.average_gradients(model)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.detach())
        self.processes.average_statistics(model)
        return {
            "loss": round(float(torch.stack(losses).mean()), 4),
            "activity": round(float(torch.stack(rates).mean()), 4) if rates else None,
            "seconds": round(time.perf_counter() - started, 1),
        }

    def _validate(self, model: SpikingNetwork, stage: Stage) -> dict[str, Any]:
        accuracy, rates = validated(model, self.held_out, self.encoder, stage.timesteps)
        return {"accuracy": accuracy, "rates": rates if stage.neurons == "lif" else None}

    def _report(self, line: dict[str, Any]) -> None:
        self.folder.append_log(line)
        accuracy = " ".join(f"{100 * value:.1f}" for value in line["accuracy"])
        print(
            f"{line['stage']:>10} {line['epoch']:>3}/{line['of']}  loss {line['loss']:.3f}  "
            f"held-out % by timestep {accuracy}  activity {line['activity'] or 0:.3f}  "
            f"{line['seconds']:.0f} s",
            flush=True,
        )
