"""The Open Inference Protocol, version 2, over HTTP: what KServe's and Triton's clients speak.

One input, ``image``: files (BYTES) or pixels (UINT8). Early exit is asked for in the
request's parameters, by the names ``POST /classify`` has; timesteps and energy come back
as outputs, one value an image.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPMethod, HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from spikeserve.models.encoding import Pixels
from spikeserve.service.admission import File
from spikeserve.service.bodies import read_body, read_document, validated
from spikeserve.service.classification import Ticket, answer, cancel, finished
from spikeserve.service.errors import (
    InvalidParameter,
    MalformedRequest,
    NotReady,
    ServiceError,
    count,
)
from spikeserve.service.http.queries import check_query, reads
from spikeserve.service.outputs import output, summary
from spikeserve.service.registry import ServedModel
from spikeserve.service.routes.classify import BINARY, COMPRESSED, PROBLEMS
from spikeserve.service.routes.health import RETRY, broken, unready
from spikeserve.service.routes.models import allowed
from spikeserve.service.schemas import BODY_PROBLEMS, ClassifyParameters, RepositoryIndex
from spikeserve.service.tensors import (
    ALL_TENSOR,
    HEADER_LENGTH,
    INPUT,
    OUTPUTS,
    Defaults,
    InferDocument,
    Wanted,
    read_request,
    write_response,
)

logger = logging.getLogger("spikeserve")

EXTENSIONS = ("binary_tensor_data", "classification", "parameters", "spikeserve_early_exit")
ELSEWHERE = {
    "model": "the path names it",
    "version": "the path names it",
    "energy": "ask for the output 'energy_pj'",
    "top_k": "ask for the output 'probabilities' with the parameter 'classification'",
    "timeout": "use 'deadline_ms'",
    "priority": "requests are served in the order they come",
    "sequence_id": "every image stands alone",
}


class OpenInferenceRoute(APIRoute):
    """Answers errors with the protocol's ``{"error": …}``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await usual(request)
            except ServiceError as error:
                count(request, error)
                return failure(error.status, str(error), error.headers)
            except ClientDisconnect:
                raise
            except Exception:
                logger.exception("request %s failed", request.state.request_id)
                return failure(500, "internal error; the log has the request id")

        return handle


def failure(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers=dict(headers or {}))


