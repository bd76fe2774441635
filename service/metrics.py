"""Prometheus metrics: base units, counters for everything that sums, every label set born at 0."""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Sequence
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.multiprocess import MultiProcessCollector

from spikeserve.models.exits import StopReason
from spikeserve.models.manifest import Manifest
from spikeserve.service.energy_histogram import EnergyHistogram
from spikeserve.service.errors import REJECTIONS
from spikeserve.service.jobs import Job
from spikeserve.service.scheduler import Scheduler
from spikeserve.service.timestep_histogram import TimestepHistogram

# fmt: off
REQUEST_SECONDS = (
    .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
)
STAGE_SECONDS = (.0001, .00025, *REQUEST_SECONDS)
UNIT_INTERVAL = (.01, .02, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1)
# fmt: on
BATCH_ROWS = tuple(2**k for k in range(13))

CODES = (
    "200", "400", "401", "404", "408", "409", "413", "415", "422", "429",
    "499", "500", "503", "504",
)  # fmt: skip
BATCH = "/classify/batch"
INFER = "/v2/models/{name}/infer"
ENDPOINTS = (
    "/classify", "/classify/stream", BATCH, INFER, "/v2/models/{name}/versions/{version}/infer",
)  # fmt: skip
ITEM_CODES = ("200", "400", "404", "409", "413", "415", "422", "429", "500", "503", "504")
STOP_REASONS = (*get_args(StopReason), "cancelled", "error")
JOULE_PER_PJ = 1e-12
JOULES = (1e-7, 5e-4)
"""Of inferences of a model that is known without its chip."""
MODEL = ("model", "version")
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of the folder in which several processes count, set before they start."""
MULTIPROCESS = FOLDER in os.environ
Phase = Literal["decoding", "queued", "running"]
"""Where an image is whose client leaves."""
Processes = Literal["livesum", "livemax", "livemin"]
"""How a gauge adds up over processes."""

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series per counter that nobody reads


class Metrics:
    """All series of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        if not MULTIPROCESS:  # it would tell about whichever process is scraped
            ProcessCollector(registry=registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"spikeserve_{name}", about, labels, registry=registry)

        def gauge(name: str, about: str, *labels: str, over: Processes = "livesum") -> Gauge:
            return Gauge(
                f"spikeserve_{name}", about, labels, registry=registry, multiprocess_mode=over
            )

        def histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"spikeserve_{name}", about, labels, buckets=buckets, registry=registry
            )

        self.inference_timesteps = TimestepHistogram(registry, MODEL)
        self.request_energy = EnergyHistogram(registry, MODEL)
        self.requests = counter(
            "requests_total", "HTTP requests answered; a stream by how it ended.",
            "model", "endpoint", "code",
        )  # fmt: skip
        self.items = counter(
            "items_total", "Images of batches, by what each was answered.",
            "model", "endpoint", "code",
        )  # fmt: skip
        self.request_duration = histogram(
            "request_duration_seconds", "From the first byte of a request to its answer.",
            REQUEST_SECONDS, "model", "endpoint",
        )  # fmt: skip
        self.inferences = counter(
            "inferences_total", "Rows that left the engine, and why.", *MODEL, "stop_reason"
        )
        self.queue_duration = histogram(
            "queue_duration_seconds", "Wait for a slot.", STAGE_SECONDS, *MODEL
        )
        self.decode_duration = histogram(
            "decode_duration_seconds", "Image decoding.", STAGE_SECONDS, *MODEL
        )
        self.inference_duration = histogram(
            "inference_duration_seconds", "First to last timestep.", STAGE_SECONDS, *MODEL
        )
        self.step_duration = histogram(
            "step_duration_seconds", "One timestep of all live rows.", STAGE_SECONDS, *MODEL
        )
        self.timesteps_executed = counter(
            "timesteps_executed_total", "Timesteps run for finished rows.", *MODEL
        )
        self.timesteps_saved = counter(
            "timesteps_saved_total", "Timesteps a full run would have added.", *MODEL
        )
        self.slot_steps = counter(
            "slot_steps_total", "Slots by state, counted at every step.", *MODEL, "state"
        )
        self.batch_rows = histogram("batch_rows", "Rows stepped together.", BATCH_ROWS, *MODEL)
        self.exit_entropy = histogram(
            "exit_entropy", "Normalised entropy at exit.", UNIT_INTERVAL, *MODEL
        )
        self.requested_threshold = histogram(
            "requested_entropy_threshold",
            "Entropy threshold asked for; brownout may have raised it.",
            UNIT_INTERVAL,
            *MODEL,
        )
        self.energy = counter(
            "energy_joules_total", "Estimated in-memory-computing energy used.", *MODEL
        )
        self.energy_baseline = counter(
            "energy_baseline_joules_total", "Estimated energy of the same rows run to T.", *MODEL
        )
        self.running = gauge("requests_running", "Rows in slots.", *MODEL)
        self.queued = gauge("requests_queued", "Rows waiting for a slot.", *MODEL)
        self.pending_timesteps = gauge(
            "pending_timesteps", "Timesteps that the waiting rows are expected to take.", *MODEL
        )
        self.queue_capacity = gauge(
            "queue_capacity_timesteps", "Expected timesteps that may wait.", *MODEL
        )
        self.slots = gauge("slots", "Rows that can run together.", *MODEL)
        self.brownout_level = gauge(
            "brownout_level", "How far load raises thresholds, 0 to 4.", *MODEL, over="livemax"
        )
        self.brownout_requests = counter(
            "brownout_requests_total", "Requests whose threshold load had raised.", *MODEL
        )
        self.cancelled = counter(
            "requests_cancelled_total", "Images whose client left, and where they were.",
            *MODEL, "phase",
        )  # fmt: skip
        self.rejected = counter("requests_rejected_total", "Requests refused, and why.", "reason")
        self.last_step = gauge(
            "engine_last_step_timestamp_seconds", "Unix time of the newest step.",
            *MODEL, over="livemax",
        )  # fmt: skip
        self.connections = gauge("connections", "Open connections.")
        self.inside = gauge(
            "requests_inside", "Images being decoded, waiting, running or answered."
        )
        self.uploads = gauge("uploads", "Request bodies that are still arriving.")
        self.upload_bytes = gauge(
            "upload_bytes", "What those have sent so far, and files that are not decoded yet."
        )
        self.decodes_queued = gauge("decodes_queued", "Images waiting for a decoder.")
        self.decode_bytes = gauge("decode_bytes", "What the running decodes may take.")
        self.ready = gauge(
            "ready", "1 when models are loaded and requests are admitted.", over="livemin"
        )
        self.model_info = gauge(
            "model_info", "A served model.", *MODEL, "engine", "encoding", over="livemax"
        )
        self.build_info = gauge("build_info", "The running release.", "version", over="livemax")
        for reason in REJECTIONS:
            self.rejected.labels(reason)
        self._outcomes: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    @property
    def registry(self) -> CollectorRegistry:
        """What a scrape shows: this process, or all of them together."""
        if not MULTIPROCESS:
            return self._registry
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return everyone

    def answered(self, model: str, endpoint: str, code: str, seconds: float) -> None:
        """One HTTP request ended."""
        key = (model, endpoint, code)
        found = self._outcomes.get(key)
        if found is None:  # labels are looked up once: that costs more than counting
            found = self._outcomes[key] = (
                self.requests.labels(model, endpoint, code),
                self.request_duration.labels(model, endpoint),
            )
        found[0].inc()
        found[1].observe(seconds)

    def for_model(
        self,
        manifest: Manifest,
        engine: str,
        scheduler: Scheduler,
        joules: tuple[float, float] = JOULES,
    ) -> ModelMetrics:
        """The series of one model, all initialised; ``joules`` is what its inferences take."""
        return ModelMetrics(self, manifest, engine, scheduler, joules)

    def item(self, model: str, endpoint: str, code: int) -> None:
        """One image of a batch was answered, whatever the batch was."""
        self.items.labels(model, endpoint, str(code)).inc()


