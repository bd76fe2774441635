"""``create_app``: routes, lifespan and error mapping put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from spikeserve.service.admission import Admission
from spikeserve.service.attempts import attempted
from spikeserve.service.classification import Classifier
from spikeserve.service.context import RequestContext
from spikeserve.service.decoders import Decoders
from spikeserve.service.decoding import DecodeQueue
from spikeserve.service.details import Drawing
from spikeserve.service.direct import Application
from spikeserve.service.errors import install_handlers
from spikeserve.service.http.cross_origin import CrossOriginApplication
from spikeserve.service.http.redirects import Redirects
from spikeserve.service.images import decode_image
from spikeserve.service.keys import Gate
from spikeserve.service.memory import Crowds
from spikeserve.service.metrics import Metrics
from spikeserve.service.registry import Registry
from spikeserve.service.routes import (
    admin,
    batch,
    classify,
    docs,
    health,
    models,
    openinference,
    page,
    stream,
)
from spikeserve.service.settings import Settings
from spikeserve.service.watchdog import watch

logger = logging.getLogger("spikeserve")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The ASGI application; bundles are loaded here, so a bad one never starts to serve.

    Raises:
        ModelError: a bundle or engine is refused; the message names the file and the fix.
    """
    settings = settings or Settings()
    metrics = Metrics()
    registry = Registry.load(settings, metrics)
    release = version("spikeserve")
    metrics.build_info.labels(release).set(1)
    waiting = DecodeQueue(
        settings.decode_threads, settings.decode_queue_seconds, settings.max_decode_bytes
    )
    admission = Admission(
        lambda: registry.places,
        settings.max_total_upload_bytes,
        settings.body_timeout_seconds,
        waiting.check,
    )
    refresh = refresher(registry, admission, waiting, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        registry.start(loop.call_soon_threadsafe, loop.call_soon)
        app.state.decoders = decoders = Decoders(waiting, settings.max_pixels, decode_image)
        decoders.start(loop.call_soon_threadsafe)
        app.state.classifier = Classifier(registry, decoders, settings.max_pixels)
        app.state.drawing = drawing = Drawing()
        watching = watch(registry, settings.step_timeout_seconds, refresh)
        app.state.watchdog = watchdog = asyncio.create_task(watching)
        app.state.ready = admission.open = True
        attempted("counting", metrics.ready.set, 1)
        yield
        app.state.ready = admission.open = False
        attempted("counting", metrics.ready.set, 0)
        watchdog.cancel()
        if not await asyncio.to_thread(registry.drain, settings.drain_seconds):
            logger.error("requests were still running after %d s", settings.drain_seconds)
        decoders.close()
        drawing.close()

    kind: Callable[..., Application] = Application
    if settings.cors_origins:
        kind = partial(CrossOriginApplication, origins=settings.cors_origins)
    app = kind(
        metrics,
        root_path=settings.root_path,
        keys=bool(settings.api_key_hashes),
        title="SpikeServe",
        summary="Spiking neural networks whose inference stops as soon as it is sure.",
        version=release,
        lifespan=lifespan,
        docs_url=None,  # ours is served from the package's own files
        redoc_url=None,
    )
    app.router.routes += docs.ROUTES
    app.state.settings, app.state.metrics, app.state.registry = settings, metrics, registry
    app.state.admission, app.state.ready, app.state.watchdog = admission, False, None
    app.state.refresh = refresh
    admission.open = False  # until the lifespan has started the workers
    app.state.reload = lambda: asyncio.to_thread(registry.reload)
    app.state.gate = Gate(
        settings.api_key_hashes,
        settings.admin_key_hash,
        settings.rate_limit_images_per_second / settings.workers,
        settings.rate_burst_images,
    )
    install_handlers(app)
    app.add_middleware(RequestContext, metrics=metrics)
    Redirects(app.router)
    routers = (classify, stream, batch, models, health, openinference)
    privileged = (admin,) if settings.admin_key_hash else ()
    pages = (page,) if settings.page else ()
    app.complete(*(module.router for module in (*routers, *privileged, *pages)))
    return app


def refresher(
    registry: Registry, admission: Admission, waiting: DecodeQueue, metrics: Metrics
) -> Callable[[], None]:
    """What is due now and then: late uploads end, gauges are set, memory goes back."""
    crowds = Crowds()

    def set_gauges() -> None:
        metrics.inside.set(admission.inside)
        metrics.uploads.set(admission.uploading)
        metrics.upload_bytes.set(admission.held_bytes)
        metrics.decodes_queued.set(len(waiting.waiting))
        metrics.decode_bytes.set(waiting.running_bytes)

    def refresh() -> None:
        """Each part on its own: uploads end in time whatever a gauge does."""
        attempted("ending uploads", admission.expire, time.monotonic())
        attempted("setting gauges", set_gauges)
        attempted("giving memory back", crowds.look, admission.held_bytes + waiting.running_bytes)
        for model in registry:
            attempted(f"refreshing {model.name}", model.refresh)

    return refresh
