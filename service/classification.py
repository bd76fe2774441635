"""From an image and what a request asks for to a row in the queue, and from there to an answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from spikeserve.models.curve import CurvePoint
from spikeserve.models.encoding import Pixels
from spikeserve.models.errors import InvalidPolicy, Unreachable
from spikeserve.models.exits import ExitPolicy, Floats
from spikeserve.models.inference import Row
from spikeserve.service.admission import File
from spikeserve.service.attempts import attempted
from spikeserve.service.decoders import Decoders
from spikeserve.service.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidParameter,
    NotReady,
    OutcomeUnreachable,
)
from spikeserve.service.images import Inspection, decoded_or_inspected, decoded_recording
from spikeserve.service.jobs import Job, Progress
from spikeserve.service.presence import while_present
from spikeserve.service.registry import Registry, ServedModel
from spikeserve.service.schemas import (
    Classification,
    ClassifyParameters,
    Energy,
    Expectation,
    ScoredClass,
    Timing,
)

MILLISECONDS = 1000
TOO_LATE = "the deadline passed before a timestep could run"
TARGETS = ("target_accuracy", "target_timesteps", "energy_budget_pj")
LIMITS = ("entropy_threshold", "min_timesteps", "max_timesteps")


@dataclass(slots=True, eq=False)
class Ticket:
    """A submitted image: what is needed to wait for it and to answer."""

    model: ServedModel
    job: Job
    future: asyncio.Future[Job]
    parameters: ClassifyParameters
    expectation: CurvePoint | None
    request_id: str
    arrived: float
    decode_seconds: float
    recording: File | None = None
    """Whose bytes the row reads; held, and counted, until the ticket is gone."""


class Classifier:
    """Submits images to the right model and makes answers of finished rows."""

    def __init__(self, registry: Registry, decoders: Decoders, max_pixels: int) -> None:
        self.registry = registry
        self._decoders = decoders
        self._max_pixels = max_pixels

    async def submit(
        self,
        image: File | Pixels,
        parameters: ClassifyParameters,
        request_id: str,
        arrived: float,
        receive: Receive,
        listener: Callable[[Progress], None] | None = None,
        model: ServedModel | None = None,
    ) -> Ticket:
        """Decode an image file or a recording (or take one that is decoded) and queue its row.

        ``model`` has to answer, held open meanwhile; without, it is the one that the parameters
        name, and where a reload replaces that on the way, the next. The file is let go of,
        whatever happens.

        Raises:
            ServiceError: nothing was queued.
            ClientDisconnect: the client left before.
        """
        deadline, chosen = due(parameters, arrived), model
        try:
            while True:
                model = chosen or self.registry.get(parameters.model, parameters.version)
                policy, expectation = resolve(model, parameters)
                began = time.monotonic()
                if began >= deadline:
                    raise DeadlineExceeded(TOO_LATE)
                pixels = (
                    await self._decoded(image, model, receive, deadline)
                    if isinstance(image, File)
                    else image
                )
                decode_seconds = time.monotonic() - began
                if began + decode_seconds >= deadline:
                    raise DeadlineExceeded(TOO_LATE)
                future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
                job = Job(
                    Row(pixels, policy),
                    future,
                    expected_timesteps=model.curve.expected_timesteps(policy),
                    deadline=deadline,
                    listener=listener,
                )
                if model.brownout and parameters.brownout and parameters.target_accuracy is None:
                    attempted("brownout", _brown_out, model, job)
                if expectation:  # of the threshold that is used
                    expectation = model.curve.at(job.row.policy.entropy_threshold)
                try:
                    model.worker.submit(job)
                except NotReady:
                    # A reload may have replaced the model while the image was on its way.
                    if chosen or model is self.registry.get(parameters.model, parameters.version):
                        raise
                    continue
                attempted("counting", model.metrics.decode_duration.observe, decode_seconds)
                ticket = Ticket(
                    model, job, future, parameters, expectation, request_id, arrived, decode_seconds
                )
                if isinstance(image, File) and not model.manifest.encoding.takes_images:
                    ticket.recording, image = image, pixels  # which the row goes on reading
                return ticket
        finally:
            if isinstance(image, File):
                image.release()

    async def _decoded(
        self, file: File, model: ServedModel, receive: Receive, deadline: float
    ) -> Pixels:
        if not model.manifest.encoding.takes_images:
            return decoded_recording(file.data, model.input_shape)
        shape = model.frame_shape
        found = decoded_or_inspected(file.data, shape, self._max_pixels)
        if not isinstance(found, Inspection):
            return found
        try:
            return await self._decoders.decoded(file, found, shape, receive, deadline)
        except ClientDisconnect:
            attempted("counting", model.metrics.cancelled, "decoding")
            raise


def due(parameters: ClassifyParameters, arrived: float) -> float:
    """When a request that arrived then (monotonic) has to be answered."""
    return arrived + (parameters.deadline_ms or math.inf) / MILLISECONDS


def resolve(
    model: ServedModel, parameters: ClassifyParameters
) -> tuple[ExitPolicy, CurvePoint | None]:
    """When the row may stop, and what the calibration expects of an asked-for outcome.

    Raises:
        InvalidParameter: out of range, or an outcome and limits at once.
        OutcomeUnreachable: the calibration curve does not reach it.
    """
    targets = [name for name in TARGETS if getattr(parameters, name) is not None]
    try:
        if not targets:
            return model.manifest.policy(
                parameters.entropy_threshold, parameters.min_timesteps, parameters.max_timesteps
            ), None
        if len(targets) > 1 or any(getattr(parameters, name) is not None for name in LIMITS):
            raise InvalidParameter(f"{targets[0]} stands alone; leave the other ways to stop out")
        point = _point(model, parameters)
        return model.manifest.policy(entropy_threshold=point.entropy_threshold), point
    except InvalidPolicy as error:
        raise InvalidParameter(str(error)) from error
    except Unreachable as error:
        raise OutcomeUnreachable(str(error)) from error


def _point(model: ServedModel, parameters: ClassifyParameters) -> CurvePoint:
    if parameters.target_accuracy is not None:
        return model.curve.for_accuracy(parameters.target_accuracy)
    if parameters.target_timesteps is not None:
        return model.curve.for_timesteps(parameters.target_timesteps)
    assert parameters.energy_budget_pj is not None
    return model.curve.for_energy(parameters.energy_budget_pj)


def _brown_out(model: ServedModel, job: Job) -> None:
    """Raise the row's threshold as far as load asks for."""
    assert model.brownout is not None
    scheduler, policy = model.worker.scheduler, job.row.policy
    pressure = scheduler.pending_timesteps / scheduler.queue_timesteps
    model.brownout.observe(pressure, time.monotonic())
    threshold = model.brownout.threshold(policy.entropy_threshold)
    if threshold > policy.entropy_threshold:
        raised = replace(policy, entropy_threshold=threshold)
        job.expected_timesteps = model.curve.expected_timesteps(raised)
        job.requested_threshold, job.row.policy = policy.entropy_threshold, raised
        model.metrics.brownout_requests.inc()


