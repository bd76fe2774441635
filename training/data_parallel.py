"""Data-parallel training: one process a device, started by ``torchrun``.

Every process draws the same shuffled batches and trains on its own rows of them. Gradients are
averaged before each optimiser step, batch-norm's running statistics after each epoch.

``DistributedDataParallel`` is not used: with some losses the readout's scale takes no part, with
others it is read outside ``forward``, and DDP accepts the one or the other, not both.
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
class ProcessGroup:
    """This process, ``rank``, among the ``world_size`` that train one network."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls) -> ProcessGroup:
        """The group that ``torchrun`` has set up, or this process alone."""
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        if world_size == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(dist.destroy_process_group)
        return cls(dist.get_rank(), world_size)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    @property
    def shard(self) -> slice:
        """This process's rows of a batch."""
        return slice(self.rank, None, self.world_size)

    def broadcast(self, value: bool) -> bool:
        """The main process's ``value``, in every process; all processes must call."""
        if self.world_size == 1:
            return value
        flag = torch.tensor([float(value)], device="cuda" if torch.cuda.is_available() else "cpu")
        dist.broadcast(flag, 0)
        return bool(flag.item())

    def run_on_main(self, action: Callable[[], None]) -> None:
        """Run ``action`` in the main process while the others wait; all processes must call.

        Raises:
            TrainingError: the action failed; the main process's own message says why.
        """
        failure: TrainingError | None = None
        if self.is_main:
            try:
                action()
            except TrainingError as error:
                failure = error
        if self.broadcast(failure is not None):
            raise failure or TrainingError("the main process failed")

    def average_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its mean over all processes."""
        if self.world_size > 1:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    self._average(parameter.grad)

    def average_statistics(self, model: nn.Module) -> None:
        """Replace batch-norm's running means and variances by their means over all processes."""
        if self.world_size > 1:
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    self._average(buffer)

    def _average(self, tensor: torch.Tensor) -> None:
        dist.all_reduce(tensor)
        tensor /= self.world_size
