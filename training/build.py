"""From a network description to a trainable torch module, and its batch-norm folded away."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeserve.models.network import (
    Conv,
    Lif,
    Linear,
    Network,
    Pool,
    Shortcut,
    Synaptic,
    is_matrix,
)
from spikeserve.training.neurons import clipped_relu, lif
from spikeserve.training.rounding import FloatWeights, fake_quantised, membrane_units

ANN_LEVELS = 4

Activation = Literal["relu", "clipped-relu", "lif"]


class Synapse(nn.Module):
    """A convolution, linear layer or shortcut; weights are kept as the matrix ``[c_out, rows]``."""

    def __init__(self, network: Network, layer: Synaptic, *, normalised: bool) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        rows, channels = layer.weight_shape
        if is_matrix(layer):
            bound = 1 / math.sqrt(rows)
            self.weight = nn.Parameter(torch.empty(channels, rows).uniform_(-bound, bound))
        else:  # spikes pass as they are
            self.weight = nn.Parameter(torch.ones(channels, rows))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.norm = nn.BatchNorm2d(channels) if normalised and is_matrix(layer) else None
        self.weight_bits: int | None = None
        self.units = torch.ones(channels)
        """Membrane steps per unit of current that weights are rounded with."""
        self.density = torch.zeros(())
        """Share of inputs that were non-zero in the newest pass, where inputs are spikes."""

    @property
    def floats(self) -> FloatWeights:
        return FloatWeights(self.layer, self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[M, c_in, H, W]`` to ``[M, c_out, h_out, w_out]``."""
        self.density = x.mean(dtype=torch.float32)
        layer, weight = self.layer, cast(Tensor, self.weight)
        if self.weight_bits is not None:
            weight = fake_quantised(self.network, self.floats, self.units, self.weight_bits)
        bias = None if self.norm is not None else self.bias
        match layer:
            case Linear():
                flat = x.permute(0, 2, 3, 1).flatten(1)
                current = F.linear(flat, weight, bias)[:, :, None, None]
            case Conv():
                kernel = weight.view(len(weight), layer.kernel, layer.kernel, -1)
                kernel = kernel.permute(0, 3, 1, 2)
                current = F.conv2d(x, kernel, bias, layer.stride, layer.padding)
            case Shortcut():
                x = F.avg_pool2d(x, layer.pool) if layer.pool > 1 else x
                if not layer.projects:
                    return x * weight[None, :, :, None].to(x.dtype) + self.bias[:, None, None]
                current = F.conv2d(x, weight[:, :, None, None], bias)
        return current if self.norm is None else self.norm(current)


class Neurons(nn.Module):
    """LIF neurons with per-channel thresholds and one leak per layer, or an ANN's ReLU."""

    def __init__(self, layer: Lif, leak: float) -> None:
        super().__init__()
        self.layer = layer
        self.activation: Activation = "lif"
        self.theta = nn.Parameter(torch.ones(layer.in_shape[2]))
        self.leak = nn.Parameter(torch.tensor(leak))
        self.rate = torch.zeros(())

    def forward(self, current: Tensor, timesteps: int) -> Tensor:
        """``[T * B, C, H, W]`` to spikes of the same shape."""
        if self.activation == "relu":
            return current.relu()
        if self.activation == "clipped-relu":
            return clipped_relu(current, ANN_LEVELS)
        channels_last = current.permute(0, 2, 3, 1)
        flat = channels_last.reshape(timesteps, -1, current.shape[1])
        spikes = lif(
            flat,
            self.theta,
            self.leak.clamp(0, 1),
            hard=self.layer.reset == "hard",
            once=self.layer.fire_once,
        )
        self.rate = spikes.mean(dtype=torch.float32)
        return spikes.view(channels_last.shape).permute(0, 3, 1, 2)


