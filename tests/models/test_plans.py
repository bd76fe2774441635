"""Networks from plans have the papers' sizes, and impossible ones are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers import Conv, Lif, Linear, Pool, Shape, Shortcut
from spikeserve.models.network import Network
from spikeserve.models.plans import PLANS, planned

CIFAR = (32, 32, 3)


@pytest.mark.parametrize(
    ("name", "macs", "parameters", "layers"),
    [
        ("vgg6", 67_840_000, 9_670_336, 6),
        ("vgg9", 258_680_832, 8_965_824, 9),
        ("vgg11", 523_970_560, 14_143_168, 11),
        ("vgg16", 313_201_664, 14_715_584, 14),  # 313 MMAC and 14.7 M weights
        ("resnet19", 2_268_468_224 + 16_777_216, 12_394_880 + 163_840, 18),  # 2.27 GMAC, and 1x1s
    ],
)
def test_networks_have_the_papers_sizes(name: str, macs: int, parameters: int, layers: int) -> None:
    network = planned(PLANS[name], CIFAR, 10)
    assert network.macs == macs
    assert network.parameters == parameters
    assert sum(isinstance(layer, Conv | Linear) for layer in network.layers) == layers


def test_a_residual_block_adds_its_input_before_it_fires() -> None:
    network = planned(("64", "R64", "R128/2", "G"), CIFAR, 10)
    names = [layer.name for layer in network.layers]
    assert names == [
        "conv1", "lif1", "conv2", "lif2", "conv3", "shortcut1", "lif3",
        "conv4", "lif4", "conv5", "shortcut2", "lif5", "pool1", "classifier",
    ]  # fmt: skip
    ways = [layer for layer in network.layers if isinstance(layer, Shortcut)]
    assert [(way.source, way.projects, way.pool) for way in ways] == [
        ("lif1", False, 1),
        ("lif3", True, 2),
    ]
    assert network.feeding == ((0,), (1,), (2, 3), (4,), (5, 6))


def test_depthwise_separable_convolutions() -> None:
    network = planned(("64", "D/2", "128k1"), CIFAR, 10)
    conv, depthwise, pointwise = network.synaptic[:3]
    assert isinstance(depthwise, Conv)
    assert (depthwise.groups, depthwise.window.stride, depthwise.fan_out) == (64, (2, 2), 1)
    assert depthwise.out_shape == (16, 16, 64)
    assert depthwise.weight_shape == (9, 64)
    assert pointwise.weight_shape == (64, 128)
    assert pointwise.out_shape == (16, 16, 128)
    assert network.macs == conv.macs + 16 * 16 * 64 * (9 + 128) + 16 * 16 * 128 * 10


@pytest.mark.parametrize(
    "item", ["", "R", "0", "64/0", "X64", "64/2/2", "R64/x", "-1", "D64", "64k", "R64k1", "F64/2"]
)
def test_unknown_plan_items_are_named(item: str) -> None:
    with pytest.raises(InvalidNetwork, match="plan item"):
        planned((item,), CIFAR, 10)


@pytest.mark.parametrize(
    ("plan", "field"),
    [(("64/99",), "stride"), (("99999",), "out_channels"), (("P",) * 6, "in_shape")],
)
def test_numbers_out_of_range_are_named(plan: tuple[str, ...], field: str) -> None:
    with pytest.raises(InvalidNetwork, match=field):
        planned(plan, CIFAR, 10)


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        (Conv, {"out_channels": 8, "stride": 0}, "stride"),
        (Conv, {"out_channels": 8, "groups": 0}, "groups"),
        (Conv, {"out_channels": 8, "shift": -1}, "shift"),
        (Conv, {}, "out_channels"),
        (Lif, {"leak_q": 300}, "leak_q"),
        (Lif, {"reset": "none"}, "reset"),
        (Pool, {"kernel": (2, 0)}, "kernel"),
        (Pool, {"size": 2}, "size"),
        (Linear, {"out_channels": 0}, "out_channels"),
    ],
)
def test_layers_made_by_hand_keep_their_bounds(
    kind: Any, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidNetwork, match=f"'here': {field}"):
        kind(name="here", in_shape=(4, 4, 3), **fields)


def test_a_global_pool_covers_a_map_that_is_not_square() -> None:
    network = planned(("8", "G"), (8, 16, 3), 10)
    assert network.layers[-1].in_shape == (1, 1, 8)


def test_pixels_take_no_shortcut() -> None:
    with pytest.raises(InvalidNetwork, match="cannot come first"):
        planned(("R64",), CIFAR, 10)


SHAPE: Shape = (4, 4, 8)
CONV = Conv("conv", (4, 4, 3), 8)
LIF = Lif("lif", SHAPE)
AGAIN = Conv("again", SHAPE, 8)
WAY = Shortcut("way", "lif", SHAPE, 8, projects=False)
LAST = (Lif("last", SHAPE), Linear("classifier", SHAPE, 10))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((CONV, LIF, AGAIN, Shortcut("way", "conv", SHAPE, 8), *LAST), "no earlier layer 'conv'"),
        ((CONV, LIF, AGAIN, Shortcut("way", "last", SHAPE, 8), *LAST), "no earlier layer 'last'"),
        ((CONV, LIF, AGAIN, Shortcut("way", "lif", (4, 4, 9), 8), *LAST), "puts out spikes"),
        ((CONV, LIF, AGAIN, WAY, Shortcut("two", "lif", SHAPE, 8), *LAST), "one shortcut at most"),
        ((CONV, LIF, WAY, *LAST), "every synaptic layer"),
        ((CONV, LIF, AGAIN, Shortcut("way", "lif", SHAPE, 9), *LAST), "expects"),
        (
            (
                CONV, LIF, Pool("sum", SHAPE, 3, "sum", 1, 1), AGAIN,
                Shortcut("way", "sum", SHAPE, 8), *LAST,
            ),
            "no earlier layer 'sum'",
        ),
    ],
)  # fmt: skip
def test_impossible_shortcuts_are_refused(layers: tuple, message: str) -> None:  # type: ignore[type-arg]
    Network((CONV, LIF, AGAIN, WAY, *LAST))
    with pytest.raises(InvalidNetwork, match=message):
        Network(layers)
