"""The device that trains, and the floating-point type convolutions run in there."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
NAMES = ("model name", "hardware", "cpu model", "cpu", "uarch", "processor")
"""What Linux calls a processor's name, on one architecture or another; 64-bit ARM has none."""
UNKNOWN = "an unknown processor"


def choose_device() -> torch.device:
    """CUDA where present, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def hardware(device: torch.device, processes: int = 1) -> str:
    """What trains, as a bundle's provenance says it."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{torch.get_num_threads()} cores of {processor()}"
    return name if processes == 1 else f"{processes} × {name}"


def processor() -> str:
    """The processor's name, or as much as this system tells of it."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # not Linux, or hidden from a container
        lines = []
    found = {
        key.strip().lower(): value.strip()
        for key, mark, value in (line.partition(":") for line in reversed(lines))
        if mark
    }
    names = (found.get(name, "") for name in NAMES)
    named = (name for name in names if name and not name.isdecimal())  # a core's number is no name
    told = (name for name in (platform.processor(), platform.machine()) if name != "unknown")
    return next(filter(None, (*named, *told)), UNKNOWN)


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
