"""What one timestep of a module computes, as a graph.

``torch.fx`` records the forward pass. From what it puts out, values are followed back to the input,
never along the neurons' states: of a forward pass that loops over timesteps and stacks what the
last neurons put out, only the last timestep is met.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.findings import Finding, Refusal
from spikeserve.importing.graph import Edge, Graph, Node
from spikeserve.importing.torch.modules import LAYERS, is_left_out, layer
from spikeserve.importing.torch.neurons import dynamics, framework_of, is_neuron

INPUT, OUTPUT = "input", "output"
CONTAINERS = ("SeqToANNContainer", "MultiStepContainer", "StepModeContainer")
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
FLATTENING = (torch.flatten, "flatten", "view", "reshape")
UNCHANGED = ("contiguous", "float", "clone", "detach", "to")
STACKING = (torch.stack, torch.cat)


@dataclass
class Traced:
    """A graph, and what of the module has no place in it."""

    graph: Graph
    findings: list[Finding] = field(default_factory=list)


class _Tracer(fx.Tracer):
    """Layers and neurons are whole; wrappers that only fold time into the batch are looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_neuron(m) or is_left_out(m) or isinstance(m, LAYERS):
            return True
        if type(m).__name__ in CONTAINERS or isinstance(m, nn.Sequential):
            return False
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if isinstance(m, nn.Sequential):
            forward = _in_order(m)
        return super().call_module(m, forward, args, kwargs)


def _in_order(module: nn.Sequential) -> Callable[[Any], Any]:
    def forward(x: Any) -> Any:
        for part in module:
            x = part(x)
        return x

    return forward


def traced(module: nn.Module, example: Tensor, sizes: dict[str, tuple[int, ...]]) -> Traced:
    """The graph of one timestep.

    Args:
        example: a batch of inputs ``[N, C, H, W]`` or ``[N, C]``.
        sizes: what every layer received, without batch and time, by the layer's name.

    Raises:
        ImportRefused: the forward pass cannot be recorded.
    """
    root = nn.Sequential(module) if is_neuron(module) else module
    try:
        recorded = _Tracer().trace(root)
    except Exception as error:  # whatever the user's forward pass raises
        raise ImportRefused(
            f"the forward pass cannot be recorded ({type(error).__name__}: {error}); it may not "
            "depend on values or shapes of its input: loop over a fixed number of timesteps"
        ) from error
    return _Walk(dict(root.named_modules()), sizes).walked(recorded, tuple(example.shape[1:]))


class _Walk:
    def __init__(self, modules: dict[str, nn.Module], sizes: dict[str, tuple[int, ...]]) -> None:
        self._modules, self._sizes = modules, sizes
        self._nodes: dict[str, Node] = {}
        self._edges: list[Edge] = []
        self._findings: list[Finding] = []
        self._made: dict[tuple[fx.Node, bool], str] = {}

    def walked(self, recorded: fx.Graph, shape: tuple[int, ...]) -> Traced:
        self._add(Node(INPUT, "Input", {"shape": shape}))
        self._add(Node(OUTPUT, "Output", {}))
        put_out = next(node for node in recorded.nodes if node.op == "output").args[0]
        self._edges.append((self._source(_last(put_out)), OUTPUT))
        framework = next((f for m in self._modules.values() if (f := framework_of(m))), "torch")
        graph = Graph(tuple(self._nodes.values()), tuple(self._edges), framework)
        return Traced(graph, self._findings)

    def _add(self, node: Node, *sources: str) -> str:
        self._nodes[node.name] = node
        self._edges += [(source, node.name) for source in sources]
        return node.name

    def _source(self, node: fx.Node, *, membrane: bool = False) -> str:
        """The graph's node that puts out what fx's node does."""
        key = (node, membrane)
        if key not in self._made:
            self._made[key] = self._visited(node, membrane=membrane)
        return self._made[key]

    def _visited(self, node: fx.Node, *, membrane: bool) -> str:
        if node.op == "placeholder":
            return INPUT
        if node.op == "call_module":
            return self._module(node, membrane=membrane)
        first = node.args[0] if node.args else None
        if not isinstance(first, fx.Node | list | tuple):
            return self._unknown(node)
        return self._called(node, first)

    def _called(self, node: fx.Node, first: Any) -> str:
        """A function or a tensor's method."""
        target: Any = node.target
        terms = [term for term in node.args[:2] if isinstance(term, fx.Node)]
        if target is operator.getitem and isinstance(first, fx.Node):
            return self._item(first, node.args[1])
        if target in ADDITIONS and len(terms) == 2:
            return self._sum(node.name, [self._source(term) for term in terms])
        if target in FLATTENING:
            return self._add(Node(node.name, "Flatten", {}), self._source(_last(first)))
        if target in STACKING or target in UNCHANGED:
            return self._source(_last(first))
        return self._unknown(node)

    def _item(self, of: fx.Node, which: Any) -> str:
        """Spikes or membrane of neurons; else one timestep of a sequence."""
        neurons = of.op == "call_module" and is_neuron(self._modules[str(of.target)])
        return self._source(of, membrane=neurons and which in (1, -1))

    def _sum(self, name: str, terms: list[str]) -> str:
        """Several edges into one node are a sum; a scale of 1 is where they meet."""
        one = Node(name, "Scale", {"scale": torch.ones(()).double().numpy()})
        return self._add(one, *terms)

    def _module(self, node: fx.Node, *, membrane: bool) -> str:
        name = str(node.target)
        module, first = self._modules[name], node.args[0]
        assert isinstance(first, fx.Node)
        before = self._source(first)
        if is_left_out(module):
            return before
        if name in self._nodes:
            self._refuse(
                name,
                type(module).__name__,
                "is used twice in a timestep; weights and states of its own for each use",
            )
            return name
        try:
            if is_neuron(module):
                found = Node(name, "Neurons", dynamics(module, membrane=membrane))
            else:
                found = Node(name, *layer(module, self._sizes.get(name, ())))
        except Refusal as refusal:
            self._refuse(name, type(module).__name__, str(refusal))
            found = Node(name, "Scale", {"scale": torch.ones(()).double().numpy()})
        return self._add(found, before)

    def _unknown(self, node: fx.Node) -> str:
        name = getattr(node.target, "__name__", str(node.target))
        self._refuse(
            node.name,
            name,
            f"{name} has no place in a served network; layers, flatten and additions have",
        )
        before = [self._source(one) for one in node.all_input_nodes] or [INPUT]
        return self._sum(node.name, before)

    def _refuse(self, name: str, kind: str, text: str) -> None:
        self._findings.append(Finding(name, kind, "refused", text))


def _last(value: Any) -> fx.Node:
    """The first of several outputs, and of a list over time the last timestep."""
    while not isinstance(value, fx.Node):
        if not isinstance(value, list | tuple) or not value:
            raise ImportRefused(f"the forward pass puts out {value!r}; spikes or logits are meant")
        value = value[-1] if isinstance(value, list) else value[0]
    return value
