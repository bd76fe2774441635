"""What ``/v1/status`` tells: some of the numbers that ``/metrics`` has, few enough for a page."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, Field

from spikeserve.models.manifest import Manifest
from spikeserve.service.metrics import ENDPOINTS, Metrics
from spikeserve.service.samples import Numbers, samples_of


class Latency(BaseModel):
    """A histogram as Prometheus has them."""

    bounds: list[float]
    counts: Annotated[
        list[int], Field(description="requests that took at most the bound; one more: all requests")
    ]


class ModelStatus(BaseModel):
    """What one model has done, and what it is doing."""

    name: str
    version: str
    timesteps: Annotated[int, Field(description="T")]
    inferences: Annotated[int, Field(description="rows that left with an answer")]
    timesteps_used: Annotated[int, Field(description="by all of these together")]
    exits: Annotated[
        list[int], Field(description="inferences by the timestep at which they stopped")
    ]
    exit_bounds: Annotated[
        list[int],
        Field(description="the last timestep of each number in exits: 1 to T, coarser beyond 16"),
    ]
    stop_reasons: Annotated[
        dict[str, int], Field(description="rows that left, without an answer too, by why")
    ]
    energy_joules: Annotated[float, Field(description="estimate, of all inferences together")]
    energy_static_joules: Annotated[float, Field(description="of the same run to T")]
    running: Annotated[int, Field(description="rows in slots")]
    slots: int
    queued: Annotated[int, Field(description="rows that wait for a slot")]
    pending_timesteps: Annotated[float, Field(description="which these are expected to take")]
    queue_capacity_timesteps: Annotated[float, Field(description="so many may wait")]
    cancelled: Annotated[int, Field(description="images whose client left")]


class Status(BaseModel):
    """Numbers since the start, of all processes together; rates are their differences."""

    time: Annotated[float, Field(description="Unix time, in seconds")]
    ready: Annotated[bool, Field(description="as /readyz")]
    connections: Annotated[int, Field(description="that are open")]
    requests: Annotated[
        dict[str, int], Field(description="to all paths that classify, by status code")
    ]
    refused: Annotated[dict[str, int], Field(description="requests, by reason")]
    latency_seconds: Annotated[Latency, Field(description="of requests to paths that classify")]
    models: Annotated[list[ModelStatus], Field(description="the default first")]


def status_of(metrics: Metrics, models: Iterable[Manifest], *, ready: bool) -> Status:
    """The numbers of now.

    Raises:
        OSError: see :func:`samples_of`.
    """
    samples = samples_of(
        (
            metrics.requests, metrics.request_duration, metrics.rejected, metrics.connections,
            metrics.inferences, metrics.inference_timesteps, metrics.energy,
            metrics.energy_baseline, metrics.running, metrics.slots, metrics.queued,
            metrics.pending_timesteps, metrics.queue_capacity, metrics.cancelled,
        )
    )  # fmt: skip
    numbers = Numbers(s for s in samples if s.labels.get("endpoint", ENDPOINTS[0]) in ENDPOINTS)
    bounds, counts = numbers.buckets("spikeserve_request_duration_seconds")
    return Status(
        time=time.time(),
        ready=ready,
        connections=int(numbers.total("spikeserve_connections")),
        requests=_whole(numbers.by("code", "spikeserve_requests_total")),
        refused=_whole(numbers.by("reason", "spikeserve_requests_rejected_total")),
        latency_seconds=Latency(bounds=bounds, counts=counts),
        models=[_model(numbers, manifest) for manifest in models],
    )


def _model(numbers: Numbers, manifest: Manifest) -> ModelStatus:
    model = {"model": manifest.name, "version": manifest.version}

    def total(name: str) -> float:
        return numbers.total(f"spikeserve_{name}", **model)

    bounds, counts = numbers.buckets("spikeserve_inference_timesteps", **model)
    return ModelStatus(
        name=manifest.name,
        version=manifest.version,
        timesteps=manifest.timesteps,
        inferences=counts[-1],
        timesteps_used=int(total("inference_timesteps_sum")),
        exits=[after - before for before, after in pairwise((0, *counts[:-1]))],
        exit_bounds=[int(bound) for bound in bounds],
        stop_reasons=_whole(numbers.by("stop_reason", "spikeserve_inferences_total", **model)),
        energy_joules=total("energy_joules_total"),
        energy_static_joules=total("energy_baseline_joules_total"),
        running=int(total("requests_running")),
        slots=int(total("slots")),
        queued=int(total("requests_queued")),
        pending_timesteps=total("pending_timesteps"),
        queue_capacity_timesteps=total("queue_capacity_timesteps"),
        cancelled=int(total("requests_cancelled_total")),
    )


def _whole(sums: dict[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in sorted(sums.items())}
