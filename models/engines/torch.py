"""The integer program in torch, for GPUs and as a third opinion. Imports torch only when built.

On a CPU convolutions run in float32, exact below 2^24. On a GPU they run in float64:
its faster algorithms (TF32, Winograd) round intermediates, and float64 leaves room to
round the sums back to the exact integer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step, check_frames
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.layers import Synaptic, Window
from spikeserve.models.layers.lif import Memory
from spikeserve.models.layers.window import kernels_of
from spikeserve.models.network import Network
from spikeserve.models.program import Program
from spikeserve.models.timestep import timestep

BYTE = 8


class TorchOperations:
    """What layers are described in, on maps ``[N, C, H, W]`` of floats that hold integers.

    A program's arrays are brought to the device once, when they are met first.
    """

    def __init__(self, torch: Any, device: Any) -> None:
        self.torch = torch
        self.device = device
        self.dtype = torch.float32 if device.type == "cpu" else torch.float64
        self._constants: dict[tuple[int, str], tuple[object, Any]] = {}

    def _constant(self, array: Any, form: str, shaped: Callable[[], NDArray[Any]]) -> Any:
        key = (id(array), form)
        if key not in self._constants:
            tensor = self.torch.from_numpy(np.ascontiguousarray(shaped()))
            tensor = tensor.to(self.device, self.dtype)
            # With one channel, strides may say channels last as well as first. torch then takes a
            # way that is wrong for some strides (2.13, CPU); a clone says which.
            tensor = tensor.clone(memory_format=self.torch.contiguous_format)
            # The array is kept as well, so that no other one gets its id.
            self._constants[key] = array, tensor
        return self._constants[key][1]

    def convolved(self, x: Any, weight: NDArray[Any], window: Window, groups: int) -> Any:
        kernels = self._constant(weight, "kernels", lambda: kernels_of(weight, window))
        if x.shape[1] == 1:  # as of kernels in _constant
            x = x.clone(memory_format=self.torch.contiguous_format)
        return self.torch.nn.functional.conv2d(
            x, kernels, stride=window.stride, padding=window.padding, groups=groups
        ).round()

    def max_pooled(self, x: Any, window: Window) -> Any:
        return self.torch.nn.functional.max_pool2d(x, window.kernel, window.stride, window.padding)

    def sum_pooled(self, x: Any, window: Window, channels: int) -> Any:  # noqa: ARG002
        return self.torch.nn.functional.avg_pool2d(
            x, window.kernel, window.stride, window.padding, divisor_override=1
        )

    def channels(self, numbers: NDArray[Any]) -> Any:
        return self._constant(numbers, "channels", lambda: numbers.reshape(1, -1, 1, 1))

    def floor_scaled(self, x: Any, multiplier: int, bits: int, nearest: bool = False) -> Any:
        half = (1 << bits) // 2 if nearest else 0
        if multiplier >> BYTE and bits > BYTE:  # the product may need more than 24 bits
            high = (x / (1 << BYTE)).floor()
            low = (((x - high * (1 << BYTE)) * multiplier + half) / (1 << BYTE)).floor()
            return ((high * multiplier + low) / (1 << (bits - BYTE))).floor()
        return ((x * multiplier + half) / (1 << bits)).floor()

    def floor_divided(self, x: Any, divisor: Any) -> Any:
        """A quotient below 2^15 that is no whole number lies further from the next one than
        float32 rounds."""
        return (x / divisor).floor()

    def clipped(self, x: Any, low: int, high: int) -> Any:
        return x.clamp(low, high)

    def where(self, condition: Any, chosen: Any, otherwise: Any) -> Any:
        return self.torch.where(condition, chosen, otherwise)

    def numbers(self, spikes: Any) -> Any:
        return spikes.to(self.dtype)

    def scheduled(self, numbers: NDArray[Any], done: Any) -> Any:
        table = self._constant(numbers, "rows", lambda: numbers)
        return table[done.clamp(max=len(numbers) - 1)][:, :, None, None]

    def active_pairs(self, layer: Synaptic, x: Any, counts: bool) -> Any:
        seen = self._constant(layer, "coverage", lambda: layer.coverage).to(self.torch.int64)
        active = (x if counts else x != 0).sum(1, dtype=self.torch.int64)
        return (active * seen).sum((1, 2))

    def counted(self, spikes: Any) -> Any:
        return spikes.sum((1, 2, 3), dtype=self.torch.int64)


class TorchEngine:
    """Runs a program with torch.

    Raises:
        EngineUnavailable: torch is not installed, or the device is missing.
    """

    name = "torch"

    def __init__(self, program: Program, device: str | None = None) -> None:
        try:
            import torch
        except (ImportError, OSError) as error:  # OSError: its shared libraries are missing
            raise EngineUnavailable(
                f"the torch engine needs torch: pip install torch ({error})"
            ) from error
        self._torch = torch
        self._program = program
        self.network: Network = program.network
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self._operations = TorchOperations(torch, torch.device(chosen))
            self._tensor(np.zeros(1))
        except (RuntimeError, AssertionError) as error:  # AssertionError: built without CUDA
            raise EngineUnavailable(f"torch cannot use {chosen}: {error}") from error

    def _tensor(self, array: NDArray[Any]) -> Any:
        return self._torch.from_numpy(array).to(self._operations.device)

    def start(self, rows: int) -> State:
        shapes = [(rows, c, h, w) for h, w, c in (lif.in_shape for lif in self.network.lifs)]
        membranes = [
            np.broadcast_to(neurons.initial[:, None, None], shape).astype(np.int16)
            for shape, neurons in zip(shapes, self._program.neurons, strict=True)
        ]
        fired = [np.zeros(shape, np.bool_) for shape in shapes]
        return State((*membranes, *fired, np.zeros(rows, np.int64)))

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        check_frames(frames, state, self.network)
        torch, dtype, lifs = self._torch, self._operations.dtype, len(self.network.lifs)
        with torch.inference_mode():
            x = self._tensor(frames).permute(0, 3, 1, 2).to(dtype)
            *arrays, done = (self._tensor(array) for array in state.arrays)
            membranes = [v.to(dtype) for v in arrays[:lifs]]
            memories = list(map(Memory, membranes, arrays[lifs:]))
            result = timestep(self._program, self._operations, x, memories, done)
            after = [
                *(memory.v.to(torch.int16) for memory in result.memories),
                *(memory.fired for memory in result.memories),
                done + 1,
            ]
            return Step(
                logits=result.logits.flatten(1).to(torch.int32).cpu().numpy(),
                active_pairs=torch.stack(result.active_pairs, 1).cpu().numpy(),
                spikes=torch.stack(result.spikes, 1).cpu().numpy(),
                state=State(tuple(array.cpu().numpy() for array in after)),
            )