async def finished(tickets: Sequence[Ticket], receive: Receive) -> None:
    """Wait until all rows are done, however they ended; a client that leaves takes them along.

    Raises:
        ClientDisconnect: the client left; the rows were cancelled.
    """
    futures = [ticket.future for ticket in tickets]
    everything = (
        futures[0] if len(futures) == 1 else asyncio.gather(*futures, return_exceptions=True)
    )
    try:
        await while_present(everything, receive)
    except BaseException:
        cancel(tickets)
        raise


def cancel(tickets: Iterable[Ticket]) -> None:
    """Nobody waits for these rows any more."""
    for ticket in tickets:
        if not ticket.future.done():
            ticket.future.cancel()
            attempted("leaving", ticket.model.worker.cancel, ticket.job)


def answer(ticket: Ticket) -> Classification:
    """The answer to a finished row.

    Raises:
        ServiceError: what met the row; ``DeadlineExceeded`` also where it has a best answer so
            far, but the request wanted an error then.
    """
    model, job, row = ticket.model, ticket.job, ticket.job.row
    ticket.future.result()
    assert row.probabilities is not None
    assert row.stop_reason is not None
    if row.stop_reason == "deadline" and ticket.parameters.on_deadline == "error":
        raise DeadlineExceeded(
            f"the deadline passed after {row.t} of at most {row.policy.max_timesteps} timesteps"
        )
    ranked = ranking(model, row.probabilities, ticket.parameters.top_k)
    return Classification(
        request_id=ticket.request_id,
        model=model.reference,
        prediction=ranked[0],
        top_k=ranked,
        timesteps_used=row.t,
        max_timesteps=row.policy.max_timesteps,
        entropy=row.entropy,
        entropy_threshold=row.policy.entropy_threshold,
        requested_entropy_threshold=job.requested_threshold,
        expected=Expectation.of(ticket.expectation) if ticket.expectation else None,
        stop_reason=row.stop_reason,
        energy=_energy(ticket),
        timing_ms=Timing(
            decode=ticket.decode_seconds * MILLISECONDS,
            queue=(job.started - job.submitted) * MILLISECONDS,
            inference=(job.finished - job.started) * MILLISECONDS,
            total=(time.monotonic() - ticket.arrived) * MILLISECONDS,
        ),
    )


def _energy(ticket: Ticket) -> Energy | None:
    """The estimate as the request wants it.

    Raises:
        InferenceFailed: the estimate failed, and the request did not decline it.
    """
    wanted, estimate = ticket.parameters.energy, ticket.job.energy
    if wanted == "off":
        return None
    if estimate is None:
        raise InferenceFailed("the energy estimate failed; energy=off answers without it")
    if wanted == "on":
        return Energy.of(estimate, None)
    report = ticket.model.reporter.report
    detail = attempted("an energy report", report, ticket.job.row.active_pairs)
    if detail is None:
        raise InferenceFailed("the energy report failed; energy=on answers without it")
    return Energy.of(estimate, detail)


def ranking(model: ServedModel, probabilities: Floats, top_k: int) -> list[ScoredClass]:
    """The likeliest classes, best first; equal ones by index, as argmax has it."""
    labels, values = model.manifest.labels, probabilities.tolist()
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:top_k]  # stable
    return [
        ScoredClass(index=index, label=labels[index], probability=values[index]) for index in order
    ]
