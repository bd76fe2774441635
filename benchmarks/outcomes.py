"""What a load run is made of and what it says: schedules, answers, percentiles, summaries."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Document = dict[str, Any]

OBJECTIVES_MS = (50, 250)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TIMESTEPS = re.compile(rb"\r\nx-timesteps-used: *(\d+)", re.IGNORECASE)
BODY_TIMESTEPS = re.compile(rb'"timesteps_used": *(\d+)')


@dataclass(frozen=True)
class Answer:
    status: int
    timesteps: int | None
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """One request as its client saw it; status 0: the connection was lost."""

    number: int
    seconds: float
    answer: Answer


LOST = Answer(0, None, b"")


def parsed(data: bytes) -> Answer | None:
    """A whole HTTP answer, or None while some of it is missing."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = LENGTH.search(data, 0, end)
    if length is None:
        raise ValueError("an answer without a length")
    body = data[end + 4 :]
    if len(body) < int(length[1]):
        return None
    steps = TIMESTEPS.search(data, 0, end) or BODY_TIMESTEPS.search(body)
    return Answer(int(data[9:12]), int(steps[1]) if steps else None, body)


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """When requests of a Poisson process are due, in seconds from the start."""
    rng = np.random.default_rng(seed)
    enough = int(rate * seconds + 10 * math.sqrt(rate * seconds) + 10)
    due = np.cumsum(rng.exponential(1 / rate, enough))
    times: list[float] = due[due < seconds].tolist()
    return times


def thresholds_of(count: int, choices: Sequence[float], seed: int) -> list[float | None]:
    """Which threshold each picture asks for; the model's own where there is no choice."""
    if not choices:
        return [None] * count
    return [float(value) for value in np.random.default_rng(seed).choice(choices, count)]


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all reach; infinite ones are the latest."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


def latencies(seconds: Sequence[float]) -> dict[str, float | None]:
    """Percentiles in milliseconds; None is infinite, which JSON cannot say."""
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: percentile(seconds, share) * 1000 for name, share in shares.items()}
    return {name: round(ms, 3) if math.isfinite(ms) else None for name, ms in found.items()}


def summary(outcomes: Sequence[Outcome], seconds: Sequence[float]) -> Document:
    steps = [o.answer.timesteps for o in outcomes if o.answer.timesteps is not None]
    return {
        "ms": latencies(seconds),
        "statuses": {str(k): n for k, n in Counter(o.answer.status for o in outcomes).items()},
        "mean_timesteps": round(statistics.fmean(steps), 4) if steps else None,
    }


def open_summary(
    outcomes: Sequence[Outcome], sent: int, seconds: float, timeout: float
) -> Document:
    """What came of ``sent`` requests; a failed, late or missing one is infinitely late."""
    good = [o.seconds for o in outcomes if o.answer.status == 200 and o.seconds <= timeout]
    found = summary(outcomes, [*good, *[math.inf] * (sent - len(good))])
    late = sent - len(outcomes) + sum(o.seconds > timeout for o in outcomes)
    return {
        **found,
        "sent": sent,
        "offered": sent / seconds,
        "achieved": len(good) / seconds,
        "timeouts": late,
        "good": {
            str(objective): sum(value * 1000 <= objective for value in good) / seconds
            for objective in OBJECTIVES_MS
        },
    }
