"""The ReLU network that the spiking one is compared with: same layers, at least its accuracy.

Its weights are those of the ``relu`` stage of a recipe with the default bundle's layers, trained on
CIFAR-10 alone, with batch-norm folded away. They lie beside this file in float16 and are computed
with in float32; every contender made of them measures its own accuracy on the test images.

    python -m benchmarks.ann          writes them anew from the run in runs/
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from safetensors.numpy import load_file, save_file

from benchmarks.contenders import NO_CHAIN, Unavailable
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool, Shortcut, Synaptic
from spikeserve.models.layers.window import kernels_of
from spikeserve.models.network import Network
from spikeserve.training.graph import GraphOperations, Node, geometry, rows

RECIPE = "hybrid-vgg8-cifar10"
STORED = Path(__file__).with_name("ann.safetensors")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ann:
    """A network whose neurons are ReLUs, for inputs of 0…255."""

    network: Network
    weights: tuple[Floats, ...]
    """Per synaptic layer ``[c_out, c_in, k, k]``, or ``[c_out, c_in * h * w]`` channels first."""
    biases: tuple[Floats, ...]

    @classmethod
    def stored(cls, network: Network, path: Path = STORED) -> Ann:
        """The weights that come with the benchmarks, for the layers of ``network``."""
        tensors = load_file(path)
        weights = [tensors[f"{layer.name}.weight"].astype(np.float32) for layer in network.synaptic]
        biases = [tensors[f"{layer.name}.bias"].astype(np.float32) for layer in network.synaptic]
        return cls(network, tuple(weights), tuple(biases))

    @property
    def parameters(self) -> Iterator[tuple[Synaptic, Floats, Floats]]:
        return zip(self.network.synaptic, self.weights, self.biases, strict=True)

    def onnx(self) -> onnx.ModelProto:
        """``pixels`` float32 ``[N, C, H, W]`` to ``logits`` float32 ``[N, K]``."""
        graph, parameters = GraphOperations(), self.parameters

        def constants() -> tuple[Node, Node]:
            _, weight, bias = next(parameters)
            return graph.constant(weight), graph.constant(bias)

        def through(layer: Layer, before: Node, _: Node) -> Node:
            match layer:
                case Conv(window=window):
                    attributes = {**geometry(window), "group": layer.groups}
                    return graph.add("Conv", before, *constants(), **attributes)
                case Linear():
                    flat = graph.add("Flatten", before)
                    return graph.add("Gemm", flat, *constants(), transB=1)
                case Pool(window=window):
                    kind = "MaxPool" if layer.mode == "max" else "AveragePool"
                    attributes = {**geometry(window), "kernel_shape": window.kernel}
                    if layer.mode == "sum":
                        attributes["count_include_pad"] = 1
                    return graph.add(kind, before, **attributes)
                case Lif():
                    return graph.add("Relu", before)
                case _:
                    raise Unavailable(NO_CHAIN)

        graph.add("Identity", self.network.carry(graph.named("pixels"), through), output="logits")
        height, width, channels = self.network.input_shape
        return graph.model(
            "ann",
            [rows("pixels", TensorProto.FLOAT, channels, height, width)],
            [rows("logits", TensorProto.FLOAT, self.network.classes)],
        )


def trained(run: Path | None, data: Path) -> dict[str, NDArray[np.float16]]:
    """The tensors of a training run's ``relu`` stage, batch-norm and pixel scale folded in."""
    from spikeserve.training.build import folded
    from spikeserve.training.pipeline import relu_network
    from spikeserve.training.rounding import PIXEL_UNIT
    from spikeserve.training.run import Run

    model = folded(relu_network(Run.of(RECIPE, data, run)), "current")
    tensors = {}
    for index, module in enumerate(model.synaptic):
        layer = module.layer
        assert not isinstance(layer, Shortcut)
        matrix = module.weight.detach().cpu().numpy() / (PIXEL_UNIT if index == 0 else 1)
        kernel = kernels_of(matrix.T, layer.window)
        shape = (len(matrix), -1) if isinstance(layer, Linear) else kernel.shape
        narrow = kernel.astype(np.float16).reshape(shape)
        tensors[f"{layer.name}.weight"] = np.ascontiguousarray(narrow)  # what safetensors writes
        tensors[f"{layer.name}.bias"] = module.bias.detach().cpu().numpy().astype(np.float16)
    return tensors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="folder with relu.pt")
    parser.add_argument("--data", type=Path, default=Path("data"))
    options = parser.parse_args(arguments)
    save_file(trained(options.run, options.data), STORED)
    print(f"wrote {STORED}")


if __name__ == "__main__":
    main()
