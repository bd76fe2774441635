"""Every engine gives the same bits on the networks of the papers, at their full size."""

from __future__ import annotations

import numpy as np
import pytest

from spikeserve.models.plans import PLANS, planned
from tests.networks import engines, frames_of, program_of, same

ROWS, STEPS = 2, 3


@pytest.mark.verify
@pytest.mark.parametrize("fire_once", [True, False])
@pytest.mark.parametrize("name", sorted(PLANS))
def test_all_engines_agree_on_the_papers_networks(name: str, fire_once: bool) -> None:
    rng = np.random.default_rng(7)
    network = planned(PLANS[name], (32, 32, 3), 10, leak_q=200, reset="soft", fire_once=fire_once)
    program = program_of(network, rng, extreme=False)
    built = engines(program)
    states = [engine.start(ROWS) for engine in built]
    spikes = 0
    for _ in range(STEPS):
        frames = frames_of(rng, (ROWS, *network.input_shape), 0.5)
        steps = [engine.step(frames, state) for engine, state in zip(built, states, strict=True)]
        states = [step.state for step in steps]
        assert all(same(steps[0], step) for step in steps[1:]), [e.name for e in built]
        spikes += int(steps[0].spikes[:, -1].sum())
    assert spikes > 0, "nothing reached the last layer"
