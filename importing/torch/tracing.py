"""What one timestep of a module computes, as a graph.

``torch.fx`` records the forward pass. From what it puts out, values are followed back to the input,
never along the neurons' states: of a forward pass that loops over timesteps and stacks what the
last neurons put out, only the last timestep is met.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, fx, nn

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.graph import Edge, Graph, Node
from spikeserve.importing.lowering.findings import Finding, Refusal
from spikeserve.importing.torch.frameworks import NORSE, framework_of, is_neuron
from spikeserve.importing.torch.modules import is_layer, is_left_out, is_weightless, layer
from spikeserve.importing.torch.neurons import dynamics, refusals
from spikeserve.importing.torch.operations import (
    ADDITIONS,
    RESHAPING,
    SCALINGS,
    STACKING,
    UNCHANGED,
    factor_of,
    is_over_time,
    module_of,
    reshaping,
)

INPUT, OUTPUT = "input", "output"
CONTAINERS = ("SeqToANNContainer", "MultiStepContainer", "StepModeContainer", "Lift", "Repeat")
REFUSED = "refused"
"""The kind of nodes that no rule knows: what is behind them is not looked at."""
Reduction = Literal["sum", "mean"]


@dataclass
class Traced:
    """A graph, and what of the module has no place in it."""

    graph: Graph
    findings: list[Finding] = field(default_factory=list)
    reduction: Reduction | None = None
    """How the module adds up its timesteps, where it does."""


class _Tracer(fx.Tracer):
    """Layers and neurons are whole; wrappers that only fold time into the batch are looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_neuron(m) or is_left_out(m) or is_layer(m):
            return True
        if type(m).__name__ in CONTAINERS or isinstance(m, nn.Sequential):
            return False
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if isinstance(m, nn.Sequential):
            forward = _in_order(m)
        elif type(m).__name__ in CONTAINERS:  # Lift and Repeat hold one module
            forward = next(m.children())
        return super().call_module(m, forward, args, kwargs)


def _in_order(module: nn.Sequential) -> Callable[..., Any]:
    """Its parts' outputs; norse's come with states, which need no place."""

    def forward(x: Any, *_states: Any) -> Any:
        for part in module:
            x = part(x)
            if isinstance(x, tuple) or (is_neuron(part) and framework_of(part) == NORSE):
                x = x[0]
        return (x, None) if type(module).__name__ == "SequentialState" else x

    return forward


def traced(module: nn.Module, example: Tensor, sizes: dict[str, tuple[int, ...]]) -> Traced:
    """The graph of one timestep.

    Args:
        example: a batch of inputs ``[N, C, H, W]`` or ``[N, C]``.
        sizes: what every layer received, without batch and time, by the layer's name.

    Raises:
        ImportRefused: the forward pass cannot be recorded.
    """
    whole = is_neuron(module) or type(module).__name__ in ("SequentialState", *CONTAINERS)
    root = nn.Sequential(module) if whole else module
    sizes = {f"0.{name}": size for name, size in sizes.items()} if whole else sizes
    try:
        recorded = _Tracer().trace(root)
    except Exception as error:  # whatever the user's forward pass raises
        raise ImportRefused(
            f"the forward pass cannot be recorded ({type(error).__name__}: {error}); it may not "
            "depend on values or shapes of its input: loop over a fixed number of timesteps"
            f"{refusals(dict(root.named_modules()))}"
        ) from error
    return _Walk(dict(root.named_modules()), sizes).walked(recorded, tuple(example.shape[1:]))


