"""What files do not say, read as each framework means it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeserve.importing.dynamics.golden import Reading
from spikeserve.importing.dynamics.meaning import DIALECTS, read
from spikeserve.importing.errors import ImportRefused
from tests.importing.networks import declared

SHAPE = (1, 1, 3)


@pytest.mark.parametrize(
    ("dialect", "kind", "tau", "r", "leak", "gain"),
    [
        ("snntorch", "LIF", 1e-3, 10.0, 0.9, 1.0),
        ("spikingjelly", "LIF", 2e-4, 1.0, 0.5, 0.5),
        ("spikingjelly", "IF", None, 1e4, 1.0, 1.0),
        ("norse", "LIF", 5e-6, 1.0, 0.8, 0.2),
        ("norse", "IF", None, 1.0, 1.0, 1.0),
        ("sinabs", "LIF", 10.0, 1.0, np.exp(-0.1), 1 - np.exp(-0.1)),
        ("sinabs", "IF", None, 1.0, 1.0, 1.0),
        ("rockpool", "LIF", 0.02, 20.0, np.exp(-0.05), 1.0),
        ("spyx", "LIF", 4.0, 4.0, 0.75, 1.0),
    ],
)
def test_leak_and_gain_follow_who_wrote_the_file(
    dialect: str, kind: str, tau: float | None, r: float, leak: float, gain: float
) -> None:
    whole = np.ones(3)
    neurons = declared("n", SHAPE, "IF" if kind == "IF" else "LIF")
    neurons = replace(neurons, tau=None if tau is None else whole * tau, r=whole * r)
    found = read(neurons, DIALECTS[dialect])
    np.testing.assert_allclose(found.leak, leak)
    np.testing.assert_allclose(found.gain, gain)


def test_resets_follow_who_wrote_the_file() -> None:
    neurons = declared("n", SHAPE, v_reset=-0.5)
    late = read(neurons, DIALECTS["snntorch"])
    assert (late.reset, late.delayed, late.strict) == ("subtract", True, True)
    hard = read(neurons, DIALECTS["spikingjelly"])
    assert (hard.reset, hard.delayed, hard.strict) == ("hard", False, False)
    np.testing.assert_array_equal(hard.start, -0.5)
    np.testing.assert_array_equal(hard.reset_to, -0.5)
    several = read(neurons, Reading("sinabs", {"dt": 1e-4, "min_membrane": -1.0}).meaning)
    assert several.max_spikes == 255
    assert several.minimum is not None
    np.testing.assert_array_equal(several.minimum, -1.0)


def test_a_timestep_beyond_the_time_constant_is_refused_and_says_which_flag() -> None:
    with pytest.raises(ImportRefused, match=r"n: with dt 1 .*--dt"):
        read(declared("n", SHAPE), DIALECTS["spyx"])


def test_neurons_that_are_read_by_their_potential_do_not_spike() -> None:
    found = read(declared("o", SHAPE, "LI"), DIALECTS["snntorch"])
    assert (found.spiking, found.reset, found.delayed) == (False, "none", False)