class SpikingNetwork(nn.Module):
    """A trainable network: explicit time axis in, one logit vector per timestep out."""

    def __init__(self, network: Network, timesteps: int, leak: float, *, normalised: bool) -> None:
        super().__init__()
        self.network = network
        self.stack = nn.ModuleList()
        for layer in network.layers:
            match layer:
                case Conv() | Linear() | Shortcut():
                    last = layer is network.layers[-1]
                    self.stack.append(Synapse(network, layer, normalised=normalised and not last))
                case Lif():
                    self.stack.append(Neurons(layer, leak))
                case Pool():
                    self.stack.append(
                        nn.MaxPool2d(layer.kernel)
                        if layer.mode == "max"
                        else nn.AvgPool2d(layer.kernel)
                    )
        # The running mean shrinks as 1/t where neurons fire once; the loss may rescale it.
        self.readout_scale = nn.Parameter(torch.arange(1.0, timesteps + 1))

    @property
    def synapses(self) -> list[Synapse]:
        return [module for module in self.stack if isinstance(module, Synapse)]

    @property
    def neurons(self) -> list[Neurons]:
        return [module for module in self.stack if isinstance(module, Neurons)]

    def forward(self, frames: Tensor) -> Tensor:
        """Logits ``[T, B, K]`` per timestep, not accumulated, for ``frames [T, B, C, H, W]``."""
        timesteps, batch = frames.shape[:2]
        self._set_units()
        x = frames.flatten(0, 1)
        produced: dict[str, Tensor] = {}
        for layer, module in zip(self.network.layers, self.stack, strict=True):
            if isinstance(layer, Shortcut):
                x = x + module(produced[layer.source])
            else:
                x = module(x, timesteps) if isinstance(module, Neurons) else module(x)
            produced[layer.name] = x
        return x.view(timesteps, batch, -1).float()

    @torch.no_grad()
    def _set_units(self) -> None:
        """What weights are rounded with follows from all that feed the same neurons."""
        synapses = self.synapses
        for feeding in (*self.network.feeding, (len(synapses) - 1,)):
            group = [synapses[index] for index in feeding]
            bits = group[0].weight_bits
            if bits is not None:
                units = membrane_units(self.network, [synapse.floats for synapse in group], bits)
                for synapse in group:
                    synapse.units = units

    def accumulated(self, logits: Tensor) -> Tensor:
        """Rescaled running mean ``[T, B, K]`` of ``logits [T, B, K]``, as the loss sees it."""
        steps = torch.arange(1, len(logits) + 1, device=logits.device)
        scale = self.readout_scale[: len(logits)] / steps
        return logits.cumsum(0) * scale[:, None, None]


@torch.no_grad()
def folded(model: SpikingNetwork, into: Literal["threshold", "current"]) -> SpikingNetwork:
    """The same network with batch-norm folded into weights and thresholds (or biases).

    Folding the shift into the threshold instead of a bias leaves silent windows silent:
    no input, no current, nothing to compute. At t = 1 both are the same function.
    """
    twin = SpikingNetwork(model.network, len(model.readout_scale), leak=1.0, normalised=False).to(
        model.readout_scale.device
    )
    twin.readout_scale.copy_(model.readout_scale)
    for source, target in zip(model.neurons, twin.neurons, strict=True):
        target.activation = source.activation
        target.theta.copy_(source.theta)
        target.leak.copy_(source.leak)
    fed = {index: k for k, feeding in enumerate(model.network.feeding) for index in feeding}
    for index, (source_, target_) in enumerate(zip(model.synapses, twin.synapses, strict=True)):
        norm = source_.norm
        if norm is None:
            target_.weight.copy_(source_.weight)
            target_.bias.copy_(source_.bias)
            continue
        assert norm.running_var is not None
        assert norm.running_mean is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * gain
        target_.weight.copy_(source_.weight * gain[:, None])
        if into == "threshold":
            twin.neurons[fed[index]].theta.sub_(shift)
        else:
            target_.bias.copy_(shift)
    return twin
