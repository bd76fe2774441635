"""Hardware profiles: the constants of an in-memory-computing chip, each with its source.

A profile is a TOML file (``profiles/``, or one of yours). Energies are in pJ, times in ns. A
*cycle* is one PE cycle: one output position of one group of columns, all its rows at once.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import InvalidProfile

PROFILES = Path(__file__).parent / "profiles"
DEFAULT_PROFILE = "dtsnn-calibrated-65nm"
MAX_FILE_BYTES = 1 << 20

REQUIRED = (
    "crossbar", "adc", "mux", "tile_buffer", "mem_fetch", "temp", "diff", "htree", "lif", "noc",
)  # fmt: skip
DIGITAL_PERIPHERALS = ("mux", "tile_buffer", "mem_fetch", "temp", "diff")
CONSTANTS = (
    "crossbar_size", "crossbars_per_pe", "pes_per_tile", "cell_bits", "cycle_ns", "rows",
    "pixel_bits", "exit_pj_per_class", "ann_shift_add_pj",
)  # fmt: skip
OWN = ("name", "source")
"""What every profile says for itself; ``validated`` is not inherited either."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Picojoules = Annotated[float, Field(ge=0, le=1e9)]
Factor = Annotated[float, Field(gt=0, le=1e3)]


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
    """What the profile's figures were compared with; beyond it an estimate says so."""

    max_weight_bits: Annotated[int, Field(ge=1, le=64)]
    max_timesteps: Annotated[int, Field(ge=1, le=4096)]


class HardwareProfile(Section):
    """One chip; ``docs/ENERGY.md`` says how the constants enter the formula."""

    name: Name
    source: Text
    technology_nm: Annotated[float, Field(gt=0, le=1e6)]
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
    components: dict[Name, Component]
    validated: Validated | None = None

    @model_validator(mode="after")
    def _complete(self) -> HardwareProfile:
        for name in REQUIRED:
            if name not in self.components:
                raise ValueError(f"components.{name} is missing; 0 pJ if the chip has none")
        if "exit" in self.components:
            raise ValueError("components.exit is exit_pj_per_class")
        for name in CONSTANTS:
            if name not in self.sources:
                raise ValueError(f"sources.{name} is missing")
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


def load_profile(name_or_path: str = DEFAULT_PROFILE) -> HardwareProfile:
    """A shipped profile by name, or any by the path of its ``.toml``.

    Raises:
        InvalidProfile: no such file, not TOML, or a constant is missing or out of range;
            names file and constant.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = PROFILES / f"{Path(name_or_path).name}.toml"
        if not path.exists():
            known = ", ".join(sorted(profile.stem for profile in PROFILES.glob("*.toml")))
            raise InvalidProfile(
                f"no hardware profile {name_or_path[:200]!r}; there is {known}, "
                "or the path of a .toml file"
            )
    document = _document(path)
    try:
        return HardwareProfile.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or path.stem
        raise InvalidProfile(f"{path}: {where}: {first['msg']}") from error


def _document(path: Path) -> dict[str, Any]:
    """The file's tables, laid over those of the shipped profile that it extends."""
    try:
        if not path.is_file():
            raise InvalidProfile(f"{path} is no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidProfile(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidProfile(f"{path} cannot be read: {error}") from error
    extended = document.pop("extends", None)
    if extended is None:
        return document
    if not isinstance(extended, str) or not (PROFILES / f"{Path(extended).name}.toml").exists():
        raise InvalidProfile(f"{path}: extends must name a shipped profile")
    _check_sources(path, document)
    base = _document(PROFILES / f"{Path(extended).name}.toml")
    inherited = {key: value for key, value in base.items() if key not in (*OWN, "validated")}
    return _laid_over(inherited, document)


def _check_sources(path: Path, document: dict[str, Any]) -> None:
    """Whoever changes a constant says where the new one comes from."""
    for name in CONSTANTS:
        if name in document and name not in _table(document, "sources"):
            raise InvalidProfile(f"{path}: sources.{name} is missing")
    components = _table(document, "components")
    for name in components:
        component = _table(components, name)
        if "energy_pj" in component and "source" not in component:
            raise InvalidProfile(f"{path}: components.{name}.source is missing")


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The table ``key``, empty where there is none; what else stands there is refused later."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _laid_over(base: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    return base | {
        key: _laid_over(_table(base, key), value) if isinstance(value, dict) else value
        for key, value in document.items()
    }
