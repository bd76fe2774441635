"""A small client, sync and async, over httpx.

with SpikeServeClient("http://localhost:8000") as client:
    answer = client.classify(Path("photo.jpg"), entropy_threshold=0.3)
    print(answer.prediction.label, answer.timesteps_used)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict, Unpack
from urllib.parse import quote

import httpx

from spikeserve.service.schemas import (
    BatchClassification,
    Calibration,
    Classification,
    ModelList,
    Problem,
)
from spikeserve.service.stream_schemas import Timestep

Image = bytes | Path
EVENT = "event: "


class Parameters(TypedDict, total=False):
    """The query parameters of ``POST /classify``."""

    entropy_threshold: float
    min_timesteps: int
    max_timesteps: int
    deadline_ms: float
    on_deadline: Literal["best", "error"]
    target_accuracy: float
    target_timesteps: float
    energy_budget_pj: float
    brownout: bool
    top_k: int
    energy: Literal["on", "off", "full"]
    model: str
    version: str


class StreamParameters(Parameters, total=False):
    """Those of ``POST /classify/stream``."""

    detail: Literal["none", "spikes"]


class SpikeServeError(Exception):
    """The service refused; ``status`` and ``retry_after`` (seconds or None) say how."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.retry_after = retry_after


class SpikeServeClient:
    """Blocking client.

    Args:
        transport: replaces the network, e.g. ``httpx.MockTransport`` in tests.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        timeout: float = 10.0,
        transport: httpx.BaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, timeout=timeout, transport=transport, headers=_headers(api_key)
        )

    def classify(self, image: Image, **parameters: Unpack[Parameters]) -> Classification:
        """Classify one encoded image.

        Raises:
            SpikeServeError: the service refused; the message is its explanation.
        """
        request = _request(self._http, "/classify", image, parameters)
        return _classification(self._http.send(request))

    def stream(
        self, image: Image, **parameters: Unpack[StreamParameters]
    ) -> Iterator[Timestep | Classification]:
        """Every timestep as it happens, and the answer at the end.

        Raises:
            SpikeServeError: the service refused, or something failed on the way.
        """
        request = _request(self._http, "/classify/stream", image, parameters)
        with closing(self._http.send(request, stream=True)) as response:
            if not response.is_success:
                response.read()
            lines = _checked(response).iter_lines()
            for line in lines:
                if line.startswith(EVENT):
                    yield _event(line, next(lines))

    def classify_batch(
        self, images: Sequence[Image], **parameters: Unpack[Parameters]
    ) -> BatchClassification:
        """Classify several images in one request; each has its own status in the answer.

        Raises:
            SpikeServeError: the batch as a whole was refused.
        """
        return _batch(self._http.send(_batch_request(self._http, images, parameters)))

    def models(self) -> ModelList:
        """What the service serves."""
        return ModelList.model_validate_json(_checked(self._http.get("/v1/models")).content)

    def calibration(self, model: str, version: str | None = None) -> Calibration:
        """Which entropy threshold of a model gives which accuracy, timesteps and energy.

        Raises:
            SpikeServeError: there is no such model.
        """
        return _calibration(self._http.send(_calibration_request(self._http, model, version)))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncSpikeServeClient:
    """The same, awaitable."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        timeout: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=timeout, transport=transport, headers=_headers(api_key)
        )

    async def classify(self, image: Image, **parameters: Unpack[Parameters]) -> Classification:
        """See :meth:`SpikeServeClient.classify`."""
        request = _request(self._http, "/classify", image, parameters)
        return _classification(await self._http.send(request))

    async def stream(
        self, image: Image, **parameters: Unpack[StreamParameters]
    ) -> AsyncIterator[Timestep | Classification]:
        """See :meth:`SpikeServeClient.stream`."""
        request = _request(self._http, "/classify/stream", image, parameters)
        async with aclosing(await self._http.send(request, stream=True)) as response:
            if not response.is_success:
                await response.aread()
            lines = _checked(response).aiter_lines()
            async for line in lines:
                if line.startswith(EVENT):
                    yield _event(line, await anext(lines))

    async def classify_batch(
        self, images: Sequence[Image], **parameters: Unpack[Parameters]
    ) -> BatchClassification:
        """See :meth:`SpikeServeClient.classify_batch`."""
        return _batch(await self._http.send(_batch_request(self._http, images, parameters)))

    async def models(self) -> ModelList:
        """What the service serves."""
        response = _checked(await self._http.get("/v1/models"))
        return ModelList.model_validate_json(response.content)

    async def calibration(self, model: str, version: str | None = None) -> Calibration:
        """See :meth:`SpikeServeClient.calibration`."""
        request = _calibration_request(self._http, model, version)
        return _calibration(await self._http.send(request))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _query(parameters: Parameters) -> httpx.QueryParams:
    return httpx.QueryParams(
        {key: str(value) for key, value in parameters.items() if value is not None}
    )


def _bytes(image: Image) -> bytes:
    if isinstance(image, str):
        raise TypeError(f"an image is bytes or a Path; did you mean Path({image!r})?")
    return image.read_bytes() if isinstance(image, Path) else image


def _request(
    http: httpx.Client | httpx.AsyncClient, path: str, image: Image, parameters: Parameters
) -> httpx.Request:
    headers = {"Content-Type": "application/octet-stream"}
    return http.build_request(
        "POST", path, content=_bytes(image), params=_query(parameters), headers=headers
    )


def _batch_request(
    http: httpx.Client | httpx.AsyncClient, images: Sequence[Image], parameters: Parameters
) -> httpx.Request:
    files = [("file", (f"{index}", _bytes(image))) for index, image in enumerate(images)]
    return http.build_request("POST", "/classify/batch", files=files, params=_query(parameters))


def _calibration_request(
    http: httpx.Client | httpx.AsyncClient, model: str, version: str | None
) -> httpx.Request:
    params = {"version": version} if version else None
    return http.build_request("GET", f"/v1/models/{quote(model, '')}/calibration", params=params)


def _event(kind: str, line: str) -> Timestep | Classification:
    content = line.removeprefix("data: ")
    match kind.removeprefix(EVENT):
        case "timestep":
            return Timestep.model_validate_json(content)
        case "result":
            return Classification.model_validate_json(content)
        case _:
            problem = Problem.model_validate_json(content)
            raise SpikeServeError(problem.status, problem.detail)


def _calibration(response: httpx.Response) -> Calibration:
    return Calibration.model_validate_json(_checked(response).content)


def _batch(response: httpx.Response) -> BatchClassification:
    return BatchClassification.model_validate_json(_checked(response).content)


def _classification(response: httpx.Response) -> Classification:
    return Classification.model_validate_json(_checked(response).content)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    retry_after = response.headers.get("retry-after", "")
    raise SpikeServeError(
        response.status_code, detail, float(retry_after) if retry_after.isdecimal() else None
    )