class _Walk:
    def __init__(self, modules: dict[str, nn.Module], sizes: dict[str, tuple[int, ...]]) -> None:
        self._modules, self._sizes = modules, sizes
        self._nodes: dict[str, Node] = {}
        self._edges: list[Edge] = []
        self._findings: list[Finding] = []
        self._made: dict[tuple[fx.Node, bool], str] = {}
        self._positions: dict[fx.Node, int] = {}
        self._reduction: Reduction | None = None

    def walked(self, recorded: fx.Graph, shape: tuple[int, ...]) -> Traced:
        self._positions = {node: index for index, node in enumerate(recorded.nodes)}
        self._add(Node(INPUT, "Input", {"shape": shape}))
        self._add(Node(OUTPUT, "Output", {}))
        put_out = next(node for node in recorded.nodes if node.op == "output").args[0]
        self._edges.append((self._source(_last(put_out)), OUTPUT))
        framework = next((f for m in self._modules.values() if (f := framework_of(m))), "torch")
        graph = Graph(tuple(self._nodes.values()), tuple(self._edges), framework)
        return Traced(graph, self._findings, self._reduction)

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
        if isinstance(first, int | float) and node.all_input_nodes:  # a number times a value
            first = node.all_input_nodes[0]
        if not isinstance(first, fx.Node | list | tuple):
            return self._unknown(node)
        return self._called(node, first)

    def _called(self, node: fx.Node, first: Any) -> str:
        """A function or a tensor's method."""
        target: Any = node.target
        if target is operator.getitem and isinstance(first, fx.Node):
            return self._item(first, node.args[1])
        if target in ADDITIONS:
            return self._added(node)
        if (module := module_of(node)) is not None:
            return self._layer(node.name, module, self._source(_last(first)))
        if target in SCALINGS and (factor := factor_of(node)) is not None:
            return self._scaled(node.name, factor, self._source(node.all_input_nodes[0]))
        return self._rearranged(node, _last(first))

    def _rearranged(self, node: fx.Node, of: fx.Node) -> str:
        """Values as they are, in another order, or added up over time."""
        target: Any = node.target
        if target in RESHAPING:
            return self._reshaped(node, of)
        if is_over_time(node):
            self._reduction = "mean" if "mean" in str(target) else "sum"
            return self._source(of)
        if target in STACKING or target in UNCHANGED:
            return self._source(of)
        return self._unknown(node)

    def _reshaped(self, node: fx.Node, of: fx.Node) -> str:
        try:
            if reshaping(node) == "same":
                return self._source(of)
        except Refusal as refusal:
            return self._refuse(node.name, _name_of(node), str(refusal), self._source(of))
        return self._add(Node(node.name, "Flatten", {}), self._source(of))

    def _added(self, node: fx.Node) -> str:
        """Currents, or the timesteps of what is put out."""
        terms = [term for term in node.args[:2] if not self._is_zero(term)]
        if len(terms) == 1 and isinstance(terms[0], fx.Node):
            return self._source(terms[0])
        nodes = [term for term in terms if isinstance(term, fx.Node)]
        if len(nodes) != 2:
            return self._unknown(node)
        if _ends(nodes[0]) == _ends(nodes[1]):  # the same layer's outputs of several timesteps
            self._reduction = "sum"
            return self._source(max(nodes, key=self._positions.__getitem__))
        return self._sum(node.name, [self._source(term) for term in nodes])

    def _item(self, of: fx.Node, which: Any) -> str:
        """Spikes or membrane of neurons; else one timestep of a sequence."""
        neurons = of.op == "call_module" and is_neuron(self._modules[str(of.target)])
        return self._source(of, membrane=neurons and which in (1, -1))

    def _is_zero(self, term: Any) -> bool:
        """Whether a sum over time begins with it."""
        if isinstance(term, fx.Node) and term.op == "get_attr":
            value = getattr(self._modules[""], str(term.target), None)
            return isinstance(value, Tensor) and not value.any()
        return isinstance(term, int | float) and term == 0

    def _sum(self, name: str, terms: list[str]) -> str:
        """Several edges into one node are a sum; a scale of 1 is where they meet."""
        return self._scaled(name, 1.0, *terms)

    def _scaled(self, name: str, factor: float, *terms: str) -> str:
        return self._add(Node(name, "Scale", {"scale": np.asarray(factor)}), *terms)

    def _module(self, node: fx.Node, *, membrane: bool) -> str:
        name = str(node.target)
        module, first = self._modules[name], node.args[0]
        assert isinstance(first, fx.Node)
        before = self._source(first)
        if is_left_out(module):
            return before
        if is_weightless(module):
            return self._layer(node.name, module, before, sized_as=name)
        if name in self._nodes:
            self._findings.append(_refused(name, type(module).__name__, TWICE))
            return name
        return self._layer(name, module, before, membrane=membrane)

    def _layer(
        self,
        name: str,
        module: nn.Module,
        before: str,
        *,
        membrane: bool = False,
        sized_as: str | None = None,
    ) -> str:
        try:
            if is_neuron(module):
                found = Node(name, "Neurons", dynamics(module, membrane=membrane))
            else:
                found = Node(name, *layer(module, self._sizes.get(sized_as or name, ())))
        except Refusal as refusal:
            return self._refuse(name, type(module).__name__, str(refusal), before)
        return self._add(found, before)

    def _unknown(self, node: fx.Node) -> str:
        name = _name_of(node)
        before = [self._source(one) for one in node.all_input_nodes] or [INPUT]
        text = f"{name} has no place in a served network; layers, flatten and additions have"
        return self._refuse(node.name, name, text, *before)

    def _refuse(self, name: str, kind: str, text: str, *before: str) -> str:
        self._findings.append(_refused(name, kind, text))
        return self._add(Node(name, REFUSED, {}), *before)


TWICE = "is used twice in a timestep; weights and states of its own for each use"


def _refused(name: str, kind: str, text: str) -> Finding:
    return Finding(name, kind, "refused", text)


def _name_of(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _ends(node: fx.Node) -> frozenset[Any]:
    """What a sum adds up: layers' outputs, by layer and by what was done to them since."""
    if node.op == "call_module":
        return frozenset([node.target])
    if node.op == "get_attr":
        return frozenset()
    ends = [_ends(term) for term in node.all_input_nodes]
    if node.target in ADDITIONS:
        return frozenset().union(*ends)
    done = tuple(one for one in node.args if isinstance(one, int | float | str))
    return frozenset([(str(node.target), done, *ends)])


def _last(value: Any) -> fx.Node:
    """The first of several outputs, and of a list over time the last timestep."""
    while not isinstance(value, fx.Node):
        if not isinstance(value, list | tuple) or not value:
            raise ImportRefused(f"the forward pass puts out {value!r}; spikes or logits are meant")
        value = value[-1] if isinstance(value, list) else value[0]
    return value
