"""Weights to start from, out of somebody's ReLU network: its state dict as a recipe's first stage.

Convolutions, batch-norms and the linear layer are matched in order with the recipe's. What the ANN
did to pixels before they entered, ``(x / 255 - mean) / std``, becomes part of the first layer:

    W (x / 255 - mean) / std = W' p - c        p = x / PIXEL_UNIT, W' = W * PIXEL_UNIT / 255 / std

Its outputs are the ANN's, but at borders where that padded with its mean: here padding is black.
Batch-norm's statistics are estimated anew then, which makes up for about half of what that loses
(docs/LOG.md).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from spikeserve.models.layers import Conv
from spikeserve.models.network import Network
from spikeserve.training.ann_layers import COUNTER, FoundLayer, layers_of
from spikeserve.training.build import FLOATS, SpikingNetwork, SynapticModule
from spikeserve.training.errors import TrainingError
from spikeserve.training.rounding import PIXEL_UNIT

ANN = "ann.json"
"""In a run folder: which file its first stage comes from."""
BRIGHTEST = 255.0
CHANCES = 1.5
"""Times chance: an ANN below that was matched wrongly."""
NESTED = ("state_dict", "model_state_dict", "model")
"""Where checkpoints of training scripts keep the state dict."""


@dataclass(frozen=True)
class AnnStart:
    """An ANN's file, and how it saw pixels.

    ``mean`` and ``std`` have a number a channel, or none: pixels as 0…1.
    """

    path: Path
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def read(self) -> tuple[dict[str, Tensor], str]:
        """The state dict, and the file's sha256.

        Raises:
            TrainingError: no state dict; says what to save instead.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise TrainingError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            if self.path.suffix == ".safetensors":
                state: Any = load_safetensors(data)
            else:
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except SafetensorError as error:
            raise TrainingError(f"{self.path} is no safetensors file: {error}") from error
        except Exception as error:  # whatever unpickling raises; code is never run
            raise TrainingError(
                f"{self.path} holds no plain state dict; save torch.save(model.state_dict(), …), "
                "or a .safetensors file"
            ) from error
        for name in NESTED:
            if isinstance(state, dict) and isinstance(state.get(name), dict):
                state = state[name]
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise TrainingError(f"{self.path} holds no state dict: names and tensors are expected")
        parameters = {str(k): v for k, v in state.items() if not str(k).endswith(COUNTER)}
        if bad := [name for name, tensor in parameters.items() if not _is_plain(tensor)]:
            raise TrainingError(
                f"{self.path}: {', '.join(bad)}: dense floats without NaN and infinity are expected"
            )
        return {k: v.float() for k, v in parameters.items()}, hashlib.sha256(data).hexdigest()

    def note(self, folder: Path, digest: str) -> None:
        """Remember in a run folder where its first stage comes from."""
        (folder / ANN).write_text(json.dumps(self._noted(digest), indent=1), encoding="utf-8")

    def check_noted(self, folder: Path, digest: str) -> None:
        """Check that the first stage of the run in ``folder`` comes from this file, read so.

        Raises:
            TrainingError: it was trained, or comes from another file.
        """
        path = folder / ANN
        if not path.exists():
            raise TrainingError(
                f"the first stage in {folder} was trained; start from {self.path} in another --run "
                "folder"
            )
        noted = json.loads(path.read_text(encoding="utf-8"))
        if {**noted, "file": self.path.name} != self._noted(digest):
            raise TrainingError(
                f"the first stage in {folder} comes from {noted['file']}, with another sha256 or "
                f"another normalisation; start from {self.path} in another --run folder"
            )

    def _noted(self, digest: str) -> dict[str, Any]:
        numbers = {"mean": list(self.mean), "std": list(self.std)}
        return {"file": self.path.name, "sha256": digest, **numbers}


def _is_plain(tensor: Tensor) -> bool:
    dense = tensor.layout == torch.strided and tensor.is_floating_point() and not tensor.is_meta
    return dense and bool(tensor.isfinite().all())


@dataclass(frozen=True)
class Differences:
    """What of an ANN could not be taken over as it was."""

    borders: bool
    """It padded with its mean, and here padding is black."""
    bare: tuple[str, ...]
    """Layers that had no batch-norm behind them, and have one here that changes nothing."""

    @property
    def notes(self) -> list[str]:
        bare = f"no batch-norm behind {', '.join(self.bare)}: taken as one that changes nothing"
        return [bare] if self.bare else []


@torch.no_grad()
def set_from_ann(model: SpikingNetwork, state: dict[str, Tensor], start: AnnStart) -> Differences:
    """Set a network with batch-norm to an ANN's weights; returns what is not quite the same.

    Raises:
        TrainingError: names everything that does not fit.
    """
    found, rest = layers_of(state, ordered=start.path.suffix != ".safetensors")
    ours = model.synaptic
    wrong = [*_mismatches(ours, found, start), *rest]
    if wrong:
        raise TrainingError(f"{start.path} does not fit the recipe's plan: {'; '.join(wrong)}")
    channels = ours[0].layer.in_shape[2]
    mean = torch.tensor(start.mean or (0.0,) * channels)
    std = torch.tensor(start.std or (1.0,) * channels)
    for index, (module, layer) in enumerate(zip(ours, found, strict=True)):
        weight, shift = layer.weight, -layer.bias
        if index == 0:
            height, width, _ = module.layer.in_shape
            if weight.dim() == 2:
                weight = weight.view(-1, channels, height, width)
            shift = shift + (weight * _maps(mean / std)).sum(dim=(1, 2, 3))
            weight = weight * _maps(PIXEL_UNIT / BRIGHTEST / std)
        module.weight.copy_(_rows(module, weight))
        if module.norm is None:
            module.bias.copy_(-shift)
        else:
            _set_norm(module.norm, layer.norm, shift)
    model.readout_scale.fill_(1)
    return Differences(
        borders=bool(mean.any()) and any(ours[0].layer.window.padding),
        bare=tuple(layer.name for layer in found[:-1] if layer.norm is None),
    )


