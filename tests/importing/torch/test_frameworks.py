"""Neurons of norse and sinabs, held against stand-ins that do what theirs do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.torch.convert import network_of

TIMESTEPS = 7


def reset_value(z: Tensor, v: Tensor, reset: Tensor, th: Tensor) -> Tensor:  # noqa: ARG001
    return (1 - z) * v + z * reset


def reset_subtract(z: Tensor, v: Tensor, reset: Tensor, th: Tensor) -> Tensor:  # noqa: ARG001
    return v - z * th


@dataclass(frozen=True)
class BoxParameters:
    tau_mem_inv: Tensor = torch.tensor(300.0)  # noqa: RUF009
    v_leak: Tensor = torch.tensor(0.0)  # noqa: RUF009
    v_th: Tensor = torch.tensor(0.2)  # noqa: RUF009
    v_reset: Tensor = torch.tensor(0.0)  # noqa: RUF009
    reset_method: Callable[..., Tensor] = reset_value


class SNNCell(nn.Module):
    __module__ = "norse.stand_in"

    def __init__(self, p: BoxParameters) -> None:
        super().__init__()
        self.p, self.dt = p, 0.001


class LIFBoxCell(SNNCell):
    __module__ = "norse.stand_in"

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        v = self.p.v_leak if state is None else state
        v = v + self.dt * self.p.tau_mem_inv * (x + self.p.v_leak - v)
        z = (v > self.p.v_th).to(x)
        return z, self.p.reset_method(z, v, self.p.v_reset, self.p.v_th)


class LIBoxCell(SNNCell):
    __module__ = "norse.stand_in"

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        v = self.p.v_leak if state is None else state
        v = v + self.dt * self.p.tau_mem_inv * (x + self.p.v_leak - v)
        return v, v


class LIFCell(LIFBoxCell):
    __module__ = "norse.stand_in"


class SequentialState(nn.Sequential):
    __module__ = "norse.stand_in"

    def forward(self, x: Tensor, state: Any = None) -> Any:
        state = [None] * len(self) if state is None else state
        for index, part in enumerate(self):
            if isinstance(part, SNNCell):
                x, state[index] = part(x, state[index])
            else:
                x = part(x)
        return x, state


class MultiSpike:
    @staticmethod
    def count(v: Tensor, threshold: Tensor) -> Tensor:
        return (v > 0) * torch.div(v, threshold, rounding_mode="trunc")


class SingleSpike:
    @staticmethod
    def count(v: Tensor, threshold: Tensor) -> Tensor:
        return (v >= threshold).to(v)


class MembraneSubtract(NamedTuple):
    subtract_value: float | None = None


class MembraneReset(NamedTuple):
    reset_value: float = 0.0


class StatefulLayer(nn.Module):
    __module__ = "sinabs.stand_in"


class LIF(StatefulLayer):
    """sinabs', for inputs ``[N, T, …]``."""

    __module__ = "sinabs.stand_in"

    def __init__(self, alpha: float = 0.8, **options: Any) -> None:
        super().__init__()
        self.alpha_mem_calculated, self.alpha_syn_calculated = torch.tensor(alpha), None
        self.spike_threshold = torch.tensor(0.3)
        self.norm_input = options.get("norm_input", True)
        low = options.get("min_v_mem")
        self.min_v_mem = None if low is None else torch.tensor(low)
        self.spike_fn: Any = options.get("spike_fn", MultiSpike)
        self.reset_fn: Any = options.get("reset_fn", MembraneSubtract())

    def forward(self, x: Tensor) -> Tensor:
        v, alpha, found = torch.zeros_like(x[:, 0]), self.alpha_mem_calculated, []
        for step in range(x.shape[1]):
            v = alpha * v + ((1 - alpha) if self.norm_input else 1) * x[:, step]
            spikes = self.spike_fn.count(v, self.spike_threshold)
            if isinstance(self.reset_fn, MembraneReset):
                v = v * (spikes == 0) + self.reset_fn.reset_value
            else:
                v = v - spikes * self.spike_threshold
            v = v if self.min_v_mem is None else torch.maximum(v, self.min_v_mem)
            found.append(spikes)
        return torch.stack(found, 1)


class LIFSqueeze(LIF):
    """sinabs', for inputs ``[N T, …]``."""

    __module__ = "sinabs.stand_in"

    def __init__(self, *, batch_size: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.batch_size, self.num_timesteps = batch_size, -1

    def forward(self, x: Tensor) -> Tensor:
        folded = x.reshape(self.batch_size, self.num_timesteps, *x.shape[1:])
        return super().forward(folded).flatten(0, 1)


def example() -> Tensor:
    return torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def lively(*parts: nn.Module, kind: type[nn.Sequential] = nn.Sequential) -> nn.Module:
    module = kind(*parts)
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        parameter.data.uniform_(-0.5, 0.7, generator=generator)
    return module


REST = {"v_leak": torch.tensor(0.05), "v_reset": torch.tensor(-0.1)}


@pytest.mark.parametrize("changed", [{}, REST, {"reset_method": reset_subtract}])
@pytest.mark.parametrize("last", [LIFBoxCell, LIBoxCell])
def test_norse(changed: dict[str, Any], last: type[SNNCell]) -> None:
    p = replace(BoxParameters(), **changed)
    module = lively(
        nn.Conv2d(1, 3, 3), LIFBoxCell(p), nn.Flatten(), nn.Linear(48, 4), last(p),
        kind=SequentialState,
    )  # fmt: skip
    network, framework = network_of(module, example(), timesteps=TIMESTEPS)
    assert (network.classes, framework) == (4, "norse")


def test_norse_with_a_synaptic_current_is_refused() -> None:
    module = lively(nn.Conv2d(1, 3, 3), LIFCell(BoxParameters()), kind=SequentialState)
    with pytest.raises(ImportRefused, match="LIFCell: is not first-order"):
        network_of(module, example(), timesteps=TIMESTEPS)


ONCE = {"spike_fn": SingleSpike}


@pytest.mark.parametrize(
    "options",
    [{}, {"norm_input": False}, {"min_v_mem": -0.1}, ONCE, ONCE | {"reset_fn": MembraneReset()}],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_sinabs(options: dict[str, Any], batch: int) -> None:
    module = lively(
        nn.Conv2d(1, 3, 3), LIFSqueeze(batch_size=batch, **options), nn.LPPool2d(1, 2),
        nn.Flatten(), nn.Linear(12, 4), LIFSqueeze(batch_size=batch, **options),
    )  # fmt: skip
    network, framework = network_of(module, example(), timesteps=TIMESTEPS)
    assert (network.classes, framework) == (4, "sinabs")
    assert module[1].batch_size == batch  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reset_fn": MembraneReset()}, "use SingleSpike with it"),
        (ONCE | {"reset_fn": MembraneReset(0.1)}, "leave it 0"),
        ({"reset_fn": MembraneSubtract(0.1)}, "subtract_value is not the threshold"),
        ({"spike_fn": int}, "spike_fn int is not known"),
    ],
)
def test_what_sinabs_neurons_do_besides_is_refused(options: dict[str, Any], told: str) -> None:
    neurons = LIF()
    for name, value in options.items():
        setattr(neurons, name, value)
    if "spike_fn" in options and options["spike_fn"] is int:
        neurons.spike_fn = type("int", (), {"count": SingleSpike.count})
    with pytest.raises(ImportRefused, match=told):
        network_of(lively(nn.Linear(6, 4), neurons), torch.rand(6, 6), timesteps=TIMESTEPS)
