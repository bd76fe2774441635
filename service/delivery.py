"""How answers get from the worker's thread to the requests that wait: all of a tick together.

One call to the event loop a tick, not one a row: every such call wakes the loop. Whatever else
is due on delivery (listeners, energy, counting) may fail without taking an answer along, and
what could not be brought to the event loop lies ready until somebody calls there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.service.attempts import attempted, complain
from spikeserve.service.errors import InferenceFailed
from spikeserve.service.jobs import Job, Progress
from spikeserve.service.metrics import ModelMetrics
from spikeserve.service.wakeup import Call, Wakeup, run_here

Reports = Sequence[tuple[Callable[[Progress], None], Progress]]


class Delivery:
    """Brings outcomes to where the futures live, and wakes the worker afterwards."""

    def __init__(self, energy: EnergyModel, metrics: ModelMetrics, wakeup: Wakeup) -> None:
        self.post: Call = run_here
        """Brings a function to where the futures live: ``loop.call_soon_threadsafe``."""
        self._energy = energy
        self._metrics = metrics
        self._wakeup = wakeup
        self._ready = deque[tuple[Sequence[Job], Reports]]()

    def send(self, jobs: Sequence[Job], reports: Reports = ()) -> None:
        """Resolve the futures of jobs that ended, and tell listeners of a timestep."""
        if not (jobs or reports):
            return
        self._ready.append((jobs, reports))
        try:
            self.post(attempted, "delivery", self.arrive)
        except BaseException:  # a closed event loop, or no memory for one more call
            complain(f"{len(jobs)} answers could not be sent; they wait for the next ones")
            self._wakeup.wake()  # nobody who got an answer would

    def arrive(self) -> None:
        """Hand over all that was sent; to be called where the futures live."""
        while self._ready:
            jobs, reports = self._ready.popleft()
            attempted("what goes along with answers", self._accompany, jobs, reports)
            for job in jobs:
                try:  # a call less than ``attempted``, for each row
                    job.resolve()
                except BaseException:
                    complain("handing over an answer failed")
                    attempted("letting a request go", _let_go, job)
        self._wakeup.wake_soon()

    def _accompany(self, jobs: Sequence[Job], reports: Reports) -> None:
        for listener, progress in reports:
            attempted("a listener", listener, progress)
        answered = [job for job in jobs if job.error is None and not job.cancelled]
        for job in answered:
            pairs = job.row.active_pairs
            job.energy = attempted("an energy estimate", self._energy.estimate, pairs)
        if answered:  # counted first: whoever has an answer finds it in the metrics
            attempted("counting answers", self._metrics.finished, answered)


def _let_go(job: Job) -> None:
    """Whoever cannot be given an answer is told so, or at least waits no longer."""
    job.error = InferenceFailed("the answer could not be handed over; the log has more")
    attempted("handing over an error", job.resolve)
    if not job.future.done():
        job.future.cancel()
