"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import llvmlite.binding

LIBRARIES = (
    "numba", "numpy", "onnxruntime", "openvino", "torch", "spikingjelly", "snntorch", "fastapi",
    "uvicorn", "litserve", "bentoml",
)  # fmt: skip


def machine() -> dict[str, str | int]:
    """Processor, the kind of core kernels are compiled for, cores, system and Python."""
    return {
        "processor": _processor(),
        "architecture": llvmlite.binding.get_host_cpu_name(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def libraries() -> dict[str, str]:
    """Versions of everything compared."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
