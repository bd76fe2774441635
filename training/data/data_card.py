"""What a prepared folder of pictures holds: ``card.json``, and the same as text for people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_LISTED = 1000
"""Files left out that a card names; it counts the others."""
SHOWN = 20


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LeftOut(Section):
    file: str
    why: str


class DrawnSplit(Section):
    """How pictures to evaluate on were drawn, where no split was given."""

    share: float
    seed: int


class DataCard(Section):
    """Everything about a prepared set but its pixels."""

    format: Literal[1] = 1
    name: str
    source: str
    """The folder that it was prepared from."""
    created: str
    shape: tuple[int, int, int]
    """Height, width and channels of the prepared pictures."""
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    counts: dict[Literal["train", "test"], tuple[int, ...]]
    """Pictures of each class to train on and to evaluate on."""
    splits: dict[str, str]
    """What each side was made of."""
    drawn: DrawnSplit | None = None
    shorter_sides: tuple[int, int, int]
    """Pixels of the smallest, the median and the largest picture's shorter side."""
    smaller: int
    """Pictures with fewer pixels along a side than the network takes; they were enlarged."""
    left_out: tuple[LeftOut, ...] = ()
    left_out_count: int = 0
    system_files: int = 0
    notes: tuple[str, ...] = ()
    sha256: dict[str, str]

    def text(self) -> str:
        """For people."""
        height, width, channels = self.shape
        least, median, most = self.shorter_sides
        lines = [
            f"{self.name}: {sum(self.counts['train']):,} pictures to train on, "
            f"{sum(self.counts['test']):,} to evaluate on, {len(self.labels):,} classes",
            f"prepared from {self.source} on {self.created}, as {height} x {width} pixels, "
            + ("colour" if channels == 3 else "grey"),
            "",
            f"{'class':<30}{'train':>9}{'evaluate':>10}",
        ]
        rows = list(zip(self.labels, self.counts["train"], self.counts["test"], strict=True))
        lines += [f"{label:<30}{train:>9,}{test:>10,}" for label, train, test in rows[:100]]
        if len(rows) > 100:
            lines.append(f"and {len(rows) - 100:,} classes more (card.json)")
        lines += ["", *(f"to {side}: {what}" for side, what in self.splits.items())]
        lines.append(
            f"shorter sides of the pictures: {least} to {most} pixels, median {median}; "
            f"{self.smaller:,} were enlarged"
        )
        if self.system_files:
            lines.append(f"hidden files and what systems leave behind: {self.system_files:,}")
        lines += [f"note: {note}" for note in self.notes]
        if self.left_out_count:
            lines += ["", f"left out: {self.left_out_count:,} files"]
            lines += [f"  {one.file}: {one.why}" for one in self.left_out[:SHOWN]]
            if self.left_out_count > SHOWN:
                lines.append("  … (card.json)")
        lines += ["", *(f"sha256 {digest}  {name}" for name, digest in self.sha256.items())]
        return "\n".join(lines) + "\n"
