"""The load is what it says, late answers never count, and no server is compared unchecked."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.ceilings import ceilings
from benchmarks.goodput import collapsed, goodput, load_table, rates_for
from benchmarks.outcomes import (
    LOST,
    Answer,
    Outcome,
    arrivals,
    latencies,
    open_summary,
    parsed,
    percentile,
    thresholds_of,
)
from benchmarks.servers import BARE, OURS, OURS_ONNX, SERVERS, Server
from benchmarks.servers.model import Model
from benchmarks.trials import repeated
from spikeserve.models.encoding import Pixels
from spikeserve.models.exits import ExitPolicy


def run(offered: float, p99: float | None, good: float) -> dict[str, Any]:
    return {"offered": offered, "ms": {"p50": 1.0, "p99": p99}, "good": {"50": good}}


def outcome(seconds: float, status: int = 200) -> Outcome:
    return Outcome(0, seconds, Answer(status, 1, b""))


def test_arrivals_are_a_poisson_process_that_a_seed_repeats() -> None:
    times = arrivals(1000, 20, seed=3)
    gaps = np.diff(times)
    assert times == sorted(times) == arrivals(1000, 20, seed=3) != arrivals(1000, 20, seed=4)
    assert times[-1] < 20
    assert gaps.mean() == pytest.approx(0.001, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # exponential: not a metronome


def test_percentiles_are_values_that_were_seen() -> None:
    seconds = [n / 1000 for n in range(1, 101)]
    assert percentile(seconds, 0.5) == 0.050
    assert percentile(seconds, 0.99) == 0.099
    assert percentile(seconds[::-1], 1.0) == 0.1
    assert percentile([], 0.99) == math.inf


def test_failed_late_and_missing_requests_are_infinitely_late() -> None:
    fast = [outcome(0.010)] * 96
    result = open_summary([*fast, outcome(0.001, 429), outcome(3.0)], 98, 1.0, timeout=2.0)
    assert result["ms"]["p90"] == 10.0
    assert result["ms"]["p99"] is None
    assert (result["achieved"], result["timeouts"]) == (96, 1)
    missing = open_summary(fast, 100, 1.0, timeout=2.0)
    assert (missing["ms"]["p99"], missing["timeouts"]) == (None, 4)
    lost = open_summary([*fast, Outcome(0, 0.001, LOST)], 97, 1.0, timeout=2.0)
    assert lost["statuses"] == {"200": 96, "0": 1}
    assert lost["good"] == {"50": 96, "250": 96}


def test_only_answers_within_the_objective_are_good() -> None:
    result = open_summary([outcome(0.049), outcome(0.051), outcome(0.3)], 3, 1.0, timeout=2.0)
    assert result["good"] == {"50": 1, "250": 2}
    assert latencies([0.3])["max"] == 300.0


def test_goodput_counts_at_the_highest_rate_that_keeps_the_objective() -> None:
    runs = [run(100, 5.0, 100), run(200, 49.0, 199), run(400, 51.0, 390), run(800, None, 500)]
    assert goodput(runs, 50) == 199
    assert goodput(runs[2:], 50) == 0.0
    assert goodput([], 50) == 0.0


def test_a_server_counts_as_overrun_after_two_bad_rates() -> None:
    fine, bad = run(100, 5.0, 100), run(400, None, 10)
    assert not collapsed([bad], 50)
    assert not collapsed([bad, fine], 50)
    assert collapsed([fine, bad, bad], 50)


def test_rates_reach_past_the_capacity() -> None:
    for capacity in (40.0, 170.0, 1500.0):
        rates = rates_for(capacity)
        assert rates[0] < capacity / 2
        assert rates[-1] <= 1.3 * capacity
    assert rates_for(1.0) == [12]


def test_an_answer_is_read_whole_or_not_at_all() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\nX-Timesteps-Used: 4\r\n\r\n"
    body = b'{"timesteps_used": 3}'
    assert parsed(head[:-1]) is None
    assert parsed(head + body[:-1]) is None
    assert parsed(head + body) == Answer(200, 4, body)
    plain = b"HTTP/1.1 429 Too Many\r\ncontent-length: 21\r\n\r\n" + body
    assert parsed(plain) == Answer(429, 3, body)


def test_thresholds_are_drawn_once_for_every_picture() -> None:
    drawn = thresholds_of(400, (0.0, 0.2), seed=1)
    assert drawn == thresholds_of(400, (0.0, 0.2), seed=1)
    assert set(drawn) == {0.0, 0.2}
    assert thresholds_of(2, (), seed=1) == [None, None]


def test_the_table_says_who_is_faster_and_who_was_not_stepped() -> None:
    def row(rate: float, runs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"capacity": {"median": rate, "min": rate, "max": rate}, "runs": runs}

    rows = {"ours": row(200, [run(100, 5.0, 100)]), "peer": row(100, [run(100, 90.0, 50)])}
    rows["bare"] = row(400, [])
    lines = load_table(rows, "ours", (50,))
    assert lines[2:] == [
        "| **ours** | 200 (200…200) | 1.00× | 100, 1.00× |",
        "| peer | 100 (100…100) | 0.50× | 0, 0.00× |",
        "| bare | 400 (400…400) | 2.00× | – |",
    ]


@pytest.mark.parametrize("mix", [(None,), (0.0, 0.05, 0.2, 0.474)])
def test_whole_and_shrinking_batches_answer_alike(mix: tuple[float | None, ...]) -> None:
    model = Model("event", 1)
    rng = np.random.default_rng(0)
    images: list[Pixels] = list(rng.integers(0, 256, (8, 32, 32, 3), np.uint8))
    policies: list[ExitPolicy] = [model.policy(mix[k % len(mix)]) for k in range(8)]
    assert model.whole(images, policies) == model.shrinking(images, policies)


def test_a_share_is_taken_within_one_repetition() -> None:
    """A machine that is half as fast for a while changes capacities, not shares."""
    engine = {"event": [{"batch 1": 0.9, "batch 16": 0.75}, {"batch 1": 1.8, "batch 16": 1.5}]}
    one = {"servers": {
        BARE: {"closed": [{"rate": 4000.0}, {"rate": 2000.0}]},
        OURS: {"closed": [{"rate": 800.0}, {"rate": 400.0}]},
    }}  # fmt: skip
    two = {"servers": {OURS: {"closed": [{"rate": 1000.0, "client_cpu": 0.5}]}}}
    shares = ceilings(one, two, engine)["shares"]
    assert shares[f"{OURS}, 1 core"]["share"] == {"median": 0.8, "min": 0.8, "max": 0.8}
    assert shares[f"{OURS}, 1 core"]["ceiling"] == {"median": 750.0, "min": 500.0, "max": 1000.0}
    assert shares[f"{OURS}, 2 cores"]["share"]["median"] == 0.75
    assert shares[f"{OURS}, 2 cores"]["share_less"]["median"] == 1.0


def test_every_repetition_starts_with_another_turn() -> None:
    order: list[str] = []

    def turn(name: str) -> dict[str, int]:
        order.append(name)
        return {"n": len(order)}

    runs = repeated({name: partial(turn, name) for name in "abc"}, 3)
    assert "".join(order) == "abcbcacab"
    assert [run["n"] for run in runs["a"]] == [1, 6, 8]


def test_every_server_is_told_its_cores_and_what_is_missing_is_named() -> None:
    names = [server.name for server in SERVERS]
    assert len(set(names)) == len(names)
    assert {OURS, OURS_ONNX} < set(names)
    for server in SERVERS:
        command = server.command(8000, 2)
        threads, processes = int(command[command.index(server.threads) + 1]), 1
        if server.processes:
            processes = int(command[command.index(server.processes) + 1])
        assert threads * processes == 2
    assert Server("x", "x", library="no_such_library").missing == "no_such_library is not installed"