@contextmanager
def padded_with_mean(model: SpikingNetwork, start: AnnStart) -> Iterator[None]:
    """Outputs are the ANN's at borders as well: with m for its mean, what is padded with m sums to
    that of ``p - m`` padded with 0, and a constant."""
    first = model.synaptic[0]
    assert first.norm is not None
    assert first.norm.running_mean is not None
    height, width, _ = first.layer.in_shape
    mean = _maps(torch.tensor(start.mean) * BRIGHTEST / PIXEL_UNIT).to(first.weight)
    with torch.no_grad():
        sums = first.layer.sums(FLOATS, mean.expand(1, -1, height, width), first.weight.T)
    constant = sums[0, :, sums.shape[2] // 2, sums.shape[3] // 2]
    hook = model.register_forward_pre_hook(lambda _, frames: (frames[0] - mean.to(frames[0]),))
    first.norm.running_mean -= constant
    try:
        yield
    finally:
        first.norm.running_mean += constant
        hook.remove()


def _maps(numbers: Tensor) -> Tensor:
    """One a channel, beside maps."""
    return numbers[:, None, None]


def _rows(module: SynapticModule, weight: Tensor) -> Tensor:
    """``[c_out, rows]``, rows over the window's rows, columns and channels."""
    if weight.dim() == 4:
        return weight.permute(0, 2, 3, 1).flatten(1)
    height, width, channels = module.layer.in_shape
    return weight.view(-1, channels, height, width).permute(0, 2, 3, 1).flatten(1)


def _set_norm(norm: nn.BatchNorm2d, theirs: dict[str, Tensor] | None, shift: Tensor) -> None:
    """The batch-norm of sums that are ``shift`` above what the ANN's saw."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    parts = theirs or {}
    ones, zeros = torch.ones_like(shift), torch.zeros_like(shift)
    norm.running_mean.copy_(parts.get("running_mean", zeros) + shift)
    norm.running_var.copy_(parts.get("running_var", ones - norm.eps))
    norm.weight.copy_(parts.get("weight", ones))
    norm.bias.copy_(parts.get("bias", zeros))


def _mismatches(ours: list[SynapticModule], found: list[FoundLayer], start: AnnStart) -> list[str]:
    if any(module.layer.joins for module in ours):
        return [
            "a plan with shortcuts cannot be started from a state dict, which has no order of them"
        ]
    wrong = []
    if len(found) != len(ours):
        names = ", ".join(layer.name for layer in found) or "none"
        wrong.append(
            f"{len(ours)} layers with weights are planned, the file has {len(found)} ({names})"
        )
    for module, layer in zip(ours, found, strict=False):
        theirs, wanted = tuple(layer.weight.shape), _wanted(module)
        if theirs != wanted:
            wrong.append(
                f"{layer.name}.weight is {theirs}, {module.layer.name} is planned {wanted}"
            )
        elif layer.norm is not None and module.norm is None:
            wrong.append(f"{layer.name}: a batch-norm behind the classifier")
        elif any(part.shape != (theirs[0],) for part in (layer.bias, *(layer.norm or {}).values())):
            wrong.append(f"{layer.name}: its bias or the batch-norm behind it has other channels")
        elif layer.norm is not None and (layer.norm["running_var"] < 0).any():
            wrong.append(f"{layer.name}: the batch-norm behind it has negative variances")
    channels = ours[0].layer.in_shape[2]
    for name, values in (("mean", start.mean), ("std", start.std)):
        if values and len(values) != channels:
            wrong.append(f"{name} has {len(values)} numbers for {channels} channels")
    if any(value <= 0 for value in start.std):
        wrong.append("std must be positive")
    if any(not 0 <= value <= 1 for value in start.mean):
        wrong.append("mean must lie within 0…1, as of pixels divided by 255")
    return wrong


def _wanted(module: SynapticModule) -> tuple[int, ...]:
    """The shape of torch's weights."""
    layer = module.layer
    if isinstance(layer, Conv):
        return (layer.out_channels, layer.in_shape[2] // layer.groups, *layer.window.kernel)
    height, width, channels = layer.in_shape
    return (layer.out_channels, channels * height * width)


def suspicions(accuracy: Sequence[float], network: Network) -> list[str]:
    """What to look for where an ANN is hardly better than chance on held-out images."""
    if accuracy[0] >= CHANCES / network.classes:
        return []
    return [
        "that is hardly better than chance: does it order its classes as the data set does, and "
        "are its normalisation (--ann-mean, --ann-std), pools, strides and padding the plan's?"
    ]
