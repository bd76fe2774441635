"""NIR files, read without trusting them: what is there, within bounds, and nothing else.

A ``.nir`` file is HDF5: ``node/nodes/<name>`` holds a node's ``type`` and its parameters,
``node/edges`` names of sources and targets. Its own library reads whatever a file says; here sizes
are looked at before anything is read, and stored shapes are not believed.

Source: NIR, https://github.com/neuromorphs/NIR.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.graph import Edge, Graph, Node

if TYPE_CHECKING:
    import h5py

MAX_FILE_BYTES = 1 << 30
MAX_NODES, MAX_EDGES, MAX_PARAMETERS = 4096, 16384, 64
MAX_VALUES = 1 << 27  # of all parameters together, as they are when unpacked
MAX_NAME = 200
NUMBERS = "fiub"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
NESTED = "NIRGraph"
DESCRIBING = ("input_type", "output_type", "metadata")
"""Of a node, what is no parameter: shapes that its library inferred, and remarks."""


def parsed(path: Path) -> Graph:
    """The graph in a file, read in this process: the HDF5 library may crash or hang on a damaged
    one (:func:`spikeserve.importing.nir.isolated.read`).

    Raises:
        ImportRefused: no NIR file, damaged, or beyond the bounds; names the file and what is wrong.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportRefused(
            "NIR files need h5py, which serving does without: pip install 'spikeserve[import]'"
        ) from error
    _check_file(path)
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path, h5py).graph(file)
    except ImportRefused:
        raise
    except RecursionError as error:
        raise ImportRefused(f"{path}: groups lie too deep in each other; damaged?") from error
    except Exception as error:  # h5py raises almost anything where a file is damaged
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ImportRefused(
            f"{path} cannot be read: truncated or damaged HDF5 ({reason}); write it again"
        ) from error


