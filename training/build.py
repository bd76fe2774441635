"""From a network description to a trainable torch module, and its batch-norm folded away."""

from __future__ import annotations

import math
from typing import Literal, assert_never, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeserve.models.layers import Layer, Lif, Pool, Synaptic, Window
from spikeserve.models.network import Network
from spikeserve.training.drive import FloatDrive
from spikeserve.training.neurons import clipped_relu, halved_relu, lif
from spikeserve.training.rounding import FloatWeights, fake_quantised, membrane_units
from spikeserve.training.side_by_side import convolved_side_by_side, pays

Activation = Literal["relu", "clipped-relu", "halved-relu", "lif"]


class FloatOperations:
    """What layers are described in, on floats ``[M, C, H, W]`` with gradients.

    Weights come as matrices ``[rows, c_out]``. A sum pool is an average here; the quantiser folds
    the factor between them into the weights that follow.
    """

    def __init__(self, bias: Tensor | None = None) -> None:
        self._bias = bias
        """Added by the convolution itself, which costs nothing there."""

    def convolved(self, x: Tensor, weight: Tensor, window: Window, groups: int) -> Tensor:
        kernels = weight.T.view(weight.shape[1], *window.kernel, -1).permute(0, 3, 1, 2)
        if kernels.shape[1] == 1 and window.stride[0] != window.stride[1]:
            # Strides that may say channels last as well lead torch (2.13, CPU) astray.
            kernels, x = (v.clone(memory_format=torch.contiguous_format) for v in (kernels, x))
        if x.shape[2:] == window.kernel and window.padding == (0, 0) and groups == 1:
            flat = x.permute(0, 2, 3, 1).flatten(1)
            # Faster than as a convolution.
            return F.linear(flat, weight.T, self._bias)[:, :, None, None]
        if groups == 1 and pays(x, window):
            return convolved_side_by_side(x, kernels, self._bias, window)
        return F.conv2d(x, kernels, self._bias, window.stride, window.padding, groups=groups)

    def max_pooled(self, x: Tensor, window: Window) -> Tensor:
        return F.max_pool2d(x, window.kernel, window.stride, window.padding)

    def sum_pooled(self, x: Tensor, window: Window, channels: int) -> Tensor:  # noqa: ARG002
        return F.avg_pool2d(x, window.kernel, window.stride, window.padding)

    def channels(self, numbers: Tensor) -> Tensor:
        return numbers.view(1, -1, 1, 1)


FLOATS = FloatOperations()


