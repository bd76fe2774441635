"""Profiles: constants with sources, and nothing that an energy must not be computed with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from spikeserve.models.energy.hardware import (
    CONSTANTS,
    DIGITAL_PERIPHERALS,
    PROFILES,
    REQUIRED,
    load_profile,
)
from spikeserve.models.errors import InvalidProfile

SHIPPED = sorted(path.stem for path in PROFILES.glob("*.toml"))
EXTENDING = 'extends = "dtsnn-calibrated-65nm"\nname = "mine"\nsource = "measured"\n'


def toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f'"{key}" = {toml(item)}' for key, item in value.items()) + "}"
        case bool():
            return str(value).lower()
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return f'"{value}"'
        case _:
            return repr(value)


def complete() -> dict[str, Any]:
    document = tomllib.loads((PROFILES / "spikesim-ela-65nm.toml").read_text())
    return document | {"name": "mine"}


def written(tmp_path: Path, document: dict[str, Any]) -> str:
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in document.items()))
    return str(path)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_constant_has_a_source_and_a_spread(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert set(REQUIRED) <= set(profile.components)
    assert set(CONSTANTS) <= set(profile.sources)
    for part in profile.components.values():
        assert part.source
        assert part.spread[0] < 1 < part.spread[1]


def test_the_default_differs_from_the_released_tool_where_it_says_so() -> None:
    ours, tool = load_profile(), load_profile("spikesim-ela-65nm")
    assert {name for name, part in ours.components.items() if part.once} == set(DIGITAL_PERIPHERALS)
    assert not any(part.once for part in tool.components.values())
    assert (ours.rows, tool.rows) == ("active", "all")
    for name, part in ours.components.items():
        if name != "noc":
            assert part.energy_pj == tool.components[name].energy_pj


def test_a_profile_of_ones_own_by_path(tmp_path: Path) -> None:
    path = written(tmp_path, complete())
    assert load_profile(path).name == "mine"
    other = tmp_path / "extending.toml"
    other.write_text(EXTENDING + '[components.adc]\nenergy_pj = 1\nsource = "my ADC"\n')
    profile = load_profile(str(other))
    assert profile.components["adc"].energy_pj == 1
    assert profile.components["adc"].spread == (0.07, 1.72)
    assert profile.components["mux"].once
    assert profile.validated is None, "whoever changes a constant was not validated"


def test_the_documents_example_is_a_profile(tmp_path: Path) -> None:
    document = (Path(__file__).parents[3] / "docs" / "ENERGY.md").read_text()
    path = tmp_path / "my-chip.toml"
    path.write_text(document.split("```toml\n")[1].split("```")[0])
    assert load_profile(str(path)).name == "my-chip"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components.adc": None}, "components.adc is missing"),
        ({"components.adc.energy_pj": None}, "components.adc.energy_pj: Field required"),
        ({"components.adc.energy_pj": -1.0}, "components.adc.energy_pj"),
        ({"components.adc.energy_pj": float("nan")}, "components.adc.energy_pj"),
        ({"components.adc.energy_pj": float("inf")}, "components.adc.energy_pj"),
        ({"components.adc.energy_pj": "2"}, "components.adc.energy_pj"),
        ({"components.adc.per": "second"}, "components.adc.per"),
        ({"components.adc.spread": [2.0, 3.0]}, "spread must surround 1"),
        ({"components.adc.spread": [0.0, 3.0]}, "components.adc.spread"),
        ({"components.adc.source": ""}, "components.adc.source"),
        ({"components.adc.typo": 1}, "components.adc.typo"),
        ({"components.crossbar.once": True}, "paid at every timestep"),
        ({"components.crossbar.per": "cycle"}, "components.crossbar"),
        ({"components.exit": complete()["components"]["adc"]}, "components.exit"),
        ({"components.cycle_ns": complete()["components"]["adc"]}, "components.cycle_ns"),
        ({"components.adc.energy_pj": 5e-324}, "components.adc.energy_pj"),
        ({"components.adc.spread": [5e-324, 1.0]}, "components.adc.spread"),
        ({"sources.adc": "override"}, "sources.adc belongs to no constant"),
        ({"technology_nm": 7}, "technology_nm"),
        ({"components": 3}, "components"),
        ({"crossbar_size": 0}, "crossbar_size"),
        ({"crossbar_size": True}, "crossbar_size"),
        ({"crossbar_size": 10**12}, "crossbar_size"),
        ({"crossbars_per_pe": 1.5}, "crossbars_per_pe"),
        ({"cycle_ns": None}, "cycle_ns: Field required"),
        ({"cycle_ns": 0.0}, "cycle_ns"),
        ({"pixel_bits": -8}, "pixel_bits"),
        ({"sources.cycle_ns": None}, "sources.cycle_ns is missing"),
        ({"name": "../../etc"}, "name"),
        ({"validated.max_timesteps": 0}, "validated.max_timesteps"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    document = complete()
    for key, value in change.items():
        *parents, last = key.split(".")
        table = document
        for parent in parents:
            table = table[parent]
        if value is None:
            del table[last]
        else:
            table[last] = value
    path = written(tmp_path, document)
    with pytest.raises(InvalidProfile, match=re.escape(message)) as refusal:
        load_profile(path)
    assert path in str(refusal.value)


def test_a_chip_whose_cycles_cost_nothing_is_refused(tmp_path: Path) -> None:
    document = complete()
    for name, part in document["components"].items():
        if name != "crossbar":
            part["energy_pj"] = 0.0
    with pytest.raises(InvalidProfile, match="costs nothing"):
        load_profile(written(tmp_path, document))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Field required"),
        ("name = ", "cannot be read"),
        ("\x00", "cannot be read"),
        ("a = " + "[" * 10_000, "cannot be read"),
        ('extends = "nobody"', "is no shipped profile that"),
        ("extends = 3", "is no shipped profile that"),
        ('extends = "../profiles/dtsnn-calibrated-65nm"', "is no shipped profile that"),
        (f'extends = "{"a" * 400}"', "is no shipped profile that"),
        ("pixel_bits = 0x" + "F" * 5000, "cannot be read"),
        (".".join(["a"] * 3000) + " = 1", "cannot be read"),
        (EXTENDING + ".".join(["components", *["a"] * 3000]) + " = 1", "components.a.source"),
        (EXTENDING + ".".join(["sources", *["cycle_ns"] * 3000]) + " = 1", "change together"),
        (EXTENDING + 'components.adc.per = "cycle"\n', "components.adc.source is missing"),
        (EXTENDING + "components.htree.once = true\n", "components.htree.source is missing"),
        (EXTENDING + "[components.adc]\nenergy_pj = 1.0\n", "components.adc.source is missing"),
        (EXTENDING + "cycle_ns = 1.0\n", "sources.cycle_ns change together"),
        (EXTENDING + 'sources.cycle_ns = "mine"\n', "sources.cycle_ns change together"),
        (EXTENDING + 'components.adc.source = "mine"\n', "a new source, but for what"),
        (
            EXTENDING + 'components.adx = { energy_pj = 1.0, source = "mine" }\n',
            "components.adx is new and needs energy_pj, per, spread, source",
        ),
        (EXTENDING + "[validated]\nmax_weight_bits = 8\nmax_timesteps = 8\n", "validated.source"),
        (EXTENDING + "sources = 3\n", "sources"),
        (EXTENDING + "components.adc = 3\n", "components.adc"),
        (EXTENDING + "components = []\n", "components"),
        ('extends = "dtsnn-calibrated-65nm"\n', "name: Field required"),
        (EXTENDING + "when = 2020-01-01\n", "when"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(text)
    with pytest.raises(InvalidProfile, match=re.escape(message)):
        load_profile(str(path))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidProfile, match="there is dtsnn-calibrated-65nm, dtsnn-serial"):
        load_profile("unknown")
    with pytest.raises(InvalidProfile, match="is no hardware profile"):
        load_profile("../../../etc/passwd")
    with pytest.raises(InvalidProfile, match="is no hardware profile"):
        load_profile(str(tmp_path / "dtsnn-calibrated-65nm"))
    with pytest.raises(InvalidProfile, match="is no hardware profile"):
        load_profile("a" * 10_000)
    with pytest.raises(InvalidProfile, match="cannot be read"):
        load_profile("a" * 10_000 + ".toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(InvalidProfile, match="no regular file"):
        load_profile(str(folder))
    with pytest.raises(InvalidProfile, match=r"missing\.toml is missing"):
        load_profile(str(tmp_path / "missing.toml"))
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (2 << 20))
    with pytest.raises(InvalidProfile, match="larger than"):
        load_profile(str(large))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidProfile, match="cannot be read"):
        load_profile(str(binary))
