"""Processes that train one network together, one a device: what ``torchrun`` starts.

Every process draws the same shuffled batches and takes its share of each; gradients are
averaged before, and batch-norm's running statistics after, what depends on them.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from spikeserve.training.errors import TrainingError


@dataclass(frozen=True)
class Team:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> Team:
        """The team that ``torchrun`` has set up, or a team of one."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(dist.destroy_process_group)
        return cls(dist.get_rank(), size)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This process's rows of a batch."""
        return slice(self.rank, None, self.size)

    def decided(self, value: bool) -> bool:
        """What the leader decided; all processes must ask."""
        if self.size == 1:
            return value
        flag = torch.tensor([float(value)], device="cuda" if torch.cuda.is_available() else "cpu")
        dist.broadcast(flag, 0)
        return bool(flag.item())

    def lead(self, action: Callable[[], None]) -> None:
        """Let the leader do something on its own while the others wait.

        Raises:
            TrainingError: it failed; the leader's own process says why.
        """
        failure: TrainingError | None = None
        if self.leads:
            try:
                action()
            except TrainingError as error:
                failure = error
        if self.decided(failure is not None):
            raise failure or TrainingError("the leading process failed")

    def average_gradients(self, model: nn.Module) -> None:
        if self.size > 1:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    self._average(parameter.grad)

    def average_statistics(self, model: nn.Module) -> None:
        """Batch-norm's running means and variances; weights are alike in any case."""
        if self.size > 1:
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    self._average(buffer)

    def _average(self, tensor: torch.Tensor) -> None:
        dist.all_reduce(tensor)
        tensor /= self.size
