"""The models a service holds: each verified bundle with its engine, worker and energy model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from models.bundle import Bundle, Manifest, load_bundle
from models.energy.estimate import EnergyModel
from models.energy.hardware import DTSNN_CALIBRATED_65NM
from models.engines.selection import build_engine
from models.errors import BundleError
from service.errors import UnknownModel
from service.metrics import Metrics, ModelMetrics
from service.scheduler import Scheduler
from service.settings import Settings
from service.worker import Worker


@dataclass(frozen=True)
class ServedModel:
    """One bundle, ready to answer."""

    bundle: Bundle
    energy: EnergyModel
    worker: Worker
    metrics: ModelMetrics

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def name(self) -> str:
        return self.manifest.name


class Registry:
    """Served models by name; the first one is the default."""

    def __init__(self, models: list[ServedModel]) -> None:
        self._models = {model.name: model for model in models}

    @classmethod
    def load(cls, settings: Settings, metrics: Metrics) -> Registry:
        """Load every bundle in the settings and build its engine.

        Raises:
            ModelError: a bundle must not be served or an engine cannot run it; nothing started.
        """
        bundles = [load_bundle(path) for path in settings.bundles]
        names = [bundle.manifest.name for bundle in bundles]
        if len(set(names)) != len(names):
            raise BundleError(f"two bundles share a name: {', '.join(sorted(names))}")
        return cls([_served(bundle, settings, metrics) for bundle in bundles])

    def get(self, name: str | None) -> ServedModel:
        """The model called ``name``, or the default.

        Raises:
            UnknownModel: names the models there are.
        """
        if name is None:
            return next(iter(self))
        if name not in self._models:
            raise UnknownModel(f"no model {name!r}; there is {', '.join(self._models)}")
        return self._models[name]

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def start(self) -> None:
        for model in self:
            model.worker.start()

    def drain(self, seconds: float) -> bool:
        """Stop admitting, finish what was admitted; False if some worker ran out of time."""
        deadline = time.monotonic() + seconds
        drained = [model.worker.drain(deadline - time.monotonic()) for model in self]
        return all(drained)


def _served(bundle: Bundle, settings: Settings, metrics: Metrics) -> ServedModel:
    manifest = bundle.manifest
    engine = build_engine(bundle, settings.engine, settings.engine_threads)
    scheduler = Scheduler(settings.slots, settings.queue_capacity)
    series = metrics.for_model(manifest, engine.name, scheduler)
    worker = Worker(manifest, engine, scheduler, series)
    return ServedModel(bundle, EnergyModel(manifest, DTSNN_CALIBRATED_65NM), worker, series)
