"""Small maps convolved beside each other give what they give alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spikeserve.models.layers import Window
from spikeserve.training import side_by_side
from spikeserve.training.side_by_side import convolved_side_by_side, pays

pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))


strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    pairs,
    strides,
    paddings,
    st.booleans(),
)
def test_sums_and_gradients_are_those_of_each_map_alone(
    count: int,
    extents: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    biased: bool,
) -> None:
    window = Window(kernel, stride, padding)
    assume(min(window.positions(extents)) >= 1)
    torch.manual_seed(0)
    x = torch.randn(count, 3, *extents, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(4, 3, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64) if biased else None
    alone = F.conv2d(x, kernels, bias, stride, padding)
    together = convolved_side_by_side(x, kernels, bias, window)
    torch.testing.assert_close(together, alone)
    upstream = torch.randn_like(alone)
    for found, expected in zip(
        torch.autograd.grad(together, (x, kernels), upstream),
        torch.autograd.grad(alone, (x, kernels), upstream),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("dtype", "extent", "tiles", "expected"),
    [
        (torch.bfloat16, 8, True, True),
        (torch.bfloat16, 9, True, False),
        (torch.bfloat16, 8, False, False),
        (torch.float32, 8, True, False),
    ],
)
def test_it_is_done_where_it_pays(
    dtype: torch.dtype, extent: int, tiles: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "has_tiles", lambda: tiles)
    x = torch.zeros(2, 1, extent, extent, dtype=dtype)
    assert pays(x, Window((3, 3), (1, 1), (1, 1))) is expected
