"""LitServe with the same engine and early exit, batched or one by one."""

# No `from __future__ import annotations`: LitServe makes its route of decode_request's annotation.

import json
from typing import Annotated

import litserve
from fastapi import Depends, Request, Response

from benchmarks.servers.batching import BATCH, WAIT_S
from benchmarks.servers.model import Document, Model, parser, pixels
from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.selection import EngineChoice
from spikeserve.models.exits import ExitPolicy

Payload = tuple[bytes, float | None]
Item = tuple[Pixels, ExitPolicy]


async def payload(request: Request, entropy_threshold: float | None = None) -> Payload:
    return await request.body(), entropy_threshold


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """Runs in LitServe's inference process; LitServe gathers the batches."""

    def __init__(self, engine: EngineChoice, threads: int, batched: bool) -> None:
        super().__init__(
            max_batch_size=BATCH if batched else 1,
            batch_timeout=WAIT_S if batched else 0.0,
            api_path="/classify",
        )
        self._engine: EngineChoice = engine
        self._threads = threads
        self._batched = batched

    def setup(self, device: str) -> None:  # noqa: ARG002
        self._model = Model(self._engine, self._threads)

    def decode_request(self, request: Annotated[Payload, Depends(payload)]) -> Item:
        data, threshold = request
        return pixels(data), self._model.policy(threshold)

    def batch(self, inputs: list[Item]) -> list[Item]:
        return inputs

    def predict(self, x: list[Item] | Item) -> list[Document] | Document:
        items = x if isinstance(x, list) else [x]
        answers = self._model.shrinking(*zip(*items, strict=True))
        return answers if self._batched else answers[0]

    def unbatch(self, output: list[Document]) -> list[Document]:
        return output

    def encode_response(self, output: Document) -> Response:
        return Response(json.dumps(output), media_type="application/json")


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--batched", action="store_true")
    made.add_argument("--processes", type=int, default=1)
    options = made.parse_args()
    server = litserve.LitServer(
        Classifier(options.engine, options.threads, options.batched),
        accelerator="cpu",
        workers_per_device=options.processes,
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=options.port,
        num_api_servers=options.processes,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
