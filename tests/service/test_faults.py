"""Every callable on an answer's way is made to fail, one at a time: nothing else ends with it.

Each time all rows of a batch get an answer or an error, and afterwards the service answers as
before, or says at ``/livez`` that it does not.
"""

from __future__ import annotations

import asyncio
import base64
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spikeserve.models.engines.contract import State
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row
from spikeserve.service import admission, registry, watchdog, worker
from spikeserve.service.app import create_app
from spikeserve.service.delivery import Delivery
from spikeserve.service.jobs import Job
from spikeserve.service.routes import stream
from spikeserve.service.server import Server
from spikeserve.service.settings import Settings
from spikeserve.service.wakeup import Wakeup
from tests.processes import wait_until

FAULTS = (MemoryError, CancelledError, SystemExit)
ALL = [200] * 4 + [415]
"""What a batch's five items are answered; where these fail, too."""
FREE = {
    "count of answers", "count of steps", "count of decodings", "count of requests",
    "count of refusals", "delivery", "call to the loop", "end of the turn", "brownout",
    "gauges", "gauges of a model", "end of uploads", "watchdog", "look after a worker", "nudge",
}  # fmt: skip
LEAVES = {("wake-up", SystemExit)}
"""Raised by the event loop's own callback: the process ends, which nobody overlooks."""
Place = tuple[Any, str]
"""An object and the name of what it is called by."""


def model(app: Any) -> registry.ServedModel:
    return app.state.registry.get()  # type: ignore[no-any-return]


PLACES: dict[str, Callable[[Any], Place]] = {
    "energy estimate": lambda app: (model(app).energy, "estimate"),
    "count of answers": lambda app: (model(app).metrics, "finished"),
    "count of steps": lambda app: (model(app).metrics, "stepped"),
    "count of decodings": lambda app: (model(app).metrics.decode_duration, "observe"),
    "count of requests": lambda app: (app.state.metrics, "answered"),
    "count of refusals": lambda app: (app.state.metrics.rejected, "labels"),
    "outcome": lambda _: (Job, "resolve"),
    "delivery": lambda _: (Delivery, "arrive"),
    "what goes along": lambda _: (Delivery, "_accompany"),
    "call to the loop": lambda app: (model(app).worker._delivery, "post"),
    "end of the turn": lambda app: (model(app).worker._wakeup, "call_soon"),
    "wake-up": lambda _: (Wakeup, "wake"),
    "wait": lambda _: (Wakeup, "wait"),
    "after a tick": lambda _: (Wakeup, "after_tick"),
    "step": lambda app: (model(app).worker.engine, "step"),
    "start of rows": lambda app: (model(app).worker.engine, "start"),
    "state": lambda _: (State, "take"),
    "isolation": lambda app: (model(app).worker._stepper, "step"),
    "overdue rows": lambda app: (model(app).worker.scheduler, "overdue"),
    "fill": lambda app: (model(app).worker.scheduler, "fill"),
    "observation": lambda app: (model(app).worker.scheduler, "observe"),
    "retirement": lambda app: (model(app).worker.scheduler, "retire"),
    "brownout": lambda app: (model(app).brownout, "observe"),
    "gauges": lambda app: (app.state.metrics.uploads, "set"),
    "gauges of a model": lambda _: (registry.ServedModel, "refresh"),
    "end of uploads": lambda _: (admission.Admission, "expire"),
    "watchdog": lambda _: (watchdog.Watchdog, "look"),
    "look after a worker": lambda _: (watchdog.Watchdog, "_look_after"),
    "nudge": lambda _: (worker.Worker, "nudge"),
}


@contextmanager
def serving(folder: Path) -> Iterator[TestClient]:
    settings = Settings(bundles=(folder,), slots=2, step_timeout_seconds=0.2, brownout=True)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@contextmanager