def _check_file(path: Path) -> None:
    try:
        if not path.exists():
            raise ImportRefused(f"{path} does not exist")
        if not path.is_file():
            raise ImportRefused(f"{path} is no file; a network is one .nir file")
        size = path.stat().st_size
        with path.open("rb") as file:
            begins = file.read(len(SIGNATURE))
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror or error}") from error
    if size > MAX_FILE_BYTES:
        raise ImportRefused(f"{path} has {size:,} bytes; up to {MAX_FILE_BYTES:,} are read")
    if begins != SIGNATURE:
        empty = "is empty" if not size else "is no HDF5 file, so no NIR file"
        raise ImportRefused(f"{path} {empty}; write the network with nir.write")


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path, library: Any) -> None:
        self._path = path
        self._h5py = library

    def graph(self, file: h5py.File) -> Graph:
        root = self._member(file, "node", self._h5py.Group)
        if root is None:
            raise self._refused("has no group 'node', so it is no NIR file; write it by nir.write")
        version = self._member(file, "version", self._h5py.Dataset)
        nodes = self._member(root, "nodes", self._h5py.Group)
        if nodes is None:
            raise self._refused("is incomplete: it has no nodes; its writer failed half way")
        self._weigh(nodes)
        found = tuple(self._nodes(nodes))
        edges = self._member(root, "edges", self._h5py.Dataset)
        if edges is None:
            raise self._refused(
                f"is incomplete: {len(found)} nodes and no edges; its writer failed half way "
                "(norse's does, where it knows no node for a module)"
            )
        said = None if version is None else self._text(version, "version")
        return Graph(found, self._edges(edges), None if said is None else f"nir {said}")

    def _weigh(self, nodes: h5py.Group) -> None:
        """Add up what all parameters claim before one is unpacked: a few bytes may claim
        gigabytes."""
        if len(nodes) > MAX_NODES:
            raise self._refused(f"has {len(nodes):,} nodes; up to {MAX_NODES:,} are read")
        values = 0
        for node in nodes:
            group = self._member(nodes, node, self._h5py.Group)
            if group is None:
                continue
            if len(group) > MAX_PARAMETERS:
                raise self._refused(f"node {node!r} has {len(group):,} members")
            for name in group:
                dataset = self._member(group, name, self._h5py.Dataset)
                values += 0 if dataset is None else math.prod(dataset.shape or ())
                if values > MAX_VALUES:
                    raise self._refused(
                        f"claims more than {MAX_VALUES:,} numbers, at {node}/{name}"
                    )

    def _nodes(self, group: h5py.Group) -> Iterator[Node]:
        for name in group:
            self._check_name(name)
            member = self._member(group, name, self._h5py.Group)
            if member is None:
                raise self._refused(f"node {name!r} is no group")
            yield self._node(name, member)

    def _node(self, name: str, group: h5py.Group) -> Node:
        kind = self._member(group, "type", self._h5py.Dataset)
        if kind is None:
            raise self._refused(f"is incomplete: node {name!r} has no type")
        kind_name = self._text(kind, f"{name}/type")
        if kind_name == NESTED:
            return Node(name, kind_name, {})
        parameters: dict[str, Any] = {}
        for key in group:
            self._check_name(key)
            if key == "type" or key in DESCRIBING:
                continue
            member = self._member(group, key, self._h5py.Dataset)
            if member is None:
                raise self._refused(f"{name}/{key} is no array")
            parameters[key] = self._value(member, f"{name}/{key}")
        return Node(name, kind_name, parameters)

    def _edges(self, dataset: h5py.Dataset) -> tuple[Edge, ...]:
        if dataset.shape == (0,) or dataset.size == 0:
            return ()
        if len(dataset.shape) != 2 or dataset.shape[1] != 2 or len(dataset) > MAX_EDGES:
            raise self._refused(
                f"edges are {dataset.shape}; pairs of names are expected, {MAX_EDGES:,} at most"
            )
        names = [[_decoded(name) for name in pair] for pair in dataset[()].tolist()]
        if any(name is None or len(name) > MAX_NAME for pair in names for name in pair):
            raise self._refused("edges are no names of nodes")
        return tuple((str(source), str(target)) for source, target in names)

    def _value(self, dataset: h5py.Dataset, where: str) -> Any:
        if self._h5py.check_string_dtype(dataset.dtype) is not None:
            return self._text(dataset, where)
        if dataset.dtype.kind not in NUMBERS or dataset.dtype.itemsize > 8:
            raise self._refused(f"{where} holds {dataset.dtype}, no numbers")
        if dataset.shape is None:
            raise self._refused(f"{where} is empty")
        return np.asarray(dataset[()], np.float64)

    def _text(self, dataset: h5py.Dataset, where: str) -> str:
        if dataset.shape != () or self._h5py.check_string_dtype(dataset.dtype) is None:
            raise self._refused(f"{where} is no text")
        length = self._h5py.check_string_dtype(dataset.dtype).length
        if length is not None and length > MAX_NAME:
            raise self._refused(f"{where} is a text of {length:,} bytes")
        text = _decoded(dataset[()])
        if text is None or len(text) > MAX_NAME:
            raise self._refused(f"{where} is no short text")
        return text

    def _member(self, group: h5py.Group, name: str, kind: type[Any]) -> Any:
        """A member of the group itself; links elsewhere are not followed."""
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, self._h5py.HardLink):
            raise self._refused(f"{name!r} is a link to another place, which is not followed")
        member = group[name]
        if not isinstance(member, kind):
            return None
        if isinstance(member, self._h5py.Dataset) and (member.external or member.is_virtual):
            raise self._refused(f"{name!r} lies in other files, which are not read")
        return member

    def _check_name(self, name: str) -> None:
        if not name.isprintable() or len(name) > MAX_NAME:
            raise self._refused(f"a name is too long or not printable: {name[:40]!a}")

    def _refused(self, what: str) -> ImportRefused:
        return ImportRefused(f"{self._path} {what}")


def _decoded(value: Any) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None
