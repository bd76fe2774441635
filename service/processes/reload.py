"""A reload of several processes: nobody swaps before everybody has loaded."""

from __future__ import annotations

from collections.abc import Sequence

from spikeserve.service.processes.channel import Order, Said
from spikeserve.service.processes.child import Child


class Reload:
    """One round of two halves. Whoever has been asked answers, or is :meth:`lost`."""

    def __init__(self, members: Sequence[Child], askers: Sequence[Child]) -> None:
        self.askers = askers
        self.refusal = ""
        self.identity = ""
        """Of the models that all of them serve afterwards."""
        self.done = False
        self._members = list(members)
        self._committing = False
        self._ask("prepare")

    def heard(self, child: Child, said: Said, detail: str) -> None:
        """A member's answer."""
        match said:
            case "prepared":
                if detail != self.identity and self.identity:
                    self.refusal = "the bundles changed while they were read; ask again"
                self.identity = detail
            case "refused":
                self.refusal = detail
        self._answered(child)

    def lost(self, child: Child) -> None:
        """A member has ended. Before the swap that may be what was to be loaded."""
        if child not in self._members:
            return
        if not self._committing:
            self.refusal = self.refusal or "a process ended while it prepared"
        self._members.remove(child)
        self._answered(child)

    def _answered(self, child: Child) -> None:
        self._waiting.discard(child)
        if self._waiting or self.done:
            return
        if self.refusal or self._committing or not self._members:
            self.done = True
            if self.refusal:
                for member in self._members:
                    member.tell("abort")
        else:
            self._committing = True
            self._ask("commit")

    def _ask(self, order: Order) -> None:
        self._waiting = set(self._members)
        for member in self._members:
            member.tell(order)
