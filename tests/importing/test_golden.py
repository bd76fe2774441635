"""Recorded outputs tell which meaning a file was written with."""

from __future__ import annotations

import numpy as np
import pytest

from spikeserve.importing.dynamics.golden import Match, Reading, Search, told
from spikeserve.importing.dynamics.interpreter import interpreted
from spikeserve.importing.dynamics.meaning import read_all
from tests.importing.networks import images, network

TRUE = [
    Reading("snntorch", {}),
    Reading("snntorch", {"reset": "subtract"}),
    Reading("spikingjelly", {}),
    Reading("sinabs", {"dt": 1e-4, "gain": "declared", "min_membrane": -1.0}),
]


def search(reading: Reading, last: str = "neurons") -> Search:
    declared, inputs = network(last=last, v_reset=-0.2), images()
    outputs = interpreted(read_all(declared, reading.meaning), inputs, 8).outputs
    return Search(declared, inputs, outputs)


@pytest.mark.parametrize("reading", TRUE, ids=str)
@pytest.mark.parametrize("last", ["neurons", "LI", "logits"])
def test_the_true_meaning_is_found_whatever_was_asked(reading: Reading, last: str) -> None:
    golden = search(reading, last)
    assert golden.match(reading) == Match(reading, 40, 40)
    wrong = Reading("norse", {})
    asked = golden.match(wrong)
    assert not asked.holds
    matches, _ = golden.found(wrong)
    named = matches[0].reading
    assert named is not None
    assert golden.identical(read_all(golden.network, named.meaning)) == 40
    assert f"reproduced exactly by: {matches[0].reading}" in told(asked, matches, 1)


def test_outputs_of_another_network_are_reproduced_by_none() -> None:
    golden = search(TRUE[0])
    other = Search(golden.network, golden.inputs, golden.golden[:, ::-1])
    asked = other.match(TRUE[0])
    matches, tried = other.found(TRUE[0])
    assert not matches
    assert f"none of {tried} meanings" in told(asked, matches, tried)


def test_one_input_of_forty_may_differ() -> None:
    golden = search(TRUE[0])
    outputs = golden.golden.copy()
    outputs[:, 7] += 1
    match = Search(golden.network, golden.inputs, outputs).match(TRUE[0])
    assert match.identical == 39
    assert match.holds
    outputs[:, :5] += 1
    assert not Search(golden.network, golden.inputs, outputs).match(TRUE[0]).holds


def test_potentials_that_grow_beyond_bounds_are_no_error() -> None:
    golden = search(TRUE[0])
    huge = Search(golden.network, golden.inputs, np.full_like(golden.golden, 1e300))
    assert huge.match(TRUE[0]).identical == 0
