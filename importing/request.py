"""What the user asks of an import: the command line's flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spikeserve.importing.golden import Reading
from spikeserve.importing.inputs import GREY_LEVELS
from spikeserve.importing.integers import COARSE


@dataclass(frozen=True)
class Request:
    """One import."""

    reading: Reading | None
    """None where the network's neurons are known already."""
    timesteps: int
    data: Path
    out: Path
    labels: Path | None = None
    golden: Path | None = None
    scale: float = GREY_LEVELS
    mean: str | None = None
    std: str | None = None
    layout: str | None = None
    largest_count: int | None = None
    bits: int = COARSE
    accept: float | None = None
    """The agreement, 0…1, that is enough; None: what :mod:`sheet` asks for."""
    force: bool = False
    limit: int = 2000
    name: str | None = None
    class_names: Path | None = None
    description: str | None = None

    @property
    def read_as(self) -> str:
        """What the network is read as, in words."""
        if self.reading is None:
            return "the modules' own neurons"
        return f"{self.reading}: {self.reading.meaning}"
