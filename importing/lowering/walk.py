"""From a graph to a float network: every node through its rule, all findings at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from spikeserve.importing.graph import Graph, Node
from spikeserve.importing.lowering.emission import Emission
from spikeserve.importing.lowering.findings import Finding, Refusal, Remarks
from spikeserve.importing.lowering.flows import INPUT, Flow, joined, signal_of
from spikeserve.importing.lowering.rules import rule_of
from spikeserve.importing.lowering.shapes import input_shape
from spikeserve.importing.network import Declared, FloatNetwork, Neurons
from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers import Shape

EDGES = "edges"


@dataclass(frozen=True)
class Checked:
    """What was found, and the network where nothing was refused."""

    findings: tuple[Finding, ...]
    network: FloatNetwork | None

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict == "refused")


def lowered(graph: Graph) -> Checked:
    """Look at every node and edge of a graph."""
    findings = list(_structure(graph))
    order = _order(graph, findings)
    if findings:  # the walk needs a graph that can be walked
        findings += [finding for node in graph.nodes if (finding := _alone(node)) is not None]
        return Checked(tuple(findings), None)
    network = _Walk(graph, findings).network(order)
    return Checked(tuple(findings), network)


def _structure(graph: Graph) -> Iterator[Finding]:
    """What is wrong with the edges, before any node is looked at."""
    names = {node.name for node in graph.nodes}
    kinds = Counter(node.kind for node in graph.nodes)
    if not graph.edges:
        yield _edges("the file is incomplete: it has no edges; write it again")
        return
    for source, target in graph.edges:
        for name in (source, target):
            if name not in names:
                yield _edges(f"{source!r} to {target!r}: there is no node {name!r}")
    for kind in ("Input", "Output"):
        if kinds[kind] != 1:
            yield _edges(
                f"{kinds[kind]} nodes are {kind.lower()}s; a classifier has one input and one "
                "output"
            )
    sources, targets = {edge[0] for edge in graph.edges}, {edge[1] for edge in graph.edges}
    for node in graph.nodes:
        if node.kind == "Output" and sum(target == node.name for _, target in graph.edges) > 1:
            yield _edges("several edges end in the output; a classifier has one output")
        if node.kind != "Input" and node.name not in targets:
            yield _edges(f"nothing flows into {node.name!r}; leave it out, or connect it")
        if node.kind != "Output" and node.name not in sources:
            yield _edges(f"nothing reads {node.name!r}; leave it out, or connect it to the output")


def _order(graph: Graph, findings: list[Finding]) -> list[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for node in graph.nodes:
        sorter.add(node.name)
    for source, target in graph.edges:
        sorter.add(target, source)
    try:
        return list(sorter.static_order())
    except CycleError as error:
        circle = list(reversed(error.args[1]))[:8]
        findings.append(
            _edges(
                f"recurrent: {' -> '.join(map(str, circle))} is a cycle; only networks without "
                "feedback are served"
            )
        )
        return []


def _edges(text: str) -> Finding:
    return Finding(EDGES, EDGES, "refused", text)


def _alone(node: Node) -> Finding | None:
    try:
        rule_of(node.kind).examine(node)
    except Refusal as refusal:
        return Finding(node.name, node.kind, "refused", str(refusal))
    return None


class _Walk:
    """Nodes in the order in which values reach them."""

    def __init__(self, graph: Graph, findings: list[Finding]) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._before: dict[str, list[str]] = defaultdict(list)
        self._behind: dict[str, list[str]] = defaultdict(list)
        for source, target in dict.fromkeys(graph.edges):
            self._before[target].append(source)
            self._behind[source].append(target)
        self._findings = findings
        self._flows: dict[str, Flow] = {}
        self._emission = Emission()

    def network(self, order: list[str]) -> FloatNetwork | None:
        network: FloatNetwork | None = None
        for name in order:
            node, remarks = self._nodes[name], Remarks()
            try:
                rule_of(node.kind).examine(node)
                incoming = self._incoming(node)
                if incoming is None:
                    continue  # something before it was refused
                lowered = rule_of(node.kind).lower(node, incoming, remarks)
                if lowered.neurons is not None:
                    self._emission.neurons(incoming, lowered.neurons)
                if node.kind == "Output":
                    network = self._finished(incoming)
                self._flows[name] = lowered.flow
            except (Refusal, InvalidNetwork) as refusal:
                self._findings.append(Finding(name, node.kind, "refused", str(refusal)))
                continue
            shape: Shape = lowered.flow.shape
            self._findings.append(Finding(name, node.kind, remarks.verdict, remarks.text, shape))
        refused = any(finding.verdict == "refused" for finding in self._findings)
        return None if refused else network

    def _finished(self, incoming: Flow) -> FloatNetwork:
        network = self._emission.finish(incoming)
        if not any(isinstance(layer, Declared | Neurons) for layer in network.layers):
            raise Refusal("no neurons are on the way to the output; this is no spiking network")
        if network.classes < 2:
            raise Refusal("one value is put out; a classifier has one output a class, two at least")
        return network

    def _incoming(self, node: Node) -> Flow | None:
        if node.kind == "Input":
            shape, flat = input_shape(node, list(self._readers(node.name)))
            return signal_of(INPUT, shape, flat=flat)
        if any(source not in self._flows for source in self._before[node.name]):
            return None
        flows = [self._flows[source] for source in self._before[node.name]]
        return joined(flows, f"{node.name}.in")

    def _readers(self, name: str) -> Iterator[Node]:
        """Nodes behind the input, nearest first."""
        waiting, seen = [name], {name}
        for at in waiting:
            for target in self._behind[at]:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
                    yield self._nodes[target]
