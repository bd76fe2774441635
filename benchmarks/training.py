"""Seconds a training step, by cause: ``python -m benchmarks.training``.

Each setting runs in a process of its own, since allocator and instruction set are the process's;
settings take turns. A step is one batch of 256 images of levels-vgg8-cifar10's ``levels`` stage,
without its teacher: forward and backward, then the optimiser. Images are noise, which takes as
long.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.machine import machine

LOGGED = Path("docs/benchmarks/training.json")
RECIPE, STAGE = "levels-vgg8-cifar10", "levels"
WARMING = 2  # steps that are not counted
WITHOUT_BFLOAT16 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


@dataclass(frozen=True)
class Setting:
    """What a process is measured with."""

    optimizer: str
    """``torch``: torch.optim.Muon; ``own``: training.muon; ``adamw``."""
    kept: bool
    """Whether freed memory stays with the process."""
    loops: bool
    """Whether small maps are convolved side by side, and the clipped ReLU is one compiled loop."""
    environment: dict[str, str] = field(default_factory=dict)


SETTINGS = {
    "before": Setting("torch", kept=False, loops=False),
    "freed memory kept": Setting("torch", kept=True, loops=False),
    "Muon on Gram matrices in float32": Setting("own", kept=False, loops=False),
    "maps side by side, one loop": Setting("torch", kept=False, loops=True),
    "all: as it is": Setting("own", kept=True, loops=True),
    "all, AdamW": Setting("adamw", kept=True, loops=True),
    "before, without bfloat16": Setting("torch", False, False, WITHOUT_BFLOAT16),
    "as it is, without bfloat16": Setting("own", True, True, WITHOUT_BFLOAT16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--measure", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(SETTINGS[options.measure], options.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(options.repetitions):
        for name in SETTINGS:
            found[name].append(_in_a_process(name, options.steps))
    rows = {
        name: {part: round(median(run[part] for run in runs), 3) for part in runs[0]}
        for name, runs in found.items()
    }
    document = {"machine": machine(), "repetitions": options.repetitions, "settings": rows}
    LOGGED.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{'':34} forward and backward  optimiser  page faults")
    for name, row in rows.items():
        print(f"{name:34} {row['passes']:18.2f} s {row['optimizer']:8.2f} s {row['faults']:12,.0f}")


def measured(setting: Setting, steps: int) -> dict[str, float]:
    """Medians of one process: seconds of both passes, of the optimiser, page faults a step."""
    import torch

    from spikeserve.training import build
    from spikeserve.training.allocator import keep_freed_memory
    from spikeserve.training.build import SpikingNetwork
    from spikeserve.training.device import autocast, compute_type
    from spikeserve.training.objective import objective
    from spikeserve.training.optimizers import optimizers_of
    from spikeserve.training.recipe import load_recipe

    if setting.kept:
        keep_freed_memory()
    if not setting.loops:
        patch.multiple(build, pays=lambda *_: False, clipped_relu=_eager_clipped_relu).start()
    recipe, _ = load_recipe(RECIPE)
    stage = recipe.stages[[stage.name for stage in recipe.stages].index(STAGE)]
    if setting.optimizer == "adamw":
        stage = stage.model_copy(update={"optimizer": "adamw"})
    network = recipe.build_network(10, (32, 32, 3))
    model = SpikingNetwork(network, recipe.network.timesteps, 1.0, normalised=True)
    for module in model.neurons:
        module.activation = stage.neurons
    optimizers = optimizers_of(model, stage)
    if setting.optimizer == "torch":
        hidden = optimizers[0].param_groups[0]
        optimizers[0] = torch.optim.Muon(hidden["params"], lr=hidden["lr"], ns_steps=4)
    cpu = torch.device("cpu")
    dtype = torch.float32 if setting.environment else compute_type(cpu)
    frames = torch.rand(1, recipe.batch_size, 32, 32, 3).to(dtype).permute(0, 1, 4, 2, 3)
    labels = torch.randint(0, 10, (recipe.batch_size,))
    runs: list[dict[str, float]] = []
    for _ in range(WARMING + steps):
        faults, started = _faults(), time.perf_counter()
        with autocast(cpu, dtype):
            logits = model(frames)
        loss, _ = objective(stage, model, logits, labels, None)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        passed = time.perf_counter()
        for optimizer in optimizers:
            optimizer.step()
        ended = time.perf_counter()
        runs.append(
            {
                "passes": passed - started,
                "optimizer": ended - passed,
                "faults": float(_faults() - faults),
            }
        )
    counted = runs[WARMING:]
    return {part: median(run[part] for run in counted) for part in counted[0]}


def _eager_clipped_relu(current: Any, levels: int) -> Any:
    clipped = current.clamp(0, 1)
    return clipped + ((clipped * levels).round() / levels - clipped).detach()


def _in_a_process(name: str, steps: int) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.training",
        "--measure",
        name,
        "--steps",
        f"{steps}",
    ]
    environment = os.environ | SETTINGS[name].environment
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    main()
