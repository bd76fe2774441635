"""The device that trains, and the floating-point type convolutions run in there."""

from __future__ import annotations

import torch


def choose_device() -> torch.device:
    """CUDA where present, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_type(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32.

    Weights stay float32 in any case. GPUs and CPUs with AMX gain by bfloat16; so do AMD's with
    AVX-512. Intel's AVX-512 instructions for bfloat16 are no faster than those for float32 (1.4
    times slower altogether, see docs/LOG.md), and CPUs without such instructions emulate it.
    """
    if device.type != "cpu":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    pays = able.get("amx_bf16") or (able.get("avx512_bf16") and "AMD" in str(able.get("cpu_name")))
    return torch.bfloat16 if pays else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which convolutions run in ``dtype``; in float32, one that changes nothing."""
    enabled = dtype is not torch.float32
    return torch.autocast(device.type, dtype if enabled else None, enabled)
