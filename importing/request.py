"""What the user asks of an import: the command line's flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spikeserve.importing.data.inputs import GREY_LEVELS
from spikeserve.importing.data.loading import MOST_INPUTS
from spikeserve.importing.dynamics.golden import Reading
from spikeserve.importing.integers.program import COARSE

STORED = ("scale", "mean", "std", "layout", "largest_count", "bits", "accept", "limit")


@dataclass(frozen=True)
class Request:
    """One import."""

    reading: Reading | None
    """None where the network's neurons are known already."""
    timesteps: int
    data: Path
    out: Path
    source: Path | None = None
    """The file that the network comes from; None: a module."""
    module: str = "module"
    """The name of the module, where there is no file."""
    writer: str | None = None
    """What the file says of its version, or the framework of the module."""
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
    limit: int = MOST_INPUTS
    name: str | None = None
    class_names: Path | None = None
    description: str | None = None

    @property
    def read_as(self) -> str:
        """What the network is read as, in words."""
        if self.reading is None:
            return "the modules' own neurons"
        return f"{self.reading}: {self.reading.meaning}"

    @property
    def framework(self) -> str:
        if self.reading is None:
            return self.writer or "torch"
        return self.reading.dialect

    @property
    def described_source(self) -> str:
        return self.module if self.source is None else self.source.name

    @property
    def options(self) -> dict[str, str]:
        """What was told besides, as the manifest stores it."""
        told = {} if self.reading is None else dict(self.reading.overrides)
        told |= {name: getattr(self, name) for name in STORED}
        return {name: str(value) for name, value in told.items() if value is not None}
