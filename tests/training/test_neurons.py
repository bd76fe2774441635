"""The hand-written backward pass against autograd through the same equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeserve.models.engines.reference import NumpyOperations
from spikeserve.models.layers import Lif
from spikeserve.models.layers.lif import Memory, Numbers
from spikeserve.training.neurons import clipped_relu, lif, lif_backward, lif_forward


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return gradient * (1 - x.abs()).clamp(min=0)


def plain(
    current: Tensor, theta: Tensor, leak: Tensor, initial: float, hard: bool, once: bool
) -> Tensor:
    """The equations, differentiated by autograd; the reset is detached."""
    u, fired, spikes = initial * theta, torch.zeros_like(current[0]), []
    for current_t in current:
        v = leak * u + current_t
        s: Tensor = Surrogate.apply(v - theta)  # type: ignore[no-untyped-call]
        if once:
            s = s * (1 - fired)
            fired = fired + s
        u = v * (1 - s.detach()) if hard else v - (theta * s).detach()
        spikes.append(s)
    return torch.stack(spikes)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("initial", [0.0, 0.5])
def test_gradients_equal_autograd(initial: float, hard: bool, once: bool) -> None:
    torch.manual_seed(0)
    current = torch.randn(4, 50, 3) + 0.5
    weight = torch.randn_like(current)
    theta, leak = torch.full((3,), 0.9), torch.tensor(0.8)
    inputs = (
        current.clone().requires_grad_(),
        theta.clone().requires_grad_(),
        leak.clone().requires_grad_(),
    )
    expected = plain(*inputs, initial=initial, hard=hard, once=once)
    spikes, membranes = lif_forward(current, theta, leak, initial, hard, once)
    assert torch.equal(spikes, expected)
    wanted = torch.autograd.grad((expected * weight).sum(), inputs)
    gradients = lif_backward(weight, spikes, membranes, theta, leak, initial, hard, once)
    for found, derived in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, derived)


@pytest.mark.verify  # needs a C++ compiler
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
def test_compiled_function_equals_its_equations() -> None:
    torch.manual_seed(1)
    current = torch.randn(4, 40, 8).requires_grad_()
    theta, leak = torch.ones(8).requires_grad_(), torch.tensor(0.9).requires_grad_()
    spikes = lif(current, theta, leak, hard=True, once=True)
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    expected, membranes = lif_forward(
        current.detach(), theta.detach(), leak.detach(), 0.0, True, True
    )
    assert torch.equal(spikes, expected)
    wanted = lif_backward(
        torch.ones_like(spikes), expected, membranes, theta.detach(), leak.detach(), 0.0, True, True
    )
    torch.testing.assert_close(gradient, wanted[0])


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("once", [True, False])
def test_training_and_serving_neurons_are_the_same(reset: str, once: bool) -> None:
    """On integers both run the same program, spike for spike."""
    layer = Lif("n", (2, 3, 4), leak_q=256, reset=reset, fire_once=once)  # type: ignore[arg-type]
    current = np.random.default_rng(0).integers(-50, 120, (5, 7, 2, 3, 4)).astype(np.int32)
    theta = np.array([60, 80, 100, 140], np.int32)
    potentials = np.broadcast_to(theta // 2, (7, 2, 3, 4))
    memory = Memory(potentials, np.zeros((7, 2, 3, 4), np.bool_))
    numbers = Numbers(theta, theta, None)
    served = []
    for current_t in current:
        spikes, memory = layer.step(NumpyOperations(), memory, current_t, numbers)
        served.append(spikes)
    trained, _ = lif_forward(
        torch.from_numpy(current).float().flatten(1, 3),
        torch.from_numpy(theta).float(),
        torch.tensor(1.0),
        0.5,
        reset == "hard",
        once,
    )
    assert np.array_equal(np.stack(served).reshape(trained.shape), trained.numpy() == 1)


def test_clipped_relu_has_four_levels() -> None:
    x = torch.linspace(-1, 2, 100).requires_grad_()
    y = clipped_relu(x, 4)
    assert set(y.detach().tolist()) == {0.0, 0.25, 0.5, 0.75, 1.0}
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert set(gradient.tolist()) == {0.0, 1.0}
