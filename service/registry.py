"""The models a service holds: each verified bundle with its engine, worker and energy model."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from spikeserve.models.bundle import Bundle, load_bundle, load_manifest
from spikeserve.models.curve import Curve
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import HardwareProfile, load_profile
from spikeserve.models.energy.report import Reporter
from spikeserve.models.engines.contract import Engine
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.errors import BundleError
from spikeserve.models.layers import Shape
from spikeserve.models.manifest import Manifest
from spikeserve.service.brownout import Brownout
from spikeserve.service.capacity import Capacity, measured_capacity
from spikeserve.service.errors import InferenceFailed, UnknownModel
from spikeserve.service.metrics import JOULE_PER_PJ, Metrics, ModelMetrics
from spikeserve.service.scheduler import Scheduler
from spikeserve.service.schemas import ModelReference
from spikeserve.service.settings import Settings
from spikeserve.service.wakeup import Call, run_here
from spikeserve.service.worker import Worker

logger = logging.getLogger("spikeserve")


class Loaded(NamedTuple):
    """What loading a bundle gives. Each part may raise, so nothing starts before all are there."""

    bundle: Bundle
    engine: Engine
    capacity: Capacity
    energy: EnergyModel


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One bundle, ready to answer."""

    bundle: Bundle
    energy: EnergyModel
    reporter: Reporter
    curve: Curve
    capacity: Capacity
    brownout: Brownout | None
    worker: Worker
    metrics: ModelMetrics
    frame_shape: Shape
    input_shape: tuple[int, ...]
    """Of an image, or of a recording."""

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @cached_property
    def reference(self) -> ModelReference:
        """How answers name this model."""
        return ModelReference(name=self.name, version=self.version, engine=self.worker.engine.name)

    def refresh(self) -> None:
        """Update the gauges, and lower brownout even while no request arrives."""
        scheduler = self.worker.scheduler
        if self.brownout:
            pressure = scheduler.pending_timesteps / scheduler.queue_timesteps
            self.brownout.observe(pressure, time.monotonic())
        self.metrics.refresh(scheduler, self.brownout.level if self.brownout else 0)


Prepared = tuple[Loaded | ServedModel, ...]
"""What a reload would serve: what it has loaded, and what has not changed."""


