"""Modules as networks, held against their own outputs; neurons are stand-ins named as theirs."""

from __future__ import annotations

from typing import cast

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


def test_nothing_behind_a_refused_neuron_is_blamed() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), QIFNode(), nn.MaxPool2d(2), nn.Flatten())
    with pytest.raises(ImportRefused) as refused:
        network_of(with_statistics(module), example(), timesteps=TIMESTEPS)
    assert "QIFNode" in str(refused.value)
    assert "MaxPool2d" not in str(refused.value)


class Shared(nn.Module):
    """One pool for all, functional ones beside it, as tutorials write them."""

    def __init__(self, *, swapped: bool = False) -> None:
        super().__init__()
        self.first, self.one, self.pool = nn.Conv2d(2, 3, 3, padding=1), IFNode(), nn.MaxPool2d(2)
        self.second, self.two, self.last = nn.Conv2d(3, 4, 3, padding=1), IFNode(), nn.Linear(4, 3)
        self.swapped = swapped

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        spikes = self.one(nn.functional.max_pool2d(first, 2)) if self.swapped else self.one(first)
        x = self.pool(self.two(self.second(spikes if self.swapped else self.pool(spikes))))
        x = nn.functional.avg_pool2d(x, 2)
        logits: Tensor = 0.5 * self.last(x.view(x.size(0), -1))
        return logits


class Averaging(Shared):
    """Adds its timesteps up itself."""

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for _ in range(TIMESTEPS):
            total = total + Shared.forward(self, x)
        return cast("Tensor", total / TIMESTEPS)


@pytest.mark.parametrize("kind", [Shared, Averaging])
def test_shared_pools_and_sums_over_time(kind: type[nn.Module]) -> None:
    network, _ = network_of(with_statistics(kind()), example(), timesteps=TIMESTEPS)
    assert sum(isinstance(layer, Pool) for layer in network.layers) == 3
    assert network.classes == 3


def test_a_largest_current_is_no_spike() -> None:
    with pytest.raises(ImportRefused, match="put it behind the neurons"):
        network_of(with_statistics(Shared(swapped=True)), example(), timesteps=TIMESTEPS)


class Joining(Residual):
    def forward(self, x: Tensor) -> Tensor:
        x = self.spikes(self.first(x))
        joined: Tensor = torch.cat([self.left(x), self.right(x)], 1).flatten(1)
        return joined


class Mixing(Residual):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.spikes(self.first(x)).flatten(2).flatten(1, 2))
        return logits


@pytest.mark.parametrize(("kind", "told"), [(Joining, "cat"), (Mixing, "flatten from axis 1 to 2")])
def test_what_is_rearranged_is_not_guessed(kind: type[nn.Module], told: str) -> None:
    with pytest.raises(ImportRefused, match=told):
        network_of(with_statistics(kind()), example(), timesteps=TIMESTEPS)


def test_a_module_is_left_as_it_was() -> None:
    module = with_statistics(nn.Sequential(nn.Flatten(), nn.Linear(128, 4), IFNode())).train()
    _, first, second, third = module.modules()
    second.eval()
    network_of(module, example(), timesteps=TIMESTEPS)
    assert [part.training for part in (first, second, third)] == [True, False, True]


def test_frames_differ_by_timestep() -> None:
    module = with_statistics(nn.Sequential(nn.Conv2d(2, 3, 3), IFNode(), nn.Flatten()))
    frames = torch.rand(3, TIMESTEPS, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    assert network_of(module, frames, timesteps=TIMESTEPS)[0].classes == 108
    with pytest.raises(ImportRefused, match="6 frames for 5 timesteps"):
        network_of(module, frames, timesteps=5)


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
