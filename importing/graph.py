"""A network as somebody else wrote it down: nodes and edges, nothing checked yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Edge = tuple[str, str]


@dataclass(frozen=True)
class Node:
    """One node, as the file or module has it.

    ``kind`` is NIR's name (``Conv2d``, ``Affine``, ``Scale``, ``Flatten``, ``AvgPool2d``, ``IF``,
    ``LIF``, ``LI``, ``Input``, ``Output``, …), or one that modules have and NIR has not
    (``MaxPool2d``, ``BatchNorm2d``; ``Neurons``, whose dynamics are known).
    """

    name: str
    kind: str
    parameters: Mapping[str, Any]
    """NIR's names; numpy arrays, numbers or strings. Of ``Neurons``: the fields of
    :class:`spikeserve.importing.network.Neurons` but name and shape."""


@dataclass(frozen=True)
class Graph:
    """Nodes by any order, edges from source to target."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    writer: str | None = None
    """What the file says of its version, or the framework that a module comes from."""
