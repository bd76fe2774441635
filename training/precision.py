"""In which floating-point type convolutions are computed; weights stay float32 anyway."""

from __future__ import annotations

import torch


def compute_type(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32.

    GPUs do, and CPUs with AMX. Intel's AVX-512 instructions for it are no faster than float32's
    (1.4 times slower altogether, see docs/LOG.md); AMD's are. Without any it is emulated.
    """
    if device.type != "cpu":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    pays = able.get("amx_bf16") or (able.get("avx512_bf16") and "AMD" in str(able.get("cpu_name")))
    return torch.bfloat16 if pays else torch.float32
