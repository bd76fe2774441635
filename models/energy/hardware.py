"""Hardware profiles: the constants of an in-memory-computing chip, each with its source.

A profile is a TOML file (``profiles/``, or one of yours). Energies are in pJ, times in ns. A
*cycle* is one PE cycle: one output position of one group of columns, all its rows at once.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from spikeserve.models.errors import InvalidProfile
from spikeserve.models.overlay import overlaid, table

PROFILES = Path(__file__).parent / "profiles"
DEFAULT_PROFILE = "dtsnn-calibrated-65nm"
MAX_FILE_BYTES = 1 << 15
MAX_COMPONENTS = 64
SMALLEST_PJ = 1e-12

REQUIRED = (
    "crossbar", "adc", "mux", "tile_buffer", "mem_fetch", "temp", "diff", "htree", "lif", "noc",
)  # fmt: skip
DIGITAL_PERIPHERALS = ("mux", "tile_buffer", "mem_fetch", "temp", "diff")
CONSTANTS = (
    "crossbar_size", "crossbars_per_pe", "pes_per_tile", "cell_bits", "cycle_ns", "rows",
    "pixel_bits", "exit_pj_per_class", "ann_shift_add_pj",
)  # fmt: skip
RESERVED = ("exit", "profile", *CONSTANTS)
"""Names that sources have besides components."""
NEW_COMPONENT = ("energy_pj", "per", "spread", "source")
OWN = ("name", "source", "validated")
"""What a profile never takes over from the one that it extends."""
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _no_dust(value: float) -> float:
    if 0 < value < SMALLEST_PJ:
        raise ValueError(f"must be 0 or at least {SMALLEST_PJ}")
    return value


Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Picojoules = Annotated[float, Field(ge=0, le=1e9), AfterValidator(_no_dust)]
Factor = Annotated[float, Field(ge=1e-3, le=1e3)]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Component(Section):
    """What one part of the chip costs."""

    energy_pj: Picojoules
    per: Literal["active_cell", "column", "cycle"]
    """What it multiplies: cells of driven rows, columns of a cycle, or cycles."""
    once: bool = False
    """Charged once an inference, for the cycles of its first timestep."""
    spread: tuple[Factor, Factor]
    """The factors between which the constant is believed to lie."""
    source: Text

    @model_validator(mode="after")
    def _sound(self) -> Component:
        if not self.spread[0] <= 1 <= self.spread[1]:
            raise ValueError("spread must surround 1")
        if self.once and self.per == "active_cell":
            raise ValueError("what active cells cost is paid at every timestep, not once")
        return self


class Validated(Section):
    """The limits within which the profile was compared with something; beyond, estimates say so."""

    max_weight_bits: Annotated[int, Field(ge=1, le=64)]
    max_timesteps: Annotated[int, Field(ge=1, le=4096)]
    source: Text


class HardwareProfile(Section):
    """One chip; ``docs/ENERGY.md`` says how the constants enter the formula."""

    name: Name
    source: Text
    crossbar_size: Annotated[int, Field(ge=1, le=65_536)]
    crossbars_per_pe: Annotated[int, Field(ge=1, le=65_536)]
    pes_per_tile: Annotated[int, Field(ge=1, le=65_536)]
    cell_bits: Annotated[int, Field(ge=1, le=64)]
    cycle_ns: Annotated[float, Field(gt=0, le=1e9)]
    rows: Literal["active", "all"]
    """Which rows of a PE a cycle drives: those with a non-zero input, or every one there is."""
    pixel_bits: Annotated[int, Field(ge=1, le=64)]
    """Cycles that the first layer takes for an analog frame."""
    exit_pj_per_class: Picojoules
    ann_shift_add_pj: Picojoules
    """What an ANN adds, per column and input bit, to put bit-serial inputs together."""
    sources: dict[str, Text]
    """Where each of :data:`CONSTANTS` comes from."""
    components: Annotated[dict[Name, Component], Field(max_length=MAX_COMPONENTS)]
    validated: Validated | None = None

    @model_validator(mode="after")
    def _complete(self) -> HardwareProfile:
        for name in REQUIRED:
            if name not in self.components:
                raise ValueError(f"components.{name} is missing; 0 pJ if the chip has none")
        for name in RESERVED:
            if name in self.components:
                raise ValueError(f"components.{name}: the name means something else")
        for name in CONSTANTS:
            if name not in self.sources:
                raise ValueError(f"sources.{name} is missing")
        if other := set(self.sources).difference(CONSTANTS):
            raise ValueError(f"sources.{min(other)} belongs to no constant")
        if not any(
            part.energy_pj for part in self.components.values() if part.per != "active_cell"
        ):
            raise ValueError("a cycle costs nothing")
        if self.components["crossbar"].per != "active_cell":
            raise ValueError("components.crossbar is paid per active_cell")
        return self

    @property
    def pe_rows(self) -> int:
        """Inputs of one PE."""
        return self.crossbar_size * self.crossbars_per_pe


def load_profile(name_or_path: str | os.PathLike[str] = DEFAULT_PROFILE) -> HardwareProfile:
    """A shipped profile by name, or any by the path of its ``.toml``.

    Raises:
        InvalidProfile: no such file, not TOML, or a constant is missing or out of range;
            names file and constant.
    """
    name = os.fspath(name_or_path)
    if name.endswith(".toml"):
        path = Path(name)
    else:
        path = _shipped(name, "is no hardware profile, nor the path of a .toml file")
    try:
        return HardwareProfile.model_validate_json(json.dumps(_document(path), default=str))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or path.stem
        raise InvalidProfile(f"{path}: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidProfile(f"{path} cannot be read: {error}") from error


def _shipped(name: object, refusal: str) -> Path:
    """The file of a shipped profile; ``refusal`` says what ``name`` is instead."""
    path = PROFILES / f"{name}.toml"
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or not path.exists():
        known = ", ".join(sorted(profile.stem for profile in PROFILES.glob("*.toml")))
        raise InvalidProfile(f"{str(name)[:100]!r} {refusal}; there is {known}")
    return path


def _document(path: Path) -> dict[str, Any]:
    """The file's tables, laid over those of the shipped profile that it extends."""
    if not path.is_file():
        raise InvalidProfile(f"{path} {'is no regular file' if path.exists() else 'is missing'}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidProfile(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    if "extends" not in document:
        return document
    base = _shipped(document.pop("extends"), f"is no shipped profile that {path} could extend")
    inherited = {key: value for key, value in _document(base).items() if key not in OWN}
    _check_changes(path, document, table(inherited, "components"))
    return overlaid(inherited, document)


def _check_changes(path: Path, document: dict[str, Any], inherited: dict[str, Any]) -> None:
    """Whoever changes a constant says where the new one comes from, and the other way round."""
    for name in CONSTANTS:
        if (name in document) != (name in table(document, "sources")):
            raise InvalidProfile(f"{path}: {name} and sources.{name} change together")
    components = table(document, "components")
    for name in components:
        component = table(components, name)
        if component and "source" not in component:
            raise InvalidProfile(f"{path}: components.{name}.source is missing")
        if component and len(component) == 1:
            raise InvalidProfile(f"{path}: components.{name} has a new source, but for what?")
        if component and name not in inherited and set(component) < set(NEW_COMPONENT):
            raise InvalidProfile(
                f"{path}: components.{name} is new and needs {', '.join(NEW_COMPONENT)}"
            )
