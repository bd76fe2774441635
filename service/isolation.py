"""A timestep that fails is tried again in halves, until each row at fault stands alone.

State goes in and comes out of a step, so a step that failed has changed nothing. Rows that are
not at fault get the same bits as in any other batch, and notice nothing.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Sequence

from spikeserve.models.engines.contract import Engine, State
from spikeserve.models.inference import Row, advance
from spikeserve.models.manifest import Manifest
from spikeserve.service.errors import InferenceFailed
from spikeserve.service.jobs import Job

logger = logging.getLogger("spikeserve")

FAILURES_UNTIL_BROKEN = 3
FAILURES = (Exception, CancelledError)
"""What fails a row or a tick. What else can be raised wants the thread to end."""


class IsolatingStepper:
    """Steps the jobs of one model, and counts how often the engine itself was at fault."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._readout = manifest.readout
        self._failures = 0

    @property
    def broken(self) -> bool:
        """The engine has failed again and again, also on an image of our own."""
        return self._failures >= FAILURES_UNTIL_BROKEN

    def step(self, engine: Engine, jobs: Sequence[Job], state: State) -> State:
        """One timestep for all jobs; where it fails, ``error`` is set on the jobs at fault.

        A step that fails once and not again costs no job its answer.
        """
        try:
            state = self._advance(engine, [job.row for job in jobs], state)
            self._failures = 0
            return state
        except FAILURES:
            logger.exception("a timestep of %s failed", self._manifest.name)
        state = self._in_halves(engine, jobs, state)
        if all(job.error for job in jobs) and not self._works(engine):
            self._failures += 1
            logger.error("%s failed %d times in a row", engine.name, self._failures)
        else:
            self._failures = 0
        return state

    def _in_halves(self, engine: Engine, jobs: Sequence[Job], state: State) -> State:
        if len(jobs) == 1:
            try:
                return self._advance(engine, [jobs[0].row], state)
            except FAILURES:
                jobs[0].error = InferenceFailed("inference failed; the log has more")
                return state
        middle = len(jobs) // 2
        first, second = range(middle), range(middle, len(jobs))
        return State.join(
            [
                self._in_halves(engine, jobs[:middle], state.take(first)),
                self._in_halves(engine, jobs[middle:], state.take(second)),
            ]
        )

    def _works(self, engine: Engine) -> bool:
        """Whether the engine runs an image of our own: the fault may be the rows', not its own."""
        ours = Row(self._manifest.noise_image(), self._manifest.policy())
        try:
            self._advance(engine, [ours], engine.start(1))
        except FAILURES:
            return False
        return True

    def _advance(self, engine: Engine, rows: Sequence[Row], state: State) -> State:
        return advance(engine, self._manifest.encoding, self._readout, rows, state)
