"""``GET /v1/models``: what is served."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from spikeserve.models.manifest import Manifest
from spikeserve.service.errors import OutcomeUnreachable
from spikeserve.service.http.queries import reads
from spikeserve.service.registry import Registry, ServedModel
from spikeserve.service.schemas import (
    Calibration,
    CalibrationPoint,
    ModelList,
    ModelSummary,
    problems,
)


def allowed(request: Request) -> None:
    request.app.state.gate.check(request)


router = APIRouter(prefix="/v1/models", dependencies=[Depends(allowed)])
VERSION = [Depends(reads("version"))]


@router.get("", responses=problems(401, 422), dependencies=[Depends(reads())])
async def list_models(request: Request) -> ModelList:
    """Every served model, the default first."""
    return summaries(request.app.state.registry)


@router.get("/{name}", responses=problems(401, 404, 422), dependencies=VERSION)
async def describe_model(request: Request, name: str, version: str | None = None) -> Manifest:
    """The whole manifest: network, calibration, accuracy, provenance."""
    manifest: Manifest = request.app.state.registry.get(name, version).manifest
    return manifest


@router.get("/{name}/calibration", responses=problems(401, 404, 409, 422), dependencies=VERSION)
async def calibration(request: Request, name: str, version: str | None = None) -> Calibration:
    """Which entropy threshold gives which accuracy, average timesteps and energy; 409 where the
    model was imported without labelled images that would tell."""
    model: ServedModel = request.app.state.registry.get(name, version)
    if not model.manifest.exits.is_calibrated:
        raise OutcomeUnreachable(f"{model.name} is not calibrated: ask with entropy_threshold")
    return Calibration(
        model=model.name,
        version=model.version,
        default_entropy_threshold=model.manifest.default_threshold,
        images=model.manifest.provenance.calibration_images,
        energy_profile=model.energy.profile.name,
        curve=[
            CalibrationPoint.model_validate(p, from_attributes=True) for p in model.curve.points
        ],
    )


def summaries(registry: Registry) -> ModelList:
    return ModelList(
        models=[_summary(model, default=index == 0) for index, model in enumerate(registry)]
    )


def _summary(model: ServedModel, *, default: bool) -> ModelSummary:
    manifest, worker = model.manifest, model.worker
    return ModelSummary(
        name=manifest.name,
        version=manifest.version,
        description=manifest.description,
        engine=worker.engine.name,
        default=default,
        labels=manifest.labels,
        input_shape=manifest.input_shape,
        encoding=manifest.encoding.kind,
        timesteps=manifest.timesteps,
        default_entropy_threshold=manifest.exits.default_entropy_threshold,
        slots=worker.scheduler.slots,
        queue_capacity=int(worker.scheduler.queue_timesteps),
        brownout=model.brownout is not None,
        measured_ticks=list(model.capacity.measured),
    )
