"""Muon: momentum whose matrices are made orthogonal before they are added to the weights.

    B <- momentum * B + (1 - momentum) * g            g' = (1 - momentum) * g + momentum * B
    W <- (1 - lr * decay) * W - lr * sqrt(max(1, rows / columns)) * orthogonal(g')

K. Jordan, *Muon*, 2024, as ``torch.optim.Muon`` has it, which iterates in bfloat16 whatever the
machine: on processors that only emulate it that takes nine tenths of a training step
(docs/LOG.md). Here the iteration works on the small Gram matrix, in float32: as fast as bfloat16 in
hardware, and closer to the exact result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that is iterated; largest slope at zero."""
STEPS = 4


def orthogonal(matrix: Tensor) -> Tensor:
    """Newton-Schulz: ``matrix [r, c]`` with its singular values brought near 1 (0.5 to 1.5).

        G = X X'        P = a + b G + c G G        X <- P X,  hence  G <- P G P

    All factors P are polynomials of the same symmetric G, so X is multiplied once, at last.
    """
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp(min=1e-7)
    gram = x @ x.T
    product = identity = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    for step in range(STEPS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c) + a * identity
        product = factor @ product if step else factor
        if step < STEPS - 1:
            gram = factor @ gram @ factor
    result: Tensor = product @ x
    return result if wide is matrix else result.T


class Muon(Optimizer):
    """For matrices; everything else needs another optimiser."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: nobody here has one
        """One step along the gradients that there are."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient, momentum, rate = weight.grad, group["momentum"], group["lr"]
        assert gradient is not None
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = orthogonal(gradient.lerp(buffer, momentum))
        rows, columns = weight.shape
        weight.mul_(1 - rate * group["weight_decay"])
        weight.add_(update, alpha=-rate * math.sqrt(max(1, rows / columns)))
