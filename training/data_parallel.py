"""Data-parallel training: one process a device, started by ``torchrun``.

Every process draws the same shuffled batches and trains on its own rows of them. Gradients are
averaged before each optimiser step, batch-norm's running statistics after each epoch.

``DistributedDataParallel`` is not used: with some losses the readout's scale takes no part, with
others it is read outside ``forward``, and DDP accepts the one or the other, not both.
"""

from __future__ import annotations

import atexit
import hashlib
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
        """The group that ``torchrun`` has set up, or this process alone.

        Raises:
            TrainingError: the environment describes no group.
        """
        given = os.environ.get("WORLD_SIZE", "1")
        if given == "1":
            return cls()
        try:
            world_size = int(given)
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            if not dist.is_initialized():
                dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
                atexit.register(dist.destroy_process_group)
        except (ValueError, KeyError, RuntimeError) as error:
            raise TrainingError(
                f"WORLD_SIZE is {given!r}, and processes cannot meet: {error}; start them with "
                "torchrun, or unset it to train with one"
            ) from error
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

    def check_same(self, model: nn.Module, when: str) -> None:
        """Compare the network's numbers, bit for bit; all processes must call.

        Averages over networks that are not the same would be nobody's gradients, and only one of
        the networks would be saved.

        Raises:
            TrainingError: in every process, if they hold different networks.
        """
        if self.world_size == 1:
            return
        device = "cuda" if torch.cuda.is_available() else "cpu"
        lowest = torch.tensor([fingerprint(model)], dtype=torch.int64, device=device)
        highest = lowest.clone()
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        if not torch.equal(lowest, highest):
            raise TrainingError(
                f"{when} the {self.world_size} processes hold different networks; have they the "
                "same release, recipe, data and run folder? what was saved before is kept"
            )

    def _average(self, tensor: torch.Tensor) -> None:
        dist.all_reduce(tensor)
        tensor /= self.world_size


def fingerprint(model: nn.Module) -> int:
    """64 bits that change with any number of a network."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        numbers = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(numbers.view(torch.uint8).numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big", signed=True)
