"""A small client, sync and async, over httpx.

with SpikeServeClient("http://localhost:8000") as client:
    answer = client.classify(Path("photo.jpg"), entropy_threshold=0.3)
    print(answer.prediction.label, answer.timesteps_used)
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

import httpx

from service.schemas import Classification, ModelList

Image = bytes | Path


class Parameters(TypedDict, total=False):
    """The query parameters of ``POST /classify``."""

    entropy_threshold: float
    min_timesteps: int
    max_timesteps: int
    top_k: int
    model: str


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
    ) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout, transport=transport)

    def classify(self, image: Image, **parameters: Unpack[Parameters]) -> Classification:
        """Classify one encoded image.

        Raises:
            SpikeServeError: the service refused; the message is its explanation.
        """
        return _classification(self._http.send(_request(self._http, image, parameters)))

    def models(self) -> ModelList:
        """What the service serves."""
        return ModelList.model_validate_json(_checked(self._http.get("/v1/models")).content)

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
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, transport=transport)

    async def classify(self, image: Image, **parameters: Unpack[Parameters]) -> Classification:
        """See :meth:`SpikeServeClient.classify`."""
        return _classification(await self._http.send(_request(self._http, image, parameters)))

    async def models(self) -> ModelList:
        """What the service serves."""
        response = _checked(await self._http.get("/v1/models"))
        return ModelList.model_validate_json(response.content)

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


def _request(
    http: httpx.Client | httpx.AsyncClient, image: Image, parameters: Parameters
) -> httpx.Request:
    data = image.read_bytes() if isinstance(image, Path) else image
    query = httpx.QueryParams({key: str(value) for key, value in parameters.items()})
    headers = {"Content-Type": "application/octet-stream"}
    return http.build_request("POST", "/classify", content=data, params=query, headers=headers)


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
