"""Whether engines agree on real images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.inference import Trace, trace


def check_same_bits(
    bundle: Bundle, choice: EngineChoice, images: NDArray[np.uint8], expected: Trace
) -> None:
    """Logits, active pairs and spikes of every timestep are those ``expected`` has for ``images``,
    the first that it ran on."""
    found = trace(build_engine(bundle, choice), bundle.manifest.encoding, images)
    count = len(images)
    assert np.array_equal(found.logit_sums, expected.logit_sums[:, :count])
    assert np.array_equal(found.active_pairs, expected.active_pairs[:, :count])
    assert np.array_equal(found.spikes, expected.spikes[:, :count])
