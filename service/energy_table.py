"""``spikeserve energy``: what a bundle would cost on a chip, as a table with stacked bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from string import ascii_letters, digits
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spikeserve.models.encoding import MAX_TIMESTEPS
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import HardwareProfile
from spikeserve.models.energy.report import EnergyReport, Reporter
from spikeserve.models.errors import InvalidPolicy
from spikeserve.models.manifest import Manifest

LONGEST_BAR, SHORTEST_BAR = 60, 12
COLUMNS = 59
"""Characters that the table needs beside its bars."""
VISIBLE, OTHERS = 0.03, "others"
PJ_PER_UJ, NS_PER_US = 1e6, 1e3
COLOURS = (
    "red", "dark_orange", "yellow", "green", "chartreuse2", "dark_green", "cyan", "blue",
    "magenta", "grey70", "white",
)  # fmt: skip


def energy_table(
    manifest: Manifest, profile: HardwareProfile, timesteps: int | None, width: int, coloured: bool
) -> RenderableType:
    """Energy, latency and EDP of an average image by the timestep it leaves at, and of ANNs.

    Args:
        timesteps: how many are shown; the bundle's if None.
        width: characters there are.
        coloured: else bars are made of letters.

    Raises:
        InvalidPolicy: ``timesteps`` is out of range.
    """
    shown = manifest.timesteps if timesteps is None else timesteps
    if not 1 <= shown <= MAX_TIMESTEPS:
        raise InvalidPolicy(f"timesteps must be between 1 and {MAX_TIMESTEPS}, not {shown}")
    model = EnergyModel(_prolonged(manifest, shown), profile)
    pairs = np.array(model.manifest.exits.mean_active_pairs)
    report = Reporter(model).report(pairs)
    names, parts = _merged(model)
    static = parts[manifest.timesteps - 1].sum()
    longest = max(parts[shown - 1].sum(), *(ann.energy_pj for ann in report.anns[:-1]))
    bricks = _bricks(names, coloured)
    per_pj = min(max(SHORTEST_BAR, width - COLUMNS), LONGEST_BAR) / longest
    table = Table(title=f"{manifest.name} {manifest.version} on {profile.name}")
    for heading in ("t", "µJ", "5…95 %", "saved", "µs", "µJ·µs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("by component", no_wrap=True)
    for t in range(1, shown + 1):
        energy = model.estimate(pairs[:t])
        low, high = energy.interval_pj
        own = t <= manifest.timesteps
        table.add_row(
            str(t) if own else f"{t}*",
            f"{energy.total_pj / PJ_PER_UJ:.2f}",
            f"{low / PJ_PER_UJ:.2f}…{high / PJ_PER_UJ:.2f}",
            f"{max(0, 1 - energy.total_pj / static):.0%}" if own else "",
            *_time(energy.latency_ns, energy.edp_pj_ns),
            _stacked(parts[t - 1] * per_pj, bricks),
        )
    for ann in report.anns:
        table.add_row(
            f"ANN{ann.bits}",
            f"{ann.energy_pj / PJ_PER_UJ:.2f}",
            "",
            "",
            *_time(ann.latency_ns, ann.edp_pj_ns),
            _ann_bar(ann.energy_pj / longest, per_pj * longest),
        )
    beyond = [Text("* beyond the bundle, each as active as its last timestep")]
    return Group(
        table,
        *(beyond if shown > manifest.timesteps else ()),
        _legend(bricks),
        *map(Text, _notes(model, report)),
    )


def _merged(model: EnergyModel) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Components that can be seen, and their energy until the end of each timestep, ``[T, C]``.

    What is less than a character wide would come and go with rounding.
    """
    parts = model.average_parts_pj.cumsum(axis=0)
    shares = parts / parts.sum(axis=1, keepdims=True)
    visible = shares.max(axis=0) >= VISIBLE
    names = np.array(model.chip.components)[visible].tolist()
    others = parts[:, ~visible].sum(axis=1, keepdims=True)
    return (*names, OTHERS), np.concatenate([parts[:, visible], others], axis=1)


def _prolonged(manifest: Manifest, timesteps: int) -> Manifest:
    """The bundle as if it ran longer: every further timestep as active as its last."""
    exits, more = manifest.exits, timesteps - manifest.timesteps
    if more <= 0:
        return manifest
    pairs = (*exits.mean_active_pairs, *exits.mean_active_pairs[-1:] * more)
    return manifest.model_copy(
        update={
            "encoding": replace(manifest.encoding, timesteps=timesteps),
            "exits": exits.model_copy(update={"mean_active_pairs": pairs}),
        }
    )


def _time(latency_ns: float, edp_pj_ns: float) -> tuple[str, str]:
    return f"{latency_ns / NS_PER_US:.0f}", f"{edp_pj_ns / PJ_PER_UJ / NS_PER_US:.0f}"


class Brick(NamedTuple):
    """What a component's piece of a bar is made of."""

    name: str
    character: str
    style: str


def _bricks(components: tuple[str, ...], coloured: bool) -> list[Brick]:
    bricks: list[Brick] = []
    for name, style in zip(components, cycle(COLOURS), strict=False):
        taken = {brick.character for brick in bricks}
        letter = next(letter for letter in name + ascii_letters + digits if letter not in taken)
        bricks.append(Brick(name, "█", style) if coloured else Brick(name, letter, ""))
    return bricks


def _stacked(characters: NDArray[np.float64], bricks: list[Brick]) -> Text:
    """A bar of pieces ``characters [C]`` long."""
    ends = np.round(characters.cumsum()).astype(int)
    lengths = np.diff(ends, prepend=0).tolist()
    pieces = zip(bricks, lengths, strict=True)
    return Text.assemble(*((brick.character * length, brick.style) for brick, length in pieces))


def _legend(bricks: list[Brick]) -> Text:
    entries = (
        piece for brick in bricks for piece in ((brick.character, brick.style), f" {brick.name}  ")
    )
    return Text.assemble(*entries, "░ ANN of the same layers, by bits (… longer than shown)")


def _ann_bar(share: float, longest: float) -> Text:
    """Cut where it is longer than the longest of the others."""
    return Text("░" * round(min(share, 1) * longest) + ("…" if share > 1 else ""))


def _notes(model: EnergyModel, report: EnergyReport) -> Iterator[str]:
    yield (
        f"\n{report.crossbars} crossbars in {report.pes} PEs on {report.tiles} tiles, "
        f"{report.cycles_per_timestep} PE cycles a timestep; an average held-out image"
    )
    for note in report.domain_notes or ("inside the profile's limits",):
        yield f"domain: {note}"
    for assumption in report.assumptions:
        yield f"assumed: {assumption}"
    counted = report.operations
    side = ", ".join(
        f"{one.arithmetic} {one.energy_pj / PJ_PER_UJ:.1f} (ANN {one.ann_pj / PJ_PER_UJ:.1f})"
        for one in counted.energies
    )
    yield (
        f"all {model.manifest.timesteps} timesteps as 45 nm operations: "
        f"{counted.macs / 1e6:.1f} M MACs and {counted.acs / 1e6:.1f} M accumulates, µJ: {side}"
    )
    yield f"beware: {counted.warning}"
