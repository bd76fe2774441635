"""Small graphs as NIR writers make them, a NIR file of them, and what each node computes.

``outputs`` runs a graph node by node with torch, as its own framework would, so that whatever the
importer folds, moves or joins is held against something that does none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from spikeserve.importing.graph import Graph, Node

DT = 1e-4
Images = NDArray[np.uint8]


def conv(
    name: str, inputs: int, outputs: int, kernel: Any = 3, seed: int = 0, **parameters: Any
) -> Node:
    """A convolution with lively weights."""
    draw = np.random.default_rng(seed + len(name))
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    groups = parameters.get("groups", 1)
    weight = draw.normal(0.2, 0.6, (outputs, inputs // groups, rows, columns))
    weight /= np.sqrt(weight[0].size / 4)
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | parameters
    return Node(
        name,
        "Conv2d",
        {"weight": weight, "bias": draw.normal(0, 0.1, outputs), **_arrays(given)},
    )


def affine(name: str, inputs: int, outputs: int, seed: int = 0) -> Node:
    draw = np.random.default_rng(seed + len(name))
    weight = draw.normal(0.1, 1.0, (outputs, inputs)) / np.sqrt(inputs / 4)
    return Node(name, "Affine", {"weight": weight, "bias": draw.normal(0, 0.1, outputs)})


def neurons(name: str, shape: Sequence[int], kind: str = "IF", **parameters: Any) -> Node:
    """Neurons ``[C, H, W]`` or ``[N]`` whose currents count as they are."""
    whole = np.ones(shape)
    given: dict[str, Any] = {"r": whole / DT, "v_threshold": whole, "v_reset": whole * 0}
    if kind in ("LIF", "LI"):
        given |= {"tau": whole * 2 * DT, "r": whole * 2, "v_leak": whole * 0}
    if kind == "LI":
        del given["v_threshold"], given["v_reset"]
    return Node(name, kind, given | {key: np.asarray(value) for key, value in parameters.items()})


def pool(name: str, kind: str = "AvgPool2d", kernel: Any = 2, **parameters: Any) -> Node:
    given = {"kernel_size": kernel, "stride": kernel, "padding": 0} | parameters
    return Node(name, kind, _arrays(given))


def plain(name: str, kind: str = "Flatten", **parameters: Any) -> Node:
    return Node(name, kind, _arrays(parameters))


def chain(shape: Sequence[int], *nodes: Node, more: Sequence[tuple[str, str]] = ()) -> Graph:
    """Nodes one behind the other, from an input ``[C, H, W]``, with more edges."""
    names = ["input", *(node.name for node in nodes), "output"]
    ends = (plain("input", "Input", shape=list(shape)), plain("output", "Output", shape=[0]))
    edges = (*pairwise(names), *more)
    return Graph((ends[0], *nodes, ends[1]), edges)


def _arrays(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(value, str) else np.asarray(value, np.float64)
        for key, value in parameters.items()
    }


def written(path: Path, graph: Graph) -> Path:
    """A NIR file."""
    with h5py.File(path, "w") as file:
        file["version"] = "1.0.8"
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        for node in graph.nodes:
            group = root.create_group(f"nodes/{node.name}")
            group["type"] = node.kind
            for key, value in node.parameters.items():
                group[key] = value
        root["edges"] = np.array(graph.edges, dtype=h5py.string_dtype())
    return path


def images(shape: Sequence[int], count: int = 12, seed: int = 0) -> Images:
    """``[N, H, W, C]`` for an input ``[C, H, W]`` or ``[N]``."""
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, height, width, channels)).astype(np.uint8)


def outputs(graph: Graph, pixels: Images, timesteps: int) -> NDArray[np.float64]:
    """What the output node sees, ``[T, N, K]``: hard reset, spikes at the threshold, dt 1e-4."""
    nodes = {node.name: node for node in graph.nodes}
    before = {name: [s for s, t in graph.edges if t == name] for name in nodes}
    x = torch.from_numpy(pixels.astype(np.float64) / 255).permute(0, 3, 1, 2)
    flat = len(np.atleast_1d(nodes["input"].parameters["shape"])) == 1
    memory: dict[str, torch.Tensor] = {}
    steps = []
    for _ in range(timesteps):
        values: dict[str, torch.Tensor] = {}

        def value(name: str, values: dict[str, torch.Tensor] = values) -> torch.Tensor:
            if name not in values:
                arriving = [value(source) for source in before[name]]
                total = sum(arriving[1:], arriving[0]) if arriving else None
                values[name] = _through(nodes[name], total, memory, x.flatten(1) if flat else x)
            return values[name]

        steps.append(value("output").flatten(1).numpy())
    return np.stack(steps)


def _through(  # noqa: PLR0911, PLR0912 (a line a kind)
    node: Node, x: torch.Tensor | None, memory: dict[str, torch.Tensor], pixels: torch.Tensor
) -> torch.Tensor:
    p = {
        key: torch.from_numpy(np.asarray(value, np.float64))
        for key, value in node.parameters.items()
        if not isinstance(value, str)
    }

    def pair(key: str) -> Any:
        value = node.parameters[key]
        if isinstance(value, str):
            return value
        numbers = [int(number) for number in np.atleast_1d(value)]
        return numbers[0] if len(numbers) == 1 else tuple(numbers)

    if x is None:
        return pixels
    match node.kind:
        case "Output":
            return x
        case "Flatten":
            return x.flatten(1)
        case "Conv2d":
            padding = pair("padding")
            if padding == "same":  # one more behind, where the total is odd
                x, padding = F.pad(x, _same(p["weight"], pair("dilation"))), 0
            return F.conv2d(
                x, p["weight"], p["bias"], pair("stride"), padding, pair("dilation"), pair("groups")
            )
        case "Affine":
            return F.linear(x, p["weight"], p["bias"])
        case "Scale":
            return x * p["scale"]
        case "BatchNorm2d":
            return F.batch_norm(x, p["mean"], p["var"], p["weight"], p["bias"], eps=1e-5)
        case "AvgPool2d":
            return F.avg_pool2d(x, pair("kernel_size"), pair("stride"), pair("padding"))
        case "SumPool2d":
            return F.avg_pool2d(
                x, pair("kernel_size"), pair("stride"), pair("padding"), divisor_override=1
            )
        case "MaxPool2d":
            return F.max_pool2d(x, pair("kernel_size"), pair("stride"), pair("padding"))
        case "Threshold":
            return (x >= p["threshold"]).double()
        case _:
            return _fired(node, p, x, memory)


def _same(weight: torch.Tensor, dilation: Any) -> list[int]:
    steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    sides = []
    for extent, step in zip(reversed(weight.shape[2:]), reversed(steps), strict=True):
        total = step * (extent - 1)
        sides += [total // 2, total - total // 2]
    return sides


def _fired(
    node: Node, p: dict[str, torch.Tensor], x: torch.Tensor, memory: dict[str, torch.Tensor]
) -> torch.Tensor:
    rest = p.get("v_leak", torch.zeros(()))
    reset = p.get("v_reset", torch.zeros(()))
    v = memory.get(node.name, (reset + torch.zeros_like(x)) if "v_reset" in p else rest + x * 0)
    v = v + (DT / p["tau"] * (rest - v + p["r"] * x) if "tau" in p else DT * p["r"] * x)
    if "v_threshold" not in p:
        memory[node.name] = v
        return v
    spikes = v >= p["v_threshold"]
    memory[node.name] = torch.where(spikes, reset, v)
    return spikes.double()
