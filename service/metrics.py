"""Prometheus metrics: base units, counters for everything that sums, every label set born at 0."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from models.bundle import Manifest
from models.energy.estimate import EnergyEstimate
from service.errors import REJECTIONS
from service.scheduler import Job, Scheduler

# fmt: off
REQUEST_SECONDS = (
    .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
)
STAGE_SECONDS = (.0001, .00025, *REQUEST_SECONDS)
UNIT_INTERVAL = (.01, .02, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1)
# fmt: on
JOULES = tuple(m * 10.0**e for e in range(-7, -3) for m in (1, 2, 5))
BATCH_ROWS = tuple(2**k for k in range(13))
TIMESTEPS = tuple(range(1, 17))

CODES = ("200", "400", "404", "413", "415", "422", "429", "499", "500", "503")
STOP_REASONS = ("entropy", "max_timesteps", "error")
JOULE_PER_PJ = 1e-12

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series per counter that nobody reads


class Metrics:
    """All series of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"spikeserve_{name}", about, labels, registry=registry)

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"spikeserve_{name}", about, labels, registry=registry)

        def histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"spikeserve_{name}", about, labels, buckets=buckets, registry=registry
            )

        self.inference_timesteps = histogram(
            "inference_timesteps", "Timesteps used per inference; average = sum / count.",
            TIMESTEPS, "model",
        )  # fmt: skip
        self.requests = counter(
            "requests_total", "HTTP requests answered.", "model", "endpoint", "code"
        )
        self.request_duration = histogram(
            "request_duration_seconds", "From the first byte of a request to its answer.",
            REQUEST_SECONDS, "model", "endpoint",
        )  # fmt: skip
        self.inferences = counter(
            "inferences_total", "Rows that left the engine, and why.", "model", "stop_reason"
        )
        self.queue_duration = histogram(
            "queue_duration_seconds", "Wait for a slot.", STAGE_SECONDS, "model"
        )
        self.decode_duration = histogram(
            "decode_duration_seconds", "Image decoding.", STAGE_SECONDS, "model"
        )
        self.inference_duration = histogram(
            "inference_duration_seconds", "First to last timestep.", STAGE_SECONDS, "model"
        )
        self.step_duration = histogram(
            "step_duration_seconds", "One timestep of all live rows.", STAGE_SECONDS, "model"
        )
        self.timesteps_executed = counter(
            "timesteps_executed_total", "Timesteps run for finished rows.", "model"
        )
        self.timesteps_saved = counter(
            "timesteps_saved_total", "Timesteps a full run would have added.", "model"
        )
        self.slot_steps = counter(
            "slot_steps_total", "Slots by state, counted at every step.", "model", "state"
        )
        self.batch_rows = histogram("batch_rows", "Rows stepped together.", BATCH_ROWS, "model")
        self.exit_entropy = histogram(
            "exit_entropy", "Normalised entropy at exit.", UNIT_INTERVAL, "model"
        )
        self.requested_threshold = histogram(
            "requested_entropy_threshold", "Entropy threshold in effect.", UNIT_INTERVAL, "model"
        )
        self.energy = counter(
            "energy_joules_total", "Estimated in-memory-computing energy used.", "model"
        )
        self.energy_baseline = counter(
            "energy_baseline_joules_total", "Estimated energy of the same rows run to T.", "model"
        )
        self.request_energy = histogram(
            "request_energy_joules", "Estimated energy per inference.", JOULES, "model"
        )
        self.running = gauge("requests_running", "Rows in slots.", "model")
        self.queued = gauge("requests_queued", "Rows waiting for a slot.", "model")
        self.queue_capacity = gauge("queue_capacity", "Rows that may wait.", "model")
        self.slots = gauge("slots", "Rows that can run together.", "model")
        self.rejected = counter("requests_rejected_total", "Requests refused, and why.", "reason")
        self.last_step = gauge(
            "engine_last_step_timestamp_seconds", "Unix time of the newest step.", "model"
        )
        self.ready = gauge("ready", "1 when models are loaded and requests are admitted.")
        self.model_info = gauge(
            "model_info", "A served model.", "model", "version", "engine", "encoding"
        )
        self.build_info = gauge("build_info", "The running release.", "version")
        for reason in REJECTIONS:
            self.rejected.labels(reason)

    def for_model(self, manifest: Manifest, engine: str, scheduler: Scheduler) -> ModelMetrics:
        """The series of one model, all initialised."""
        self.model_info.labels(manifest.name, manifest.version, engine, manifest.encoding.kind).set(
            1
        )
        return ModelMetrics(self, manifest, scheduler)


class ModelMetrics:
    """One model's series with the label filled in."""

    def __init__(self, metrics: Metrics, manifest: Manifest, scheduler: Scheduler) -> None:
        name = manifest.name
        self._timesteps = manifest.timesteps
        self._metrics, self._name = metrics, name
        self.stop_reasons = {r: metrics.inferences.labels(name, r) for r in STOP_REASONS}
        self._busy = metrics.slot_steps.labels(name, "busy")
        self._idle = metrics.slot_steps.labels(name, "idle")
        self.decode_duration = metrics.decode_duration.labels(name)
        for code in CODES:
            metrics.requests.labels(name, "/classify", code)
        metrics.request_duration.labels(name, "/classify")
        for series in (
            metrics.inference_timesteps, metrics.queue_duration, metrics.inference_duration,
            metrics.exit_entropy, metrics.requested_threshold, metrics.request_energy,
            metrics.step_duration, metrics.batch_rows, metrics.last_step,
            metrics.timesteps_executed, metrics.timesteps_saved,
            metrics.energy, metrics.energy_baseline,
        ):  # fmt: skip
            series.labels(name)
        metrics.slots.labels(name).set(scheduler.slots)
        metrics.queue_capacity.labels(name).set(scheduler.queue_capacity)
        metrics.running.labels(name).set_function(lambda: len(scheduler.running))
        metrics.queued.labels(name).set_function(lambda: len(scheduler.waiting))

    def stepped(self, rows: int, slots: int, seconds: float) -> None:
        """One tick stepped ``rows`` of ``slots``."""
        metrics, name = self._metrics, self._name
        metrics.step_duration.labels(name).observe(seconds)
        metrics.batch_rows.labels(name).observe(rows)
        metrics.last_step.labels(name).set_to_current_time()
        self._busy.inc(rows)
        self._idle.inc(slots - rows)

    def failed(self, rows: int) -> None:
        """``rows`` rows were lost to an engine failure."""
        self.stop_reasons["error"].inc(rows)

    def finished(self, job: Job, energy: EnergyEstimate) -> None:
        """One row left with an answer."""
        metrics, name, row = self._metrics, self._name, job.row
        assert row.stop_reason is not None
        self.stop_reasons[row.stop_reason].inc()
        metrics.inference_timesteps.labels(name).observe(row.t)
        metrics.timesteps_executed.labels(name).inc(row.t)
        metrics.timesteps_saved.labels(name).inc(self._timesteps - row.t)
        metrics.queue_duration.labels(name).observe(job.started - job.submitted)
        metrics.inference_duration.labels(name).observe(job.finished - job.started)
        metrics.exit_entropy.labels(name).observe(row.entropy)
        metrics.requested_threshold.labels(name).observe(row.policy.entropy_threshold)
        metrics.energy.labels(name).inc(energy.total_pj * JOULE_PER_PJ)
        metrics.energy_baseline.labels(name).inc(energy.static_pj * JOULE_PER_PJ)
        metrics.request_energy.labels(name).observe(energy.total_pj * JOULE_PER_PJ)
