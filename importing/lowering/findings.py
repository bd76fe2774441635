"""What is said of every node of a graph: whether it can be served, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikeserve.models.layers import Shape

Verdict = Literal["exact", "folded", "approximate", "refused"]
"""``folded``: exact, but as part of another layer. ``approximate``: it says how."""


@dataclass(frozen=True)
class Finding:
    """One node, or what is wrong with the edges."""

    node: str
    kind: str
    verdict: Verdict
    text: str = ""
    shape: Shape | None = None
    """``(H, W, C)`` of what it puts out, where that is known."""


class Refusal(Exception):
    """A node that cannot be served: why, and what to change in the framework."""


@dataclass
class Remarks:
    """What a rule has to say of a node that can be served."""

    verdict: Verdict = "exact"
    text: str = ""

    def folded(self, text: str) -> None:
        self._say("folded", text)

    def approximate(self, text: str) -> None:
        self._say("approximate", text)

    def note(self, text: str) -> None:
        self._say(self.verdict, text)

    def _say(self, verdict: Verdict, text: str) -> None:
        order: tuple[Verdict, ...] = ("exact", "folded", "approximate")
        self.verdict = max(self.verdict, verdict, key=order.index)
        self.text = f"{self.text}; {text}" if self.text else text
