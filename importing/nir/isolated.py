"""A file read in a process of its own, bounded in time and memory.

The HDF5 library is C: a damaged file can make it crash, or turn in a circle for ever, where no
exception reaches. ``python -m spikeserve.importing.nir.isolated FILE`` writes what it has read to
its standard output: the graph as JSON behind its length, then all arrays as safetensors.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.graph import Graph, Node
from spikeserve.importing.nir.hdf5 import parsed

SECONDS = 60
MEMORY_BYTES = 8 << 30
REFUSED = 3
"""Exit status of a process that says why on its standard error."""
LENGTH = Struct("<Q")


def read(path: Path) -> Graph:
    """The graph in a NIR file.

    Raises:
        ImportRefused: no NIR file, damaged, or beyond the bounds; names the file and what is wrong.
    """
    command = [sys.executable, "-m", "spikeserve.importing.nir.isolated", str(path)]
    try:
        result = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImportRefused(
            f"{path} cannot be read in {SECONDS} seconds: it is damaged; write it again"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        raise ImportRefused(f"{str(path)!a} cannot be read: {error}") from error
    if result.returncode == REFUSED:
        raise ImportRefused(result.stderr.decode(errors="replace").strip())
    if result.returncode:
        raise ImportRefused(
            f"{path} cannot be read: the HDF5 library failed at it (status {result.returncode}); "
            "it is damaged: write it again"
        )
    return unpacked(result.stdout)


def packed(graph: Graph) -> bytes:
    """A graph as bytes."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    nodes = []
    for index, node in enumerate(graph.nodes):
        texts = {}
        for name, value in node.parameters.items():
            if isinstance(value, str):
                texts[name] = value
            else:
                arrays[f"{index}/{name}"] = np.asarray(value)
        nodes.append([node.name, node.kind, texts])
    shapes = {name: array.shape for name, array in arrays.items()}
    document = {"nodes": nodes, "edges": graph.edges, "writer": graph.writer, "shapes": shapes}
    head = json.dumps(document).encode()
    flat = {name: array.ravel() for name, array in arrays.items()}
    return LENGTH.pack(len(head)) + head + save(flat)


def unpacked(data: bytes) -> Graph:
    """The inverse of :func:`packed`."""
    (length,) = LENGTH.unpack_from(data)
    behind = LENGTH.size + length
    document = json.loads(data[LENGTH.size : behind])
    parameters: list[dict[str, Any]] = [dict(texts) for _, _, texts in document["nodes"]]
    for key, array in load(data[behind:]).items():
        index, _, name = key.partition("/")
        parameters[int(index)][name] = array.reshape(document["shapes"][key])
    nodes = [
        Node(name, kind, given)
        for (name, kind, _), given in zip(document["nodes"], parameters, strict=True)
    ]
    edges = tuple((source, target) for source, target in document["edges"])
    return Graph(tuple(nodes), edges, document["writer"])


def main(arguments: list[str]) -> int:
    with suppress(ImportError, ValueError, OSError):  # no such limits on this system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        data = packed(parsed(Path(arguments[0])))
    except ImportRefused as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    sys.stdout.buffer.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