class Registry:
    """Served models by name and version; the first one is the default.

    The table is replaced whole, never changed, so that a request sees one or the other.
    """

    def __init__(self, models: tuple[ServedModel, ...], settings: Settings, metrics: Metrics):
        self._settings = settings
        self._serve(models)
        self._metrics = metrics
        self._calls: tuple[Call, Call] | None = None
        self._reloading = threading.Lock()

    @classmethod
    def load(cls, settings: Settings, metrics: Metrics) -> Registry:
        """Load every bundle in the settings and build its engine.

        Raises:
            ModelError: a bundle must not be served or an engine cannot run it; nothing started.
        """
        profile = load_profile(settings.energy_profile)
        _check_names([load_manifest(path) for path in settings.bundles])
        loaded = [_loaded(path, profile, settings) for path in settings.bundles]
        return cls(tuple(_served(one, settings, metrics) for one in loaded), settings, metrics)

    def get(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model ``name`` (default: the first's name), in ``version`` or the first loaded.

        Raises:
            UnknownModel: names the models there are.
        """
        models = self._models
        if name is version is None:
            return models[0]
        name = models[0].name if name is None else name
        for model in models:
            if model.name == name and version in (None, model.version):
                return model
        served = ", ".join(f"{model.name} {model.version}" for model in models)
        wanted = name if version is None else f"{name} {version}"
        raise UnknownModel(f"no model {wanted[:200]!r}; there is {served}")

    def label(self, name: str | None = None, version: str | None = None) -> str:
        """What metrics call the model that :meth:`get` gives; empty where there is none."""
        try:
            return self.get(name, version).name
        except UnknownModel:
            return ""

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    def start(self, post: Call = run_here, soon: Call = run_here) -> None:
        """Start every model's worker; see :meth:`Worker.start`."""
        self._calls = (post, soon)
        for model in self._models:
            _start(model, post, soon)

    @property
    def identity(self) -> str:
        """Of what is served; equal wherever the same models with the same profile are."""
        return self.identity_of(self._models)

    @staticmethod
    def identity_of(models: Prepared) -> str:
        """Manifests have hashes of all other files of their bundles."""
        digest = hashlib.sha256()
        for model in models:
            digest.update(model.bundle.manifest.model_dump_json().encode())
            digest.update(model.energy.profile.model_dump_json().encode())
        return digest.hexdigest()

    def reload(self) -> None:
        """Load the bundle folders again and swap all models at once.

        Bundles that have not changed go on as they are, unless the hardware profile has or their
        engine is broken. The old models' admitted requests are finished by their own workers.
        Slow: call it off the event loop.

        Raises:
            ModelError: a bundle must not be served, or the profile; everything stays as it was.
        """
        with self._reloading:
            self.commit(self.prepare())

    def prepare(self) -> Prepared:
        """The first half of :meth:`reload`: what would be served from now on.

        Raises:
            ModelError: a bundle must not be served, or the profile.
        """
        profile = load_profile(self._settings.energy_profile)
        _check_names([load_manifest(path) for path in self._settings.bundles])
        current = {
            model.manifest.model_dump_json(): model
            for model in self._models
            if model.energy.profile == profile and model.worker.healthy
        }
        return tuple(
            current.get(load_manifest(path).model_dump_json())
            or _loaded(path, profile, self._settings)
            for path in self._settings.bundles
        )

    def commit(self, prepared: Prepared) -> None:
        """The second half: what was prepared is served, and the old models finish."""
        before = self._models
        # Nothing can be refused any more: only now do the new ones get series.
        models = tuple(
            one if isinstance(one, ServedModel) else _served(one, self._settings, self._metrics)
            for one in prepared
        )
        fresh = [model for model, one in zip(models, prepared, strict=True) if model is not one]
        for model in fresh:
            if self._calls:
                _start(model, *self._calls)
        self._serve(models)
        served = {(model.name, model.version) for model in models}
        for old in set(before).difference(models):
            if not old.worker.drain(self._settings.drain_seconds):
                old.worker.give_up(InferenceFailed("its model was replaced, and it hangs"))
            if (old.name, old.version) not in served:
                old.metrics.retired()
        logger.info("%d models reloaded, %d unchanged", len(fresh), len(models) - len(fresh))

    def _serve(self, models: tuple[ServedModel, ...]) -> None:
        self._models = models
        queue = self._settings.queue_timesteps
        self.places = sum(model.capacity.slots + queue for model in models)
        """How many requests the slots and queues of all models can hold."""

    def drain(self, seconds: float) -> bool:
        """Stop admitting, finish what was admitted; False if some worker ran out of time."""
        deadline = time.monotonic() + seconds
        drained = [model.worker.drain(deadline - time.monotonic()) for model in self]
        return all(drained)


def _start(model: ServedModel, post: Call, soon: Call) -> None:
    model.worker.start(post, soon)
    logger.info(
        "%s %s: %s engine, %d slots, %d timesteps, entropy threshold %g",
        model.name, model.version, model.worker.engine.name, model.capacity.slots,
        model.manifest.timesteps, model.manifest.default_threshold,
    )  # fmt: skip


def _check_names(manifests: list[Manifest]) -> None:
    names = [f"{manifest.name} {manifest.version}" for manifest in manifests]
    if len(set(names)) != len(names):
        raise BundleError(f"two bundles share name and version: {', '.join(sorted(names))}")


def _loaded(path: Path, profile: HardwareProfile, settings: Settings) -> Loaded:
    bundle = load_bundle(path)
    energy = EnergyModel(bundle.manifest, profile)
    engine = build_engine(bundle, settings.engine, settings.engine_threads)
    capacity = (
        Capacity(settings.slots) if settings.slots else measured_capacity(engine, bundle.manifest)
    )
    return Loaded(bundle, engine, capacity, energy)


def _served(loaded: Loaded, settings: Settings, metrics: Metrics) -> ServedModel:
    bundle, engine, capacity, energy = loaded
    manifest = bundle.manifest
    scheduler = Scheduler(capacity.slots, settings.queue_timesteps)
    least, most = (JOULE_PER_PJ * pj for pj in energy.range_pj)
    series = metrics.for_model(manifest, engine.name, scheduler, (least, most))
    curve = Curve.of(energy)
    return ServedModel(
        bundle,
        energy,
        Reporter(energy),
        curve,
        capacity,
        Brownout(curve, settings.brownout_accuracy_loss) if settings.brownout else None,
        Worker(manifest, engine, scheduler, series, energy),
        series,
        manifest.network.input_shape,
        manifest.input_shape,
    )
