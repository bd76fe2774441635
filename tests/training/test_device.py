"""Training computes in bfloat16 only where that is faster."""

from __future__ import annotations

import pytest
import torch

from spikeserve.training.device import compute_type


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, torch.float32),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"cpu_name": "Cortex-A76"}, torch.float32),
    ],
)
def test_processors_without_fast_bfloat16_compute_in_float32(
    capabilities: dict[str, object], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert compute_type(torch.device("cpu")) is expected
    assert compute_type(torch.device("cuda")) is torch.bfloat16
