"""What only the operator may ask for; these routes exist only where an admin key is set."""

from __future__ import annotations

import asyncio
import os
import signal

from fastapi import APIRouter, Depends, Request

from spikeserve.models.errors import ModelError
from spikeserve.service.bodies import read_document
from spikeserve.service.errors import ReloadRefused
from spikeserve.service.queries import reads
from spikeserve.service.routes.models import summaries
from spikeserve.service.schemas import BODY_PROBLEMS, ModelList, NothingMore, problems


def operator(request: Request) -> None:
    request.app.state.gate.check_admin(request)


router = APIRouter(prefix="/v1/admin", dependencies=[Depends(operator), Depends(reads())])


@router.post("/reload", responses=problems(*BODY_PROBLEMS, 401, 409))
async def reload(request: Request) -> ModelList:
    """Load the bundle folders again and swap all models at once, or change nothing."""
    await read_document(request, NothingMore)
    registry = request.app.state.registry
    try:
        await asyncio.to_thread(registry.reload)
    except (ModelError, OSError) as error:
        raise ReloadRefused(str(error)) from error
    if request.app.state.settings.workers > 1:  # the supervisor tells all processes
        os.kill(os.getppid(), signal.SIGHUP)
    return summaries(registry)
