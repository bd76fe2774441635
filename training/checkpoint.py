"""The newest epoch of the stage that is training: what ``--resume`` goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from spikeserve.training.build import SpikingNetwork
from spikeserve.training.weights_file import load_into, read_state, save_atomically


@dataclass(frozen=True)
class TrainingState:
    """All that training one stage changes; loading and saving work in place."""

    stage: str
    model: SpikingNetwork
    optimizers: list[Optimizer]
    generator: torch.Generator
    """Draws batches and augmentation."""

    def save(self, path: Path, epoch: int) -> None:
        """Write a checkpoint after ``epoch`` finished epochs."""
        saved = {
            "stage": self.stage,
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
        }
        save_atomically(saved, path)

    def load(self, path: Path) -> int:
        """Restore a checkpoint of this stage; returns its finished epochs, 0 where there is none.

        Raises:
            TrainingError: the file is damaged or holds another network.
        """
        if not path.exists():
            return 0
        saved = read_state(path, self.model.readout_scale.device)
        if saved.get("stage") != self.stage:
            return 0
        load_into(self.model, saved["model"], path)
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.generator.set_state(saved["generator"].cpu())
        return int(saved["epoch"])