class ModelMetrics:
    """One model's series with the labels filled in."""

    def __init__(
        self,
        metrics: Metrics,
        manifest: Manifest,
        engine: str,
        scheduler: Scheduler,
        joules: tuple[float, float],
    ) -> None:
        self._timesteps = manifest.timesteps
        model = (manifest.name, manifest.version)
        self._info = metrics.model_info.labels(*model, engine, manifest.encoding.kind)
        self._info.set(1)
        for endpoint in ENDPOINTS:
            metrics.request_duration.labels(manifest.name, endpoint)
            for code in CODES:
                metrics.requests.labels(manifest.name, endpoint, code)
        for code in ITEM_CODES:
            metrics.items.labels(manifest.name, BATCH, code)
        self._stop_reasons = {r: metrics.inferences.labels(*model, r) for r in STOP_REASONS}
        self._cancelled = {p: metrics.cancelled.labels(*model, p) for p in get_args(Phase)}
        self._busy = metrics.slot_steps.labels(*model, "busy")
        self._idle = metrics.slot_steps.labels(*model, "idle")
        self.decode_duration = metrics.decode_duration.labels(*model)
        self.brownout_requests = metrics.brownout_requests.labels(*model)
        self._timesteps_used = metrics.inference_timesteps.labels(
            *model, timesteps=manifest.timesteps
        )
        self._executed = metrics.timesteps_executed.labels(*model)
        self._saved = metrics.timesteps_saved.labels(*model)
        self._queue_duration = metrics.queue_duration.labels(*model)
        self._inference_duration = metrics.inference_duration.labels(*model)
        self._step_duration = metrics.step_duration.labels(*model)
        self._batch_rows = metrics.batch_rows.labels(*model)
        self._last_step = metrics.last_step.labels(*model)
        self._exit_entropy = metrics.exit_entropy.labels(*model)
        self._threshold = metrics.requested_threshold.labels(*model)
        self._energy = metrics.energy.labels(*model)
        self._baseline = metrics.energy_baseline.labels(*model)
        self._request_energy = metrics.request_energy.labels(*model, joules=joules)
        self._running = metrics.running.labels(*model)
        self._queued = metrics.queued.labels(*model)
        self._pending = metrics.pending_timesteps.labels(*model)
        self._level = metrics.brownout_level.labels(*model)
        self._capacity = metrics.queue_capacity.labels(*model)
        self._slots = metrics.slots.labels(*model)
        self._capacity.set(scheduler.queue_timesteps)
        self._slots.set(scheduler.slots)

    def refresh(self, scheduler: Scheduler, brownout_level: int) -> None:
        """Set the gauges; once a second and at every scrape, not at every request."""
        self._running.set(len(scheduler.running))
        self._queued.set(len(scheduler.waiting))
        self._pending.set(scheduler.pending_timesteps)
        self._level.set(brownout_level)

    def retired(self) -> None:
        """The model is served no more; its counters stay, as counters must."""
        gauges = (self._running, self._queued, self._pending, self._level, self._capacity)
        for gauge in (*gauges, self._slots, self._info):
            gauge.set(0)

    def stepped(self, rows: int, slots: int, seconds: float) -> None:
        """One tick stepped ``rows`` of ``slots``."""
        self._step_duration.observe(seconds)
        self._batch_rows.observe(rows)
        self._last_step.set_to_current_time()
        self._busy.inc(rows)
        self._idle.inc(slots - rows)

    def failed(self, rows: int) -> None:
        """``rows`` rows were lost to an engine failure."""
        self._stop_reasons["error"].inc(rows)

    def cancelled(self, phase: Phase) -> None:
        """A client left while its image was with the decoders, its row in the queue or a slot."""
        self._cancelled[phase].inc()
        if phase == "running":
            self._stop_reasons["cancelled"].inc()

    def finished(self, jobs: Sequence[Job]) -> None:
        """Rows that left with an answer in the same tick; counters count them together."""
        executed, used_pj, baseline_pj = 0, 0.0, 0.0
        reasons: Counts[StopReason] = Counts()
        for job in jobs:
            row, energy, asked = job.row, job.energy, job.requested_threshold
            assert row.stop_reason is not None
            reasons[row.stop_reason] += 1
            executed += row.t
            self._timesteps_used.observe(row.t)
            self._queue_duration.observe(job.started - job.submitted)
            self._inference_duration.observe(job.finished - job.started)
            self._exit_entropy.observe(row.entropy)
            self._threshold.observe(row.policy.entropy_threshold if asked is None else asked)
            if energy is not None:  # else its estimate failed
                used_pj += energy.total_pj
                baseline_pj += energy.static_pj
                self._request_energy.observe(energy.total_pj * JOULE_PER_PJ)
        for reason, count in reasons.items():
            self._stop_reasons[reason].inc(count)
        self._executed.inc(executed)
        self._saved.inc(len(jobs) * self._timesteps - executed)
        self._energy.inc(used_pj * JOULE_PER_PJ)
        self._baseline.inc(baseline_pj * JOULE_PER_PJ)
