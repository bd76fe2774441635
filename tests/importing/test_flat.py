"""Networks of vectors are served images, where that is what the vectors are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeserve.importing.data.flat import with_map
from spikeserve.importing.data.inputs import Inputs, Normalisation
from spikeserve.importing.data.loading import loaded
from spikeserve.importing.dynamics.interpreter import interpreted
from spikeserve.importing.dynamics.meaning import DIALECTS, read_all
from spikeserve.importing.network import FloatNetwork, Synapse
from spikeserve.models.layers import Linear, Shape
from tests.importing.networks import declared

DRAW = np.random.default_rng(5)
GREY = DRAW.integers(0, 256, (20, 4, 6)).astype(np.uint8)
COLOUR = DRAW.integers(0, 256, (20, 3, 4, 6)).astype(np.uint8)
FRAMES = DRAW.poisson(0.5, (20, 5, 2, 4, 6)).astype(np.uint8)


def perceptron(size: int) -> FloatNetwork:
    layer = Linear("l", (1, 1, size), 4)
    draw = np.random.default_rng(6)
    synapse = Synapse(layer, draw.normal(0.1, 0.3, (size, 4)), np.zeros(4))
    return FloatNetwork((synapse, declared("n", (1, 1, 4))))


@pytest.mark.parametrize(
    ("array", "shape"),
    [(GREY, (4, 6, 1)), (COLOUR, (4, 6, 3)), (COLOUR.transpose(0, 2, 3, 1), (4, 6, 3))],
)
def test_vectors_are_images_channels_first(tmp_path: Path, array: Any, shape: Shape) -> None:
    path = tmp_path / "data.npy"
    np.save(path, array)
    size = int(np.prod(shape))
    network = with_map(perceptron(size), path)
    assert network.input_shape == shape
    values = loaded(path, None, shape, 4, 3).values
    first = array if array.ndim == 3 or array.shape[1] == 3 else array.transpose(0, 3, 1, 2)
    vectors = Inputs(first.reshape(20, 1, 1, size), Normalisation.plain(size))
    images = Inputs(values, Normalisation.plain(shape[2]))
    one, other = (
        interpreted(read_all(net, DIALECTS["snntorch"]), inputs, 5).outputs
        for net, inputs in ((perceptron(size), vectors), (network, images))
    )
    assert one.any()
    np.testing.assert_array_equal(one, other)


def test_vectors_are_frames(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, FRAMES)
    assert with_map(perceptron(48), path).input_shape == (4, 6, 2)


def test_vectors_themselves_are_square_images(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, DRAW.integers(0, 256, (9, 25)).astype(np.uint8))
    network = with_map(perceptron(25), path)
    assert network.input_shape == (5, 5, 1)
    assert loaded(path, None, (5, 5, 1), 4, 3).values.shape == (9, 5, 5, 1)


def test_what_is_no_map_stays(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, GREY)
    assert with_map(perceptron(23), path).input_shape == (1, 1, 23)
