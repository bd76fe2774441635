"""Request-level batching: gather requests, run the batch to its end, answer all of them.

What a server that batches requests does with an early-exit network: nobody enters a batch
that runs, and nobody is answered before its last row stops.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.servers.model import Document, Model, parser, pixels
from spikeserve.models.encoding import Pixels
from spikeserve.models.exits import ExitPolicy

BATCH = 16
WAIT_S = 0.002

Run = Callable[[Sequence[Pixels], Sequence[ExitPolicy]], list[Document]]


@dataclass(frozen=True)
class Item:
    image: Pixels
    policy: ExitPolicy
    future: asyncio.Future[Document]


class Collector:
    """The thread that gathers a batch, waiting a little for it to fill, and runs it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    async def classify(self, image: Pixels, policy: ExitPolicy) -> Document:
        item = Item(image, policy, asyncio.get_running_loop().create_future())
        self._items.put(item)
        return await item.future

    def _gathered(self) -> list[Item]:
        items = [self._items.get()]
        until = time.monotonic() + WAIT_S
        while len(items) < BATCH:
            try:
                items.append(self._items.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return items

    def _work(self) -> None:
        while True:
            items = self._gathered()
            answers = self._run([item.image for item in items], [item.policy for item in items])
            items[0].future.get_loop().call_soon_threadsafe(resolve, items, answers)


def resolve(items: Sequence[Item], answers: Sequence[Document]) -> None:
    for item, answer in zip(items, answers, strict=True):
        if not item.future.done():  # its client may have left
            item.future.set_result(answer)


def create_app(model: Model, run: Run) -> FastAPI:
    app, collector = FastAPI(), Collector(run)

    async def classify(request: Request) -> Response:
        given = request.query_params.get("entropy_threshold")
        policy = model.policy(None if given is None else float(given))
        answer = await collector.classify(pixels(await request.body()), policy)
        return Response(json.dumps(answer), media_type="application/json")

    app.add_route("/classify", classify, methods=["POST"])
    return app


if __name__ == "__main__":
    made = parser(__doc__.split("\n")[0])
    made.add_argument("--shrinking", action="store_true", help="take stopped rows out of the batch")
    options = made.parse_args()
    served = Model(options.engine, options.threads)
    uvicorn.run(
        create_app(served, served.shrinking if options.shrinking else served.whole),
        port=options.port,
        log_level="warning",
        access_log=False,
    )
