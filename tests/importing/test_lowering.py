"""Whatever is folded, moved or joined: the network that comes out computes what the graph did."""

from __future__ import annotations

import numpy as np
import pytest

from spikeserve.importing.data.inputs import Inputs, Normalisation
from spikeserve.importing.dynamics.interpreter import interpreted
from spikeserve.importing.dynamics.meaning import DIALECTS, read_all
from spikeserve.importing.graph import Graph
from spikeserve.importing.lowering.walk import lowered
from spikeserve.models.layers import Conv, Linear, Shortcut
from tests.importing.graphs import (
    affine,
    chain,
    conv,
    images,
    neurons,
    outputs,
    plain,
    pool,
)

T = 5
SHAPE = (2, 8, 8)


GRAPHS: dict[str, Graph] = {
    "plain": chain(
        SHAPE, conv("c", 2, 4, padding=1), neurons("n", (4, 8, 8)), plain("f"), affine("a", 256, 5)
    ),
    "spikes are read out": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), plain("f"), affine("a", 144, 5),
        neurons("o", (5,)),
    ),
    "a potential is read out": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6), "LIF"), plain("f"), affine("a", 144, 5),
        neurons("o", (5,), "LI"),
    ),
    "groups": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), conv("d", 4, 8, groups=4),
        neurons("m", (8, 4, 4)), plain("f"), affine("a", 128, 5),
    ),
    "dilation": chain(
        SHAPE, conv("c", 2, 4, dilation=[2, 1], padding=[2, 1]), neurons("n", (4, 8, 8)),
        plain("f"), affine("a", 256, 5),
    ),
    "padding by name, even kernel": chain(
        SHAPE, conv("c", 2, 4, kernel=(4, 3), padding="same"), neurons("n", (4, 8, 8)),
        plain("f"), affine("a", 256, 5),
    ),
    "padding by name, dilated": chain(
        SHAPE, conv("c", 2, 4, kernel=(2, 3), padding="same", dilation=3), neurons("n", (4, 8, 8)),
        plain("f"), affine("a", 256, 5),
    ),
    "no padding by name": chain(
        SHAPE, conv("c", 2, 4, padding="valid"), neurons("n", (4, 6, 6)), plain("f"),
        affine("a", 144, 5),
    ),
    "rectangles": chain(
        SHAPE, conv("c", 2, 4, kernel=(3, 5), stride=[1, 2], padding=[0, 2]),
        neurons("n", (4, 6, 4)), plain("f"), affine("a", 96, 5),
    ),
    "average pool before neurons": chain(
        SHAPE, conv("c", 2, 4, padding=1), pool("p"), neurons("n", (4, 4, 4)), plain("f"),
        affine("a", 64, 5),
    ),
    "overlapping pool before neurons": chain(
        SHAPE, conv("c", 2, 4, stride=2, padding=1), pool("p", kernel=3, stride=1),
        neurons("n", (4, 2, 2)), plain("f"), affine("a", 16, 5),
    ),
    "average pool on the input": chain(
        SHAPE, pool("p"), conv("c", 2, 4), neurons("n", (4, 2, 2)), plain("f"), affine("a", 16, 5)
    ),
    "pools behind spikes": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), pool("p", "SumPool2d"), conv("d", 4, 4),
        neurons("m", (4, 1, 1)), plain("f"), affine("a", 4, 5),
    ),
    "two pools behind spikes": chain(
        SHAPE, conv("c", 2, 4, padding=1), neurons("n", (4, 8, 8)), pool("p", "MaxPool2d"),
        pool("q"), conv("d", 4, 6, kernel=2), neurons("m", (6, 1, 1)), plain("f"),
        affine("a", 6, 5),
    ),
    "padded average pool behind spikes": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), pool("p", kernel=3, stride=2, padding=1),
        plain("f"), affine("a", 36, 5),
    ),
    "scales": chain(
        SHAPE, plain("s", "Scale", scale=np.array([[[2.0]], [[0.5]]])), conv("c", 2, 4),
        plain("t", "Scale", scale=np.arange(1.0, 5)[:, None, None]), neurons("n", (4, 6, 6)),
        plain("u", "Scale", scale=0.7), plain("f"), affine("a", 144, 5),
    ),
    "batch-norm": chain(
        SHAPE, conv("c", 2, 4),
        plain("b", "BatchNorm2d", mean=[0.1, 0.2, 0.3, 0.4], var=[1, 2, 0.5, 1.0],
              weight=[1, 1.5, 2, 0.5], bias=[0.1, 0, 0.2, 0.3]),
        neurons("n", (4, 6, 6)), plain("f"), affine("a", 144, 5),
    ),
    "two linear layers": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), plain("f"), affine("a", 144, 20),
        affine("ab", 20, 5),
    ),
    "two convolutions": chain(
        SHAPE, conv("c", 2, 3, padding=1, stride=2), conv("cd", 3, 4, kernel=2),
        neurons("n", (4, 3, 3)), plain("f"), affine("a", 36, 5),
    ),
    "a convolution before a linear layer": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), conv("d", 4, 3, padding=1), plain("f"),
        affine("a", 108, 5),
    ),
    "a convolution reads out": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), conv("d", 4, 5, kernel=6), plain("f")
    ),
    "a map is read out": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), conv("d", 4, 2, kernel=5), plain("f")
    ),
    "neurons of a map are read out": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), conv("d", 4, 2, kernel=5),
        neurons("m", (2, 2, 2)), plain("f"),
    ),
    "votes": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (4, 6, 6)), conv("d", 4, 5, kernel=3),
        neurons("m", (5, 4, 4)), pool("p", kernel=4), plain("f"),
    ),
    "flat neurons": chain(
        SHAPE, conv("c", 2, 4), plain("f"), neurons("n", (144,)), affine("a", 144, 5)
    ),
    "pixels meet neurons": chain(
        SHAPE, neurons("n", SHAPE, v_threshold=np.full(SHAPE, 0.4)), plain("f"),
        affine("a", 128, 5),
    ),
    "neurons without memory": chain(
        SHAPE, conv("c", 2, 4), plain("n", "Threshold", threshold=np.full((4, 6, 6), 0.3)),
        plain("f"), affine("a", 144, 5),
    ),
    "numbers a channel": chain(
        SHAPE, conv("c", 2, 4),
        neurons("n", (4, 6, 6), "LIF",
                v_threshold=np.array([0.3, 0.5, 0.8, 1.0])[:, None, None] * np.ones((4, 6, 6)),
                v_leak=np.array([0.0, 0.1, -0.1, 0.2])[:, None, None] * np.ones((4, 6, 6)),
                v_reset=np.array([0.1, 0.0, -0.2, 0.1])[:, None, None] * np.ones((4, 6, 6))),
        plain("f"), affine("a", 144, 5),
    ),
    "one number for all": chain(
        SHAPE, conv("c", 2, 4), neurons("n", (), v_threshold=0.5), plain("f"), affine("a", 144, 5)
    ),
    "currents join": chain(
        SHAPE, conv("c", 2, 4, padding=1), neurons("n", (4, 8, 8)), conv("d", 4, 4, padding=1),
        neurons("m", (4, 8, 8)), plain("f"), affine("a", 256, 5),
        more=(("n", "k"), ("k", "m")),
    ),
    "spikes join currents": chain(
        SHAPE, conv("c", 2, 4, padding=1), neurons("n", (4, 8, 8)), conv("d", 4, 4, padding=1),
        neurons("m", (4, 8, 8)), conv("e", 4, 4, padding=1), neurons("o", (4, 8, 8)), plain("f"),
        affine("a", 256, 5), more=(("n", "o"),),
    ),
    "pooled spikes join currents": chain(
        SHAPE, conv("c", 2, 4, padding=1), neurons("n", (4, 8, 8)),
        conv("d", 4, 4, padding=1, stride=2), neurons("m", (4, 4, 4)),
        conv("e", 4, 6, padding=1), neurons("o", (6, 4, 4)), plain("f"), affine("a", 96, 5),
        more=(("n", "p"), ("p", "k"), ("k", "o")),
    ),
    "a row of numbers": chain(
        (12,), affine("a", 12, 20), neurons("n", (20,)), affine("ab", 20, 5), neurons("o", (5,))
    ),
}  # fmt: skip
BESIDE = {
    "currents join": [conv("k", 4, 4, kernel=1, seed=3)],
    "pooled spikes join currents": [pool("p"), conv("k", 4, 6, kernel=1, seed=3)],
}
"""Nodes that are no part of the chain."""


