"""What only the operator may ask for; these routes exist only where an admin key is set."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from spikeserve.models.errors import ModelError
from spikeserve.service.bodies import read_document
from spikeserve.service.errors import ReloadRefused
from spikeserve.service.http.queries import reads
from spikeserve.service.routes.models import summaries
from spikeserve.service.schemas import BODY_PROBLEMS, ModelList, NothingMore, problems


def operator(request: Request) -> None:
    request.app.state.gate.check_admin(request)


router = APIRouter(prefix="/v1/admin", dependencies=[Depends(operator), Depends(reads())])


@router.post("/reload", responses=problems(*BODY_PROBLEMS, 401, 409))
async def reload(request: Request) -> ModelList:
    """Load the bundle folders again and swap all models at once, or change nothing."""
    state = request.app.state
    await read_document(request, NothingMore)
    try:
        await state.reload()  # in all processes of our own supervisor, if there is one
    except (ModelError, OSError) as error:
        raise ReloadRefused(str(error)) from error
    return summaries(state.registry)