def failing_once(place: Place, fault: type[BaseException]) -> Iterator[list[int]]:
    """The first call raises; gives the number of calls."""
    owner, name = place
    usual, calls = getattr(owner, name), [0]

    def called(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise fault("on purpose")
        return usual(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, called)
        yield calls


def alive(client: TestClient) -> bool:
    return client.get("/livez").status_code == 200


def rows(client: TestClient, png: bytes) -> list[int]:
    """Statuses of a batch: four rows that leave one after another, and one that is no image."""
    document = base64.b64encode(png).decode()
    items = [
        {"inputs": document, "parameters": {"entropy_threshold": 0, "max_timesteps": t}}
        for t in (1, 2, 3, 4)
    ]
    answer = client.post("/classify/batch", json={"items": [*items, {"inputs": "bm8="}]})
    if answer.status_code != 200:
        return [answer.status_code]
    return [item["status"] for item in answer.json()["results"]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", PLACES)
def test_what_fails_once_ends_nothing_for_good(name: str, bundle_folder: Path, png: bytes) -> None:
    faults = [fault for fault in FAULTS if (name, fault) not in LEAVES]
    while faults:  # a service for each fault that one may end by
        with serving(bundle_folder) as client:
            while faults and alive(client):
                fault = faults.pop()
                with failing_once(PLACES[name](client.app), fault) as calls:
                    statuses = rows(client, png)
                    if not calls[0]:
                        wait_until(lambda: calls[0] > 0, f"{name} was never called")
                assert set(statuses) <= {200, 415, 500, 503}, (fault, statuses)
                assert name not in FREE or statuses == ALL, (fault, statuses)
                # A thread that is about to end is still seen alive, once.
                assert not alive(client) or rows(client, png) == ALL or not alive(client), fault
                assert not client.app.state.watchdog.done()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "place", [(Job, "progress"), (stream, "_timestep"), (stream.Feed, "put"), (stream, "answer")]
)
def test_a_timestep_that_cannot_be_told_costs_no_other_row(
    place: Place, bundle_folder: Path, png: bytes
) -> None:
    with serving(bundle_folder) as client:
        with failing_once(place, MemoryError) as calls:
            told = client.post("/classify/stream?entropy_threshold=0", content=png)
            assert calls[0] > 0
        wanted = "event: error" if place[1] == "answer" else "event: result"
        assert wanted in told.text
        assert rows(client, png) == ALL


@pytest.mark.parametrize("fault", FAULTS)
def test_the_watchdog_sees_a_hang_after_every_part_of_a_look_has_failed(
    fault: type[BaseException],
) -> None:
    """In all looks, not in one, and for the worker beside the one that hangs."""
    given_up: list[str] = []

    def fails(*_: object) -> None:
        raise fault

    faulty = SimpleNamespace(nudge=fails)
    hanging = SimpleNamespace(
        ticks=7, waited_for=True, healthy=True, nudge=fails, engine=SimpleNamespace(name="fake"),
        give_up=lambda error: given_up.append(str(error)),
    )  # fmt: skip
    models = [SimpleNamespace(worker=w, name="m") for w in map(_Weakly, (faulty, hanging))]

    async def looks() -> None:
        task = asyncio.create_task(watchdog.watch(models, 0.01, fails))  # type: ignore[arg-type]
        while not given_up:
            assert not task.done()
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(looks())
    assert "hangs" in given_up[0]


class _Weakly:
    """A namespace that can be referred to weakly."""

    def __init__(self, namespace: SimpleNamespace) -> None:
        self.__dict__.update(vars(namespace))


def test_a_watchdog_that_ended_turns_livez_to_503(bundle_folder: Path) -> None:
    with serving(bundle_folder) as client:
        task = client.app.state.watchdog  # type: ignore[attr-defined]
        task.get_loop().call_soon_threadsafe(task.cancel)
        wait_until(lambda: client.get("/livez").status_code == 503, "nobody noticed")
        assert "watchdog" in client.get("/livez").json()["detail"]


def test_a_drain_that_fails_ends_the_process_all_the_same() -> None:
    async def fails(_: float) -> None:
        raise RuntimeError("on purpose")

    server = SimpleNamespace(_finish=fails, should_exit=False)
    with pytest.raises(RuntimeError):
        asyncio.run(Server._drain(server))  # type: ignore[arg-type]
    assert server.should_exit


def test_ticks_that_always_fail_turn_livez_to_503(
    bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("on purpose")

    with serving(bundle_folder) as client:
        monkeypatch.setattr(model(client.app).worker.scheduler, "observe", fails)
        assert [client.post("/classify", content=png).status_code for _ in range(3)] == [500] * 3
        assert client.get("/livez").status_code == 503


def test_a_row_that_nobody_woke_the_thread_for_is_seen(bundle_folder: Path) -> None:
    """A row that is only queued: without a look at it, it would wait for ever."""
    with serving(bundle_folder) as client:
        chosen = model(client.app)
        pixels = chosen.manifest.noise_image()
        job = Job(Row(pixels, ExitPolicy(0.0, 1, 4)), SimpleNamespace(done=lambda: False))
        job.resolve = lambda: setattr(job, "finished", time.monotonic())  # type: ignore[method-assign]
        with chosen.worker._lock:
            chosen.worker.scheduler.submit(job)
        wait_until(lambda: job.row.t == 4, "nobody looked")
