"""Every way a request can fail, with its HTTP status; the one place that maps them.

ServiceError
 ├─ MalformedRequest    400  body is not valid JSON, multipart or base64
 ├─ BadHttp             400  the request itself cannot be read
 ├─ Unauthorised        401  no API key, or none we know
 ├─ UnknownModel        404
 ├─ BodyTimeout         408  the body took too long to arrive
 ├─ HeadTimeout         408  so did the head
 ├─ OutcomeUnreachable  409  the calibration curve does not reach it
 ├─ ReloadRefused       409  a bundle must not be served; nothing changed
 ├─ BodyTooLarge        413
 ├─ UnsupportedMedia    415  not an image format we decode, or compressed otherwise than we undo
 ├─ UnusableImage       422  damaged, animated or with too many pixels
 ├─ InvalidParameter    422
 ├─ QueueFull           429  with Retry-After
 ├─ RateLimited         429  this key, with Retry-After
 ├─ HeadTooLarge        431
 ├─ InferenceFailed     500  this row only
 ├─ NotReady            503  draining, or the engine is gone, with Retry-After
 ├─ Crowded             503  too many connections, with Retry-After
 └─ DeadlineExceeded    504

Answers are RFC 9457 ``application/problem+json``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from spikeserve.service.attempts import attempted

logger = logging.getLogger("spikeserve")

MAX_REPORTED = 5
INTERNAL = "internal error; the log has the request id"


class ServiceError(Exception):
    """Base: ``status`` for HTTP, ``reason`` for metrics, the message for people."""

    status = 500
    reason = "error"

    @property
    def headers(self) -> dict[str, str]:
        return {}


class MalformedRequest(ServiceError):
    status, reason = 400, "malformed"


class BadHttp(ServiceError):
    status, reason = 400, "bad_http"


class Unauthorised(ServiceError):
    status, reason = 401, "unauthorised"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class UnknownModel(ServiceError):
    status, reason = 404, "unknown_model"


class BodyTimeout(ServiceError):
    status, reason = 408, "body_timeout"


class HeadTimeout(ServiceError):
    status, reason = 408, "head_timeout"


class OutcomeUnreachable(ServiceError):
    status, reason = 409, "unreachable"


class ReloadRefused(ServiceError):
    status, reason = 409, "reload_refused"


class BodyTooLarge(ServiceError):
    status, reason = 413, "too_large"


class UnsupportedMedia(ServiceError):
    status, reason = 415, "unsupported_media"


class UnsupportedCoding(UnsupportedMedia):
    ACCEPTED = ("gzip", "deflate")

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept-Encoding": ", ".join(self.ACCEPTED)}


class UnusableImage(ServiceError):
    status, reason = 422, "bad_image"


class InvalidParameter(ServiceError):
    status, reason = 422, "bad_parameter"


class RetryLater(ServiceError):
    """Refused now, welcome in ``seconds``; HTTP wants them whole."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self.seconds)))}


class QueueFull(RetryLater):
    status, reason = 429, "queue_full"


class RateLimited(RetryLater):
    status, reason = 429, "rate_limited"


class HeadTooLarge(ServiceError):
    status, reason = 431, "head_too_large"


class InferenceFailed(ServiceError):
    status, reason = 500, "inference_failed"


class NotReady(RetryLater):
    status, reason = 503, "not_ready"


class Crowded(RetryLater):
    status, reason = 503, "connections"


class DeadlineExceeded(ServiceError):
    status, reason = 504, "deadline"


REJECTIONS = tuple(
    kind.reason
    for kind in (
        MalformedRequest, BadHttp, Unauthorised, UnknownModel, BodyTimeout, HeadTimeout,
        OutcomeUnreachable, ReloadRefused, BodyTooLarge, UnsupportedMedia, UnusableImage,
        InvalidParameter, QueueFull, RateLimited, HeadTooLarge, InferenceFailed, NotReady,
        Crowded, DeadlineExceeded,
    )
)  # fmt: skip


def problem(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer with an RFC 9457 problem document."""
    return JSONResponse(
        problem_document(request, status, detail),
        status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def problem_document(request: Request, status: int, detail: str) -> dict[str, str | int]:
    """RFC 9457, for where a status line cannot tell."""
    return document(status, detail, request.state.request_id)


def document(status: int, detail: str, request_id: str) -> dict[str, str | int]:
    """A problem as RFC 9457 has it."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }


def frameless(error: ServiceError) -> ServiceError:
    """The error without its frames: these would keep whole bodies in memory as long as it lives."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def count(request: Request, error: ServiceError) -> None:
    """Count a refusal by its reason; nothing but its answer is made of it any more."""
    attempted("counting", _count, request, error.reason)
    frameless(error)  # a future may hold it, and its frames the future


def _count(request: Request, reason: str) -> None:
    request.app.state.metrics.rejected.labels(reason).inc()


def refusal(request: Request, error: ServiceError) -> JSONResponse:
    """The answer to a request that is refused."""
    count(request, error)
    return problem(request, error.status, str(error), error.headers)


def unexpected(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that met a fault of ours; what it was stays in the log."""
    logger.error("request %s failed", request.state.request_id, exc_info=error)
    # The outermost handler answers outside RequestContext, which adds the id elsewhere.
    headers = {"X-Request-Id": request.state.request_id}
    return problem(request, 500, INTERNAL, headers)


def install_handlers(app: FastAPI) -> None:
    """Map every exception a route can raise to a problem document."""

    async def service_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        return refusal(request, error)

    async def invalid_parameter(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        attempted("counting", _count, request, InvalidParameter.reason)
        return problem(request, InvalidParameter.status, describe(error.errors()))

    async def http_exception(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"  # see RequestContext
        return problem(request, error.status_code, error.detail, headers)

    async def any_other(request: Request, error: Exception) -> JSONResponse:
        return unexpected(request, error)

    app.add_exception_handler(ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, invalid_parameter)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(Exception, any_other)


def describe(errors: Sequence[Any]) -> str:
    """Pydantic's findings as one sentence that names each parameter."""
    parts = []
    for error in errors[:MAX_REPORTED]:
        where = ".".join(str(part) for part in error["loc"] if part not in ("query", "body"))
        if error["type"] == "extra_forbidden":
            parts.append(f"unknown parameter {where!r}")
        else:
            said = error["msg"].removeprefix("Value error, ")  # pydantic's, before a text of ours
            parts.append(f"{where}: {said}" if where else said)
    return "; ".join(parts)
