"""Modules as networks, held against their own outputs; neurons are stand-ins named as theirs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.network import Neurons, Synapse
from spikeserve.importing.torch.convert import network_of
from spikeserve.models.layers import Pool

TIMESTEPS = 6


class BaseNode(nn.Module):
    """SpikingJelly's, in one timestep, with nothing but what the walker reads."""

    __module__ = "spikingjelly.stand_in"

    def __init__(self, v_reset: float | None = 0.0, v_threshold: float = 0.3) -> None:
        super().__init__()
        self.v_reset, self.v_threshold, self.step_mode = v_reset, v_threshold, "s"
        self.reset()

    def reset(self) -> None:
        self.v: Tensor | float = 0.0 if self.v_reset is None else self.v_reset

    def forward(self, x: Tensor) -> Tensor:
        v = self.v + x
        spikes = (v >= self.v_threshold).to(x)
        soft = v - spikes * self.v_threshold
        hard = (1 - spikes) * v + spikes * (self.v_reset or 0.0)
        self.v = soft if self.v_reset is None else hard
        return spikes


class IFNode(BaseNode):
    __module__ = "spikingjelly.stand_in"


class QIFNode(BaseNode):
    __module__ = "spikingjelly.stand_in"


def example() -> Tensor:
    return torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def with_statistics(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        parameter.data.uniform_(-0.4, 0.6, generator=generator)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.uniform_(-0.3, 0.3, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    return module


@pytest.mark.parametrize("v_reset", [0.0, None, -0.2])
def test_batch_norm_pools_and_dropout_are_what_they_are_when_trained(
    v_reset: float | None,
) -> None:
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)),
        IFNode(v_reset),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 4),
        IFNode(v_reset),
    )
    network, framework = network_of(with_statistics(module), example(), timesteps=TIMESTEPS)
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [Synapse, Neurons, Pool, Pool, Synapse, Neurons]
    assert framework == "spikingjelly"


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.spikes = nn.Conv2d(2, 3, 3, padding=1), IFNode()
        self.left, self.right = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.joined, self.last = IFNode(), nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.spikes(self.first(x))
        logits: Tensor = self.last(torch.flatten(self.joined(self.left(x) + self.right(x)), 1))
        return logits


class Looping(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([Residual.forward(self, x) for _ in range(TIMESTEPS)])


@pytest.mark.parametrize("kind", [Residual, Looping])
def test_added_currents_and_loops_over_time(kind: type[nn.Module]) -> None:
    network, _ = network_of(with_statistics(kind()), example(), timesteps=TIMESTEPS)
    assert sum(isinstance(layer, Neurons) for layer in network.layers) == 2


def test_everything_that_cannot_be_served_is_named_at_once() -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), QIFNode(), nn.Flatten()
    )
    with pytest.raises(ImportRefused) as refused:
        network_of(with_statistics(module), example(), timesteps=TIMESTEPS)
    for part in ("--from-ann", "ceil_mode", "QIFNode"):
        assert part in str(refused.value)


class Deviating(IFNode):
    """Does something else than the class it is named after."""

    __module__ = "spikingjelly.stand_in"

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(0.5 * x)


Deviating.__name__ = "IFNode"


def test_a_module_that_is_not_reproduced_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 4), Deviating(None, 10.0))
    with pytest.raises(ImportRefused, match="not reproduced"):
        network_of(with_statistics(module), example(), timesteps=TIMESTEPS)


def test_an_example_on_which_nothing_fires_proves_nothing() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 4), IFNode(v_threshold=1e6))
    with pytest.raises(ImportRefused, match="proves nothing"):
        network_of(with_statistics(module), example(), timesteps=TIMESTEPS)
