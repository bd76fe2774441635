"""The integer program in torch, for GPUs and as a third opinion. Imports torch only when built.

On a CPU convolutions run in float32, exact below 2^24. On a GPU they run in float64:
its faster algorithms (TF32, Winograd) round intermediates, and float64 leaves room to
round the sums back to the exact integer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.layers import Conv, Lif, Linear, Pool, Shortcut, Synaptic
from spikeserve.models.layers.lif import MEMBRANE_MAX, MEMBRANE_MIN
from spikeserve.models.network import Network
from spikeserve.models.program import Program


class TorchEngine:
    """Runs a program with torch.

    Raises:
        EngineUnavailable: torch is not installed, or the device is missing.
    """

    name = "torch"

    def __init__(self, program: Program, device: str | None = None) -> None:
        try:
            import torch
        except ImportError as error:
            raise EngineUnavailable("the torch engine needs torch: pip install torch") from error
        self._torch = torch
        self.network: Network = program.network
        try:
            chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
            self._device = torch.device(chosen)
            self._dtype = torch.float32 if self._device.type == "cpu" else torch.float64
            self._weights = [
                self._kernel(layer, synapses.weight)
                for layer, synapses in zip(self.network.synaptic, program.synapses, strict=True)
            ]
            self._biases = [self._channels(synapses.bias) for synapses in program.synapses]
            self._thresholds = [self._channels(theta) for theta in program.thresholds]
            self._coverage = [
                torch.from_numpy(layer.coverage).to(self._device) for layer in self.network.synaptic
            ]
        except RuntimeError as error:
            raise EngineUnavailable(f"torch cannot use {chosen}: {error}") from error

    def _channels(self, values: NDArray[np.int32]) -> Any:
        return self._torch.from_numpy(values).to(self._device, self._dtype).view(1, -1, 1, 1)

    def _kernel(self, layer: Synaptic, weight: NDArray[Any]) -> Any:
        if isinstance(layer, Shortcut):
            matrix = weight.T.copy() if layer.projects else weight
            kernel = self._torch.from_numpy(matrix).to(self._device, self._dtype)
            return kernel[:, :, None, None]
        height, width = (
            layer.in_shape[:2] if isinstance(layer, Linear) else (layer.kernel, layer.kernel)
        )
        kernel = self._torch.from_numpy(weight.T.copy()).to(self._device, self._dtype)
        return kernel.view(-1, height, width, layer.in_shape[2]).permute(0, 3, 1, 2).contiguous()

    def start(self, rows: int) -> State:
        shapes = [(rows, c, h, w) for h, w, c in (lif.in_shape for lif in self.network.lifs)]
        membranes = [np.zeros(shape, np.int16) for shape in shapes]
        fired = [np.zeros(shape, np.bool_) for shape in shapes]
        return State((*membranes, *fired))

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        torch = self._torch
        with torch.inference_mode():
            x = torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2).to(self._dtype)
            arrays = [torch.from_numpy(array).to(self._device) for array in state.arrays]
            lifs = len(self.network.lifs)
            membranes, fired = arrays[:lifs], arrays[lifs:]
            pairs, spikes = [], []
            synapse = lif = 0
            outputs: dict[str, Any] = {}
            for layer in self.network.layers:
                match layer:
                    case Conv() | Linear():
                        seen = self._coverage[synapse]
                        pairs.append(((x != 0).sum(1) * seen).sum((1, 2)))
                        x = self._current(layer, synapse, x)
                        synapse += 1
                    case Shortcut():
                        source, seen = outputs[layer.source], self._coverage[synapse]
                        pairs.append(((source != 0).sum(1) * seen).sum((1, 2)))
                        x = x + self._shortcut(layer, synapse, source)
                        synapse += 1
                    case Lif():
                        x, membranes[lif], fired[lif] = self._lif(
                            layer, membranes[lif], fired[lif], x, self._thresholds[lif]
                        )
                        spikes.append(x.sum((1, 2, 3), dtype=torch.int64))
                        x = x.to(self._dtype)
                        lif += 1
                    case Pool():
                        pool = torch.nn.functional.max_pool2d
                        if layer.mode == "sum":
                            pool = _sum_pool2d
                        x = pool(x, layer.kernel)
                outputs[layer.name] = x
            return Step(
                logits=x.flatten(1).to(torch.int32).cpu().numpy(),
                active_pairs=torch.stack(pairs, 1).cpu().numpy(),
                spikes=torch.stack(spikes, 1).cpu().numpy(),
                state=State(tuple(array.cpu().numpy() for array in (*membranes, *fired))),
            )

    def _shortcut(self, layer: Shortcut, index: int, x: Any) -> Any:
        weight = self._weights[index]  # [c_out, c_in, 1, 1], or [1, c_out, 1, 1]
        x = _sum_pool2d(x, layer.pool)
        current = (
            self._torch.nn.functional.conv2d(x, weight).round() if layer.projects else x * weight
        )
        return current + self._biases[index]

    def _current(self, layer: Conv | Linear, index: int, x: Any) -> Any:
        stride, padding = (layer.stride, layer.padding) if isinstance(layer, Conv) else (1, 0)
        sums = self._torch.nn.functional.conv2d(
            x, self._weights[index], stride=stride, padding=padding
        ).round()
        if layer.shift:
            sums = (sums * 2.0**-layer.shift).floor()
        return sums + self._biases[index]

    def _lif(self, layer: Lif, v: Any, fired: Any, current: Any, theta: Any) -> Any:
        torch = self._torch
        v = v.to(self._dtype)
        if layer.leak_q != 256:
            v = (v * (layer.leak_q / 256)).floor()
        v = (v + current).clamp(MEMBRANE_MIN, MEMBRANE_MAX)
        spiking = v >= theta
        if layer.fire_once:
            spiking = spiking & ~fired
            fired = fired | spiking
        after = torch.zeros_like(v) if layer.reset == "hard" else v - theta
        v = torch.where(spiking, after, v).clamp(MEMBRANE_MIN, MEMBRANE_MAX)
        return spiking, v.to(torch.int16), fired


def _sum_pool2d(x: Any, kernel: int) -> Any:
    blocks = x.unfold(2, kernel, kernel).unfold(3, kernel, kernel)
    return blocks.sum((-1, -2))