def whole(name: str) -> Graph:
    graph = GRAPHS[name]
    return Graph((*graph.nodes, *BESIDE.get(name, [])), graph.edges)


@pytest.mark.parametrize("name", GRAPHS)
def test_what_comes_out_computes_what_the_graph_did(name: str) -> None:
    graph = whole(name)
    found = lowered(graph)
    assert found.network is not None, found.refusals
    shape = np.atleast_1d(graph.nodes[0].parameters["shape"]).astype(int).tolist()
    pixels = images(shape)
    expected = outputs(graph, pixels, T)
    network = read_all(found.network, DIALECTS["spikingjelly"])
    inputs = Inputs(pixels, Normalisation.plain(pixels.shape[3]))
    answer = interpreted(network, inputs, T)
    assert np.ptp(expected) > 0
    assert answer.outputs.reshape(expected.shape) == pytest.approx(expected, abs=1e-6)


def test_what_can_be_said_as_it_is_stays_as_it_is() -> None:
    def layers(name: str) -> list[object]:
        network = lowered(whole(name)).network
        assert network is not None
        return [getattr(layer, "layer", layer) for layer in network.layers]

    grouped = next(layer for layer in layers("groups")[2:] if isinstance(layer, Conv))
    assert grouped.groups == 4
    joined = layers("spikes join currents")
    assert [layer.projects for layer in joined if isinstance(layer, Shortcut)] == [False]
    assert not any(isinstance(layer, Shortcut) for layer in layers("currents join"))
    assert [layer.pool for layer in layers("pooled spikes join currents")
            if isinstance(layer, Shortcut)] == [2]  # fmt: skip
    assert isinstance(layers("a convolution reads out")[-1], Linear)


def test_findings_tell_what_became_of_every_node() -> None:
    graph = whole("scales")
    found = {finding.node: finding for finding in lowered(graph).findings}
    assert set(found) == {node.name for node in graph.nodes}
    assert found["t"].verdict == "folded"
    assert found["c"].shape == (6, 6, 4)
