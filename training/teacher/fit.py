"""Training a teacher, an epoch at a time."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeserve.training.allocator import keep_freed_memory
from spikeserve.training.data import DATASETS, held_out
from spikeserve.training.data.batches import Batches
from spikeserve.training.device import autocast, choose_device, compute_type
from spikeserve.training.errors import TrainingError
from spikeserve.training.run_folder import LOG
from spikeserve.training.teacher.network import Teacher
from spikeserve.training.teacher.schedule import (
    LOOK_BACK_EVERY,
    Schedule,
    augmented,
    learning_rate_factor,
    look_back,
    look_back_decay,
)
from spikeserve.training.teacher.weights import WEIGHTS, About, save_teacher
from spikeserve.training.weights_file import load_into, read_state, save_atomically

HELD_OUT, SEED = 5000, 1  # as the recipes hold out
WHITENED_BY = 5000  # images
CHECKPOINT = "checkpoint.pt"
EVALUATED_TOGETHER = 500


@dataclass
class TeacherFit:
    """A teacher on its way; whoever runs it again goes on after its last whole epoch.

    Raises:
        TrainingError: no epochs, or ``run`` holds another training.
    """

    dataset: str
    data: Path
    run: Path
    schedule: Schedule = field(default_factory=Schedule)
    held_out: int = HELD_OUT
    widths: tuple[int, int, int] = (128, 384, 384)

    def __post_init__(self) -> None:
        if self.schedule.epochs < 1:
            raise TrainingError(f"{self.schedule.epochs} epochs; a training takes one at least")
        keep_freed_memory()
        source, self.device = DATASETS[self.dataset], choose_device()
        splits = held_out(source.train(self.data), self.held_out, SEED)
        self.train, self.rest = (Batches.on(self.device, split) for split in splits)
        torch.manual_seed(SEED)
        model = Teacher(len(source.labels), self.widths).to(self.device)
        model.whiten_by(self.train.images[:WHITENED_BY])
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = self.schedule.optimizer(self.model)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.epoch = 0
        mirroring = torch.Generator().manual_seed(SEED)
        self.mirrored = torch.rand(len(self.train.labels), generator=mirroring) < 0.5

    def fit(self) -> Path:
        """Train to the end; the file with the weights, in float16."""
        self.run.mkdir(parents=True, exist_ok=True)
        self._resume()
        while self.epoch < self.schedule.epochs:
            started = time.perf_counter()
            loss = self._train_epoch()
            self.epoch += 1
            if self.epoch == self.schedule.epochs:
                look_back(self.model, self.average, 1.0)
            self._log(loss, time.perf_counter() - started)
            self._save()
        about = About(
            dataset=self.dataset,
            classes=self.model.head.out_features,
            widths=self.widths,
            held_out=self.held_out,
            seed=SEED,
            accuracy=round(self.accuracy(), 4),
        )
        save_teacher(self.model, about, self.run / WEIGHTS)
        return self.run / WEIGHTS

    @property
    def _asked(self) -> dict[str, Any]:
        """What a checkpoint must agree on with whoever goes on with it."""
        return {"dataset": self.dataset, "widths": self.widths, "schedule": asdict(self.schedule)}

    def _train_epoch(self) -> float:
        """One epoch; its mean loss."""
        schedule = self.schedule
        generator = torch.Generator().manual_seed(SEED * 1000 + self.epoch)
        assert self.model.whiten.bias is not None
        self.model.whiten.bias.requires_grad_(self.epoch < schedule.whitening_epochs)
        order = torch.randperm(len(self.train.labels), generator=generator)
        size = min(schedule.batch, len(order))
        steps = len(order) // size
        total = 0.0
        for step, index in enumerate(torch.split(order[: steps * size], size)):
            done = self.epoch * steps + step
            progress = done / (schedule.epochs * steps)
            total += self._train_step(index, progress, generator)
            if (done + 1) % LOOK_BACK_EVERY == 0:
                look_back(self.model, self.average, look_back_decay(progress))
        return total / steps

    def _train_step(self, index: Tensor, progress: float, generator: torch.Generator) -> float:
        schedule, place = self.schedule, index.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_factor(progress)
        mirrored = (self.mirrored[index] ^ (self.epoch % 2 == 1)).to(self.device)
        images = augmented(self.train.images[place], mirrored, schedule.translation, generator)
        with autocast(self.device, compute_type(self.device)):
            logits = self.model(images)
        loss = F.cross_entropy(
            logits.float(), self.train.labels[place], label_smoothing=schedule.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    @torch.inference_mode()
    def accuracy(self) -> float:
        """Share of held-out images that the network and its mirrored view together get right."""
        self.model.eval()
        hits = 0
        for images, labels in zip(
            torch.split(self.rest.images, EVALUATED_TOGETHER),
            torch.split(self.rest.labels, EVALUATED_TOGETHER),
            strict=True,
        ):
            with autocast(self.device, compute_type(self.device)):
                logits = self.model(images) + self.model(images.flip(2))
            hits += int((logits.argmax(1) == labels).sum())
        self.model.train()
        return hits / len(self.rest.labels)

    def _log(self, loss: float, seconds: float) -> None:
        line = {
            "epoch": self.epoch,
            "loss": round(loss, 4),
            "held_out": round(self.accuracy(), 4),
            "seconds": round(seconds),
        }
        with (self.run / LOG).open("a", encoding="utf-8") as log:
            print(json.dumps(line), file=log)
        print(json.dumps(line), flush=True)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "epoch": self.epoch,
            "asked": self._asked,
        }
        save_atomically(state, self.run / CHECKPOINT)

    def _resume(self) -> None:
        path = self.run / CHECKPOINT
        if path.exists():
            state = read_state(path, self.device)
            if state.get("asked") != self._asked:
                raise TrainingError(
                    f"{self.run} holds another training: {state.get('asked')}; give another --run, "
                    "or the same data set and epochs"
                )
            load_into(self.model, state["model"], path)
            self.optimizer.load_state_dict(state["optimizer"])
            self.average, self.epoch = state["average"], state["epoch"]
