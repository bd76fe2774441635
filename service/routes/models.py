"""``GET /v1/models``: what is served."""

from __future__ import annotations

from fastapi import APIRouter, Request

from models.bundle import Manifest
from service.registry import ServedModel
from service.schemas import ModelList, ModelSummary, problems

router = APIRouter(prefix="/v1/models")


@router.get("")
async def list_models(request: Request) -> ModelList:
    """Every served model, the default first."""
    return ModelList(
        models=[
            _summary(model, default=index == 0)
            for index, model in enumerate(request.app.state.registry)
        ]
    )


@router.get("/{name}", responses=problems(404, 422))
async def describe_model(request: Request, name: str) -> Manifest:
    """The whole manifest: network, calibration, accuracy, provenance."""
    manifest: Manifest = request.app.state.registry.get(name).manifest
    return manifest


def _summary(model: ServedModel, *, default: bool) -> ModelSummary:
    manifest, worker = model.manifest, model.worker
    return ModelSummary(
        name=manifest.name,
        version=manifest.version,
        description=manifest.description,
        engine=worker.engine.name,
        default=default,
        labels=manifest.labels,
        input_shape=manifest.network.input_shape,
        encoding=manifest.encoding.kind,
        timesteps=manifest.timesteps,
        default_entropy_threshold=manifest.exits.default_entropy_threshold,
        slots=worker.scheduler.slots,
        queue_capacity=worker.scheduler.queue_capacity,
    )
