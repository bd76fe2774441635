"""Networks from short plans, and the plans that papers use.

``"128"``   3x3 convolution with 128 channels, and its neurons; ``"128/2"`` with stride 2,
            ``"128k1"`` with a 1x1 kernel
``"D"``     3x3 depthwise convolution, and its neurons; ``"D/2"`` with stride 2
``"R128"``  residual block: two such convolutions and a shortcut from the block's input to the
            currents of the second; ``"R256/2"`` halves the map, and its shortcut projects
``"P"``     2x2 max pool over spikes
``"G"``     global sum pool, an average whose factor is folded into what follows
``"F1024"`` fully connected layer with neurons

The classifier is added last; plans do not list it.
"""

from __future__ import annotations

import re
from typing import Literal

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool, Shape, Shortcut
from spikeserve.models.network import Network

PIXEL_SHIFT = 5  # brings 3x3x3 sums of 8-bit weights and 8-bit pixels into int16

# Convolutions as DIET-SNN has them; hidden layers of 1,024 neurons, as SpikeSim says of VGG-9.
VGG6 = ("64", "P", "128", "128", "P", "F1024", "F1024")
VGG9 = ("64", "P", "128", "256", "P", "256", "512", "P", "512", "P", "512", "F1024")
VGG11 = (
    "64", "P", "128", "256", "P", "512", "512", "512", "P", "512", "P", "512", "F1024", "F1024",
)  # fmt: skip
# As DT-SNN has them.
VGG16 = (
    "64", "64", "P", "128", "128", "P", "256", "256", "256", "P",
    "512", "512", "512", "P", "512", "512", "512", "G",
)  # fmt: skip
RESNET19 = ("128", "R128", "R128", "R128", "R256/2", "R256", "R256", "R512/2", "R512", "G")
PLANS = {"vgg6": VGG6, "vgg9": VGG9, "vgg11": VGG11, "vgg16": VGG16, "resnet19": RESNET19}

SMALLEST_MAP = 4  # pixels a side that convolutions end with, at least; fewer than twice as many


def vgg8(side: int) -> tuple[str, ...]:
    """The VGG-8 of the bundles that ship, for pictures of ``side`` pixels, 32 or more.

    Its convolutions are the same for every size, so that weights fit all; larger pictures are
    halved more often: at the end, then in the first layer, then behind it.
    """
    halvings = max(3, (side // SMALLEST_MAP).bit_length() - 1)
    first = ("64",) if halvings < 5 else ("64/2", *("P",) * (halvings - 5))
    last = ("P",) if halvings > 3 else ()
    return (*first, "128/2", "128", "P", "256", "256", "P", "512", "512", *last)


ITEM = re.compile(
    r"(?:D|(?P<kind>[RF]?)(?P<channels>[1-9]\d{0,4})(?:k(?P<kernel>[1-9]))?)"
    r"(?:/(?P<stride>[1-9]\d?))?"
)


def planned(
    plan: tuple[str, ...],
    input_shape: Shape,
    classes: int,
    *,
    leak_q: int = 256,
    reset: Literal["hard", "soft"] = "hard",
    fire_once: bool = True,
) -> Network:
    """The network of a plan, every LIF layer with the same dynamics.

    Raises:
        InvalidNetwork: an item is not in the grammar, or the layers make no network.
    """
    layers: list[Layer] = []
    count: dict[type[Layer], int] = {Conv: 0, Pool: 0, Shortcut: 0, Lif: 0, Linear: 0}

    def append(layer: Layer) -> Shape:
        layers.append(layer)
        return layer.out_shape

    def number(kind: type[Layer]) -> int:
        count[kind] += 1
        return count[kind]

    def convolve(
        shape: Shape, channels: int, stride: int, kernel: int = 3, groups: int = 1
    ) -> Shape:
        name, first = f"conv{number(Conv)}", not layers
        shift = PIXEL_SHIFT if first else 0
        return append(
            Conv(name, shape, channels, kernel, stride, kernel // 2, shift=shift, groups=groups)
        )

    def fire(shape: Shape) -> Shape:
        name = f"lif{number(Lif)}"
        return append(Lif(name, shape, leak_q=leak_q, reset=reset, fire_once=fire_once))

    def block(shape: Shape, channels: int, stride: int) -> Shape:
        if not layers:
            raise InvalidNetwork("a residual block cannot come first: pixels are no spikes")
        source = layers[-1].name
        hidden = fire(convolve(shape, channels, stride))
        convolve(hidden, channels, 1)
        projects = stride > 1 or channels != shape[2]
        name = f"shortcut{number(Shortcut)}"
        return fire(append(Shortcut(name, source, shape, channels, stride, projects)))

    shape = input_shape
    for item in plan:
        if item in ("P", "G"):
            name = f"pool{number(Pool)}"
            height, width, _ = shape
            whole = height if height == width else (height, width)
            shape = append(Pool(name, shape, *((2, "max") if item == "P" else (whole, "sum"))))
            continue
        parsed = ITEM.fullmatch(item)
        if (
            parsed is None
            or (parsed["kind"] and parsed["kernel"])
            or (parsed["kind"] == "F" and parsed["stride"])
        ):
            raise InvalidNetwork(
                f"plan item {item!r} is none of 128, 128/2, 128k1, D, D/2, R128, F128, P, G"
            )
        channels, stride = int(parsed["channels"] or shape[2]), int(parsed["stride"] or 1)
        match parsed["kind"]:
            case None:
                shape = fire(convolve(shape, channels, stride, groups=channels))
            case "R":
                shape = block(shape, channels, stride)
            case "F":
                shape = fire(append(Linear(f"linear{number(Linear)}", shape, channels)))
            case _:
                shape = fire(convolve(shape, channels, stride, int(parsed["kernel"] or 3)))
    append(Linear("classifier", shape, classes))
    return Network(tuple(layers))