class SynapticModule(nn.Module):
    """A layer with weights, which are kept as the matrix ``[c_out, rows]``."""

    def __init__(
        self,
        network: Network,
        layer: Synaptic,
        *,
        normalised: bool,
        drive: FloatDrive | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        rows, channels = layer.weight_shape
        if layer.is_matrix:
            bound = 1 / math.sqrt(rows)
            self.weight = nn.Parameter(torch.empty(channels, rows).uniform_(-bound, bound))
        else:  # spikes pass as they are
            self.weight = nn.Parameter(torch.ones(channels, rows))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.norm = nn.BatchNorm2d(channels) if normalised and layer.is_matrix else None
        self.drive = drive
        self.drive_bias = nn.Parameter(torch.zeros(drive.timesteps, channels)) if drive else None
        self.weight_bits: int | None = None
        self.frozen = False
        """Whether batch-norm keeps its statistics; who sets it stops the gradients as well."""
        self.units = torch.ones(channels)
        """Membrane steps per unit of current that weights are rounded with."""
        self.density = torch.zeros(())
        """Share of inputs that were non-zero in the newest pass, where inputs are spikes."""

    @property
    def floats(self) -> FloatWeights:
        if self.drive is None or self.drive_bias is None:
            return FloatWeights(self.layer, self.weight, self.bias, self.bias.abs())
        largest = (self.bias + self.drive_bias).abs().amax(dim=0)
        return FloatWeights(self.layer, self.weight, self.bias, largest, max(self.drive.gains))

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        """``[T * B, c_in, H, W]`` to ``[T * B, c_out, h_out, w_out]``."""
        self.density = x.mean(dtype=torch.float32)
        layer, weight = self.layer, cast(Tensor, self.weight)
        if self.weight_bits is not None:
            weight = fake_quantised(self.network, self.floats, self.units, self.weight_bits)
        if self.norm is not None:
            self.norm.train(self.training and not self.frozen)
            return cast(Tensor, self.norm(layer.sums(FLOATS, x, weight.T)))
        if self.drive is not None and self.drive_bias is not None:
            sums = layer.sums(FLOATS, x, weight.T)
            return self.drive.applied(sums, self.bias + self.drive_bias, timesteps)
        if layer.is_matrix:
            return cast(Tensor, layer.sums(FloatOperations(self.bias), x, weight.T))
        return cast(Tensor, layer.sums(FLOATS, x, weight.T) + self.bias[:, None, None])


class Neurons(nn.Module):
    """LIF neurons with per-channel thresholds and one leak per layer, or an ANN's ReLU."""

    def __init__(self, layer: Lif, leak: float, timesteps: int, initial: float) -> None:
        super().__init__()
        self.layer = layer
        self.initial = initial
        """Potential that neurons begin with, as a share of their threshold."""
        self.levels = timesteps
        """Of what stands for spikes: as many as a neuron can send, or times to send one."""
        self.largest_leak = 1.0
        self.activation: Activation = "lif"
        self.theta = nn.Parameter(torch.ones(layer.in_shape[2]))
        self.leak = nn.Parameter(torch.tensor(leak))
        self.rate = torch.zeros(())

    def forward(self, current: Tensor, timesteps: int) -> Tensor:
        """``[T * B, C, H, W]`` to spikes of the same shape."""
        if self.activation == "relu":
            return current.relu()
        if self.activation == "clipped-relu":
            flat = current.permute(0, 2, 3, 1).flatten()  # one size for the compiler
            spread = clipped_relu(flat, self.levels).view(current.permute(0, 2, 3, 1).shape)
            return spread.permute(0, 3, 1, 2)
        if self.activation == "halved-relu":
            return halved_relu(current, self.levels)
        channels_last = current.permute(0, 2, 3, 1)
        flat = channels_last.reshape(timesteps, -1, current.shape[1])
        spikes = lif(
            flat,
            self.theta,
            self.leak.clamp(0, self.largest_leak),
            initial=self.initial,
            hard=self.layer.reset == "hard",
            once=self.layer.fire_once,
        )
        self.rate = spikes.mean(dtype=torch.float32)
        return spikes.view(channels_last.shape).permute(0, 3, 1, 2)


class Pooling(nn.Module):
    """A pool over spikes or activations."""

    def __init__(self, layer: Pool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.layer.pooled(FLOATS, x)
        return pooled


class SpikingNetwork(nn.Module):
    """A trainable network: explicit time axis in, one logit vector per timestep out."""

    def __init__(
        self,
        network: Network,
        timesteps: int,
        leak: float,
        *,
        normalised: bool,
        initial: float = 0.0,
        drive: FloatDrive | None = None,
        saturating: bool = False,
    ) -> None:
        """``drive``: the first layer's, once batch-norm is folded."""
        super().__init__()
        self.network = network
        self.initial = initial
        self.drive = drive
        self.saturating = saturating
        self.accumulation: Literal["mean", "halving"] = "mean"
        self.stack = nn.ModuleList()
        for layer in network.layers:
            match layer:
                case Synaptic():
                    last = layer is network.layers[-1]
                    driven = layer is network.layers[0] and not normalised
                    self.stack.append(
                        SynapticModule(
                            network,
                            layer,
                            normalised=normalised and not last,
                            drive=drive if driven else None,
                        )
                    )
                case Lif():
                    self.stack.append(Neurons(layer, leak, timesteps, initial))
                case Pool():
                    self.stack.append(Pooling(layer))
                case _:
                    assert_never(layer)
        # The running mean shrinks as 1/t where neurons fire once; the loss may rescale it.
        once = any(lif.fire_once for lif in network.lifs)
        scale = torch.arange(1.0, timesteps + 1) if once else torch.ones(timesteps)
        self.readout_scale = nn.Parameter(scale)

    @property
    def servable(self) -> bool:
        """Whether the format has these dynamics."""
        fading = all(neurons.largest_leak <= 1 for neurons in self.neurons)
        return fading and self.accumulation == "mean"

    @property
    def synaptic(self) -> list[SynapticModule]:
        return [module for module in self.stack if isinstance(module, SynapticModule)]

    @property
    def neurons(self) -> list[Neurons]:
        return [module for module in self.stack if isinstance(module, Neurons)]

    def forward(self, frames: Tensor) -> Tensor:
        """Logits ``[T, B, K]`` per timestep, not accumulated, for ``frames [T, B, C, H, W]``."""
        timesteps, batch = frames.shape[:2]
        self._set_units()
        modules = iter(self.stack)

        def through(layer: Layer, x: Tensor, read: Tensor) -> Tensor:
            module = next(modules)
            out: Tensor = module(read) if isinstance(layer, Pool) else module(read, timesteps)
            return x + out if isinstance(layer, Synaptic) and layer.joins else out

        x = self.network.carry(frames.flatten(0, 1), through)
        return x.view(timesteps, batch, -1).float()

    @torch.no_grad()
    def _set_units(self) -> None:
        """What weights are rounded with follows from all that feed the same neurons."""
        synaptic = self.synaptic
        groups = (*self.network.feeding, (len(synaptic) - 1,))
        for feeding, theta in zip(groups, (*(n.theta for n in self.neurons), None), strict=True):
            group = [synaptic[index] for index in feeding]
            bits = group[0].weight_bits
            if bits is not None:
                floats = [module.floats for module in group]
                units = membrane_units(
                    self.network, floats, bits, theta, saturating=self.saturating
                )
                for module in group:
                    module.units = units

    def accumulated(self, logits: Tensor) -> Tensor:
        """Rescaled running mean ``[T, B, K]`` of ``logits [T, B, K]``, as the loss sees it."""
        steps = torch.arange(1, len(logits) + 1, device=logits.device)
        scale = self.readout_scale[: len(logits)] / steps
        if self.accumulation == "halving":
            logits = logits * torch.exp2(1.0 - steps)[:, None, None]
        return logits.cumsum(0) * scale[:, None, None]


@torch.no_grad()
def folded(model: SpikingNetwork, into: Literal["threshold", "current"]) -> SpikingNetwork:
    """The same network with batch-norm folded into weights and thresholds (or biases).

    Folding the shift into the threshold instead of a bias leaves silent windows silent:
    no input, no current, nothing to compute. At t = 1 both are the same function.
    """
    twin = SpikingNetwork(
        model.network,
        len(model.readout_scale),
        leak=1.0,
        normalised=False,
        initial=model.initial,
        drive=model.drive,
        saturating=model.saturating,
    ).to(model.readout_scale.device)
    twin.readout_scale.copy_(model.readout_scale)
    for source, target in zip(model.neurons, twin.neurons, strict=True):
        target.activation = source.activation
        target.theta.copy_(source.theta)
        target.leak.copy_(source.leak)
    fed = {index: k for k, feeding in enumerate(model.network.feeding) for index in feeding}
    for index, (source_, target_) in enumerate(zip(model.synaptic, twin.synaptic, strict=True)):
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
        if target_.drive is not None and target_.drive_bias is not None:
            target_.weight.mul_(target_.drive.unit)
            target_.drive_bias.copy_(target_.drive.shares.to(shift.device)[:, None] * shift)
        elif into == "threshold":
            twin.neurons[fed[index]].theta.sub_(shift)
        else:
            target_.bias.copy_(shift)
    return twin
