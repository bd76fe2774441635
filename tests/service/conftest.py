from __future__ import annotations

import threading

import numpy as np
import pytest

from spikeserve.models.encoding import Pixels
from spikeserve.models.layers import Shape


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Decoding takes until this is set."""
    released = threading.Event()

    def decode(data: bytes, shape: Shape, max_pixels: int) -> Pixels:  # noqa: ARG001
        released.wait()
        return np.zeros(shape, np.uint8)

    monkeypatch.setattr("spikeserve.service.app.decode_image", decode)
    return released