def failures(*codes: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` for the given error codes."""
    schema = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    }
    content = {"application/json": {"schema": schema}}
    return {code: {"description": HTTPStatus(code).phrase, "content": content} for code in codes}


FILES = {True: "encoded images of any size", False: ".npy files with such an array"}

router = APIRouter(prefix="/v2", route_class=OpenInferenceRoute)
ALONE = [Depends(reads())]
KEY = [Depends(allowed), *ALONE]
BODY: dict[str, Any] = {
    "requestBody": {
        "description": COMPRESSED,
        "required": True,
        "content": {
            "application/json": {"schema": InferDocument.model_json_schema()},
            "application/octet-stream": {"schema": BINARY},
        },
    }
}


INDEX: dict[str, Any] = {
    "requestBody": {
        "content": {"application/json": {"schema": RepositoryIndex.model_json_schema()}}
    }
}


@router.get("/health/live", response_model=None, responses=failures(422, 503), dependencies=ALONE)
async def server_live(request: Request) -> Response:
    """What ``/livez`` says."""
    if names := broken(request):
        return failure(503, f"the engine hangs, fails or stopped: {', '.join(names)}")
    return JSONResponse({"live": True})


@router.get("/health/ready", response_model=None, responses=failures(422, 503), dependencies=ALONE)
async def server_ready(request: Request) -> Response:
    """What ``/readyz`` says."""
    if why := unready(request):
        return failure(NotReady.status, why, RETRY)
    return JSONResponse({"ready": True})


@router.get("", response_model=None, responses=failures(401, 422), dependencies=KEY)
async def server_metadata(request: Request) -> Response:
    """Name, version and extensions of this server."""
    release = request.app.version
    return JSONResponse({"name": "spikeserve", "version": release, "extensions": EXTENSIONS})


@router.post(
    "/repository/index",
    response_model=None,
    openapi_extra=INDEX,
    responses=failures(401, *BODY_PROBLEMS),
    dependencies=KEY,
)
async def repository_index(request: Request) -> Response:
    """Every served model and whether it works; with ``{"ready": true}`` those that do."""
    only_ready = (await read_document(request, RepositoryIndex)).ready
    return JSONResponse(
        [
            {
                "name": model.name,
                "version": model.version,
                "state": "READY" if model.worker.healthy else "UNAVAILABLE",
            }
            for model in request.app.state.registry
            if model.worker.healthy or not only_ready
        ]
    )


@router.get("/models/{name}/versions/{version}", include_in_schema=False, dependencies=KEY)
@router.get("/models/{name}", responses=failures(401, 404, 422), dependencies=KEY)
async def model_metadata(request: Request, name: str) -> Response:
    """Inputs and outputs; ``/models/{name}/versions/{version}`` for one version."""
    model, registry = _model(request, name), request.app.state.registry
    shapes = {"probabilities": [-1, len(model.manifest.labels)]}
    files = FILES[model.manifest.encoding.takes_images]
    return JSONResponse(
        {
            "name": model.name,
            "versions": [other.version for other in registry if other.name == model.name],
            "platform": f"spikeserve_{model.worker.engine.name}",
            "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *model.input_shape]}],
            "outputs": [
                {"name": name, "datatype": datatype, "shape": shapes.get(name, [-1])}
                for name, datatype in OUTPUTS.items()
            ],
            "parameters": {
                "image_files": f"{INPUT} may also be BYTES [-1]: {files}",
                "timesteps": model.manifest.timesteps,
                "default_entropy_threshold": model.manifest.exits.default_entropy_threshold,
            },
        }
    )


@router.get("/models/{name}/versions/{version}/ready", include_in_schema=False, dependencies=KEY)
@router.get("/models/{name}/ready", responses=failures(401, 404, 422, 503), dependencies=KEY)
async def model_ready(request: Request, name: str) -> Response:
    """200 while the model answers; ``…/versions/{version}/ready`` for one version."""
    model = _model(request, name)
    if not (request.app.state.ready and model.worker.healthy):
        return failure(NotReady.status, f"{model.name} is not ready", RETRY)
    return JSONResponse({"name": model.name, "ready": True})


@router.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
@router.post("/models/{name}/infer", openapi_extra=BODY, responses=failures(*PROBLEMS))
async def infer(request: Request, name: str) -> Response:
    """Classify one image or several; ``…/versions/{version}/infer`` for one version."""
    state, arrived = request.app.state, time.monotonic()
    state.gate.check(request)
    check_query(request)
    announced = _header_length(request)
    body = await read_body(
        request, state.settings.max_body_bytes, one_image=announced == ALL_TENSOR
    )
    with _held(request, name) as model:
        request.state.model = model.name
        document, outputs, images = _asked(request, body, announced, model)
        del body  # but for the images
        parameters = _parameters(request, document, model)
        state.gate.spend(request, len(images))
        with state.admission.place(len(images)):
            tickets = await _finished(request, images, parameters, model, arrived)
            answers = [answer(ticket) for ticket in tickets]
    head = {
        "model_name": tickets[0].model.name,
        "model_version": tickets[0].model.version,
        "parameters": summary(answers),
    }
    if document.id is not None:
        head["id"] = document.id
    tensors = [output(want, tickets, answers) for want in outputs]
    content, header_length = write_response(head, tensors, outputs)
    if header_length is None:
        return Response(content, media_type="application/json")
    headers = {HEADER_LENGTH: str(header_length)}
    return Response(content, headers=headers, media_type="application/octet-stream")


# The last ones: an error of the router's own would not be the protocol's.
@router.api_route("", methods=list(HTTPMethod), include_in_schema=False)
@router.api_route("/{path:path}", methods=list(HTTPMethod), include_in_schema=False)
async def unknown(request: Request) -> Response:
    return failure(404, f"there is no {request.method} {request.url.path[:200]}")


def _model(request: Request, name: str) -> ServedModel:
    model: ServedModel = request.app.state.registry.get(name, request.path_params.get("version"))
    return model


@contextmanager
def _held(request: Request, name: str) -> Iterator[ServedModel]:
    """The model, which a reload lets finish all images of this request."""
    while True:
        model = _model(request, name)
        with model.worker.holds:
            if _model(request, name) is model:  # or it was replaced in between, and may be closing
                yield model
                return


def _header_length(request: Request) -> str | None:
    lengths = request.headers.getlist(HEADER_LENGTH)
    if len(lengths) > 1:
        raise MalformedRequest(f"{HEADER_LENGTH} is given twice")
    return lengths[0] if lengths else None


def _asked(
    request: Request, body: bytes, header_length: str | None, model: ServedModel
) -> tuple[InferDocument, Sequence[Wanted], list[File | Pixels]]:
    """What a request asks for; of its body nothing is kept but the images."""
    state = request.app.state
    asked = read_request(
        body,
        header_length,
        model.input_shape,
        len(model.manifest.labels),
        state.settings.max_batch_items,
    )
    asked.document.inputs.clear()  # the same images, as JSON
    new_file = state.admission.file
    images = [new_file(image) if isinstance(image, bytes) else image for image in asked.images]
    return asked.document, asked.outputs, images


def _parameters(
    request: Request, document: InferDocument, model: ServedModel
) -> ClassifyParameters:
    named = (document.model_name or model.name, document.model_version or model.version)
    if named != (model.name, model.version):
        raise MalformedRequest("model_name or model_version is not the path's")
    given = document.parameters or {}
    for key, why in ELSEWHERE.items():
        if key in given:
            raise InvalidParameter(f"{key} is not accepted here: {why}")
    own = {key: value for key, value in given.items() if key not in Defaults.model_fields}
    path = {"model": model.name, "version": request.path_params.get("version")}
    return validated(own, ClassifyParameters).model_copy(update=path)


async def _finished(
    request: Request,
    images: Sequence[File | Pixels],
    parameters: ClassifyParameters,
    model: ServedModel,
    arrived: float,
) -> list[Ticket]:
    """All images submitted and finished, or none.

    Raises:
        ClientDisconnect: the client left.
        ServiceError: an image was refused.
    """
    classifier, tickets = request.app.state.classifier, list[Ticket]()
    try:
        for image in images:
            ticket = await classifier.submit(
                image, parameters, request.state.request_id, arrived, request.receive, model=model
            )
            tickets.append(ticket)
            await asyncio.sleep(0)  # others get their turn between small images, decoded right here
    except BaseException:
        cancel(tickets)
        raise
    await finished(tickets, request.receive)
    return tickets
