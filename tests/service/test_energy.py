"""The energy in answers: as much of it as was asked for, on the chip the operator named."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.models.errors import InvalidProfile
from spikeserve.service.app import create_app
from spikeserve.service.cli import main
from spikeserve.service.metrics import Metrics
from spikeserve.service.registry import Registry
from spikeserve.service.settings import Settings
from tests.programs import save_tiny_bundle

OTHER = "spikesim-ela-65nm"


def test_full_adds_parts_that_sum_to_the_total(client: TestClient, png: bytes) -> None:
    energy = client.post("/classify?energy=full&entropy_threshold=0", content=png).json()["energy"]
    detail = energy["detail"]
    assert sum(detail["components_pj"].values()) == pytest.approx(energy["total_pj"], rel=1e-12)
    assert sum(detail["timesteps_pj"]) == pytest.approx(energy["total_pj"], rel=1e-12)
    assert [layer["name"] for layer in detail["layers"]] == [
        "conv1",
        "conv2",
        "conv3",
        "classifier",
    ]
    assert all(len(layer["activity"]) == 4 for layer in detail["layers"])
    assert all(0 <= share <= 1 for layer in detail["layers"] for share in layer["activity"])
    assert {ann["bits"]: ann["energy_pj"] for ann in detail["anns"]}[3] == energy["ann_pj"]
    assert set(detail["components_pj"]) <= set(detail["sources"])
    assert detail["assumptions"]
    assert any("8-bit weights" in note for note in detail["domain_notes"])
    assert "memory" in detail["operations"]["warning"]
    assert detail["static_edp_pj_ns"] == energy["edp_pj_ns"]  # a full run is the static one


def test_on_is_the_default_and_says_the_same_without_detail(client: TestClient, png: bytes) -> None:
    full, on, default = (
        client.post(f"/classify{query}", content=png).json()["energy"]
        for query in ("?energy=full", "?energy=on", "")
    )
    assert on == default
    assert on["detail"] is None
    assert on == full | {"detail": None}


def test_off_leaves_it_out_of_the_answer_but_not_out_of_the_counters(
    bundle_folder: Path, png: bytes
) -> None:
    with TestClient(create_app(Settings(bundles=(bundle_folder,), slots=4))) as fresh:
        assert fresh.post("/classify?energy=off", content=png).json()["energy"] is None
        line = next(
            line
            for line in fresh.get("/metrics").text.splitlines()
            if line.startswith("spikeserve_energy_joules_total")
        )
        assert float(line.split()[-1]) > 0
        files = [("file", ("1", png))] * 2
        batch = fresh.post("/classify/batch?energy=off", files=files).json()
        assert [item["classification"]["energy"] for item in batch["results"]] == [None, None]
        with_it = fresh.post("/classify/batch", files=files).json()
        assert batch["energy_pj"] == with_it["energy_pj"] > 0


def test_a_stream_ends_with_what_was_asked_for(client: TestClient, png: bytes) -> None:
    events = client.post("/classify/stream?energy=full", content=png).text
    result = json.loads(events.split("event: result\ndata: ")[1])
    assert result["energy"]["detail"]["components_pj"]


def test_an_estimate_that_fails_costs_only_answers_that_promise_it(
    bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=4))
    with TestClient(app) as fresh:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(app.state.registry.get().energy, "estimate", fail)
        refusal = fresh.post("/classify", content=png)
        assert refusal.status_code == 500
        assert "energy=off" in refusal.json()["detail"]
        assert fresh.post("/classify?energy=off", content=png).json()["timesteps_used"]
        item = {"inputs": base64.b64encode(png).decode()}
        items = [item, item | {"parameters": {"energy": "off"}}]
        batch = fresh.post("/classify/batch", json={"items": items}).json()
        assert [one["status"] for one in batch["results"]] == [500, 200]
        assert fresh.get("/livez").status_code == 200


def test_other_words_are_refused(client: TestClient, png: bytes) -> None:
    assert client.post("/classify?energy=maybe", content=png).status_code == 422


def test_the_operator_names_the_chip(bundle_folder: Path, tmp_path: Path, png: bytes) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        f'extends = "{OTHER}"\nname = "mine"\nsource = "invented"\n'
        '[components.adc]\nenergy_pj = 0.5\nsource = "invented"\n'
    )
    for profile, name in ((OTHER, OTHER), (str(mine), "mine")):
        settings = Settings(bundles=(bundle_folder,), slots=4, energy_profile=profile)
        with TestClient(create_app(settings)) as client:
            energy = client.post("/classify", content=png).json()["energy"]
            assert energy["profile"] == name
            assert not energy["in_domain"]
            found = client.get("/v1/models/tiny/calibration").json()
            assert found["energy_profile"] == name


def test_a_reload_takes_a_changed_chip_for_all_models_or_none(
    bundle_folder: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    text = f'extends = "{OTHER}"\nname = "%s"\nsource = "invented"\n'
    mine.write_text(text % "one")
    other = save_tiny_bundle(tmp_path / "other", "other")
    settings = Settings(bundles=(bundle_folder, other), slots=4, energy_profile=str(mine))
    registry = Registry.load(settings, Metrics())
    before = list(registry)
    registry.start()
    try:
        registry.reload()
        assert list(registry) == before
        mine.write_text("broken")
        with pytest.raises(InvalidProfile):
            registry.reload()
        assert list(registry) == before
        mine.write_text(text % "two")
        registry.reload()
        assert [model.energy.profile.name for model in registry] == ["two", "two"]
    finally:
        registry.drain(10)


def test_a_chip_that_is_none_is_refused_at_start(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('extends = "spikesim-ela-65nm"\nname = "x"\nsource = "x"\ncomponents.adc = 1\n')
    for profile, message in (("nobody", "there is dtsnn"), (str(bad), "components.adc")):
        arguments = ["--bundle", str(bundle_folder), "--energy-profile", profile]
        assert main(["serve", "--port", "0", *arguments]) == 1
        assert message in capsys.readouterr().err


def test_the_command_shows_components_over_timesteps(
    bundle_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["energy", str(bundle_folder)]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in ("adc", "tile_buffer", "htree", "others"))
    assert "aaa" in output, "without colours bars are made of letters"
    assert "ANN3" in output
    assert "8-bit weights" in output
    picture = tmp_path / "energy.svg"
    arguments = ["--profile", OTHER, "--timesteps", "9", "--svg", str(picture)]
    assert main(["energy", str(bundle_folder), *arguments]) == 0
    output = capsys.readouterr().out
    assert OTHER in output
    assert "9 timesteps: the profile was validated with at most 8" in output
    assert "9*" in output
    assert "4*" not in output
    assert "</svg>" in picture.read_text()


def test_parts_may_have_any_name_and_there_may_be_many(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chip = tmp_path / "chip.toml"
    part = 'energy_pj = 300.0\nper = "cycle"\nspread = [0.5, 2.0]\nsource = "x"\n'
    names = ["others", *(f"a{k}" for k in range(20))]
    parts = "".join(f"[components.{name}]\n{part}" for name in names)
    chip.write_text(f'extends = "{OTHER}"\nname = "x"\nsource = "x"\n{parts}')
    assert main(["energy", str(bundle_folder), "--profile", str(chip)]) == 0
    assert "a19" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timesteps", "0"], "between 1 and 1024"),
        (["--timesteps", "1025"], "between 1 and 1024"),
        (["--profile", "nobody"], "no hardware profile"),
        (["--profile", "/nowhere/\x1b[31m.toml"], "x1b[31m.toml is missing"),
        (["--svg", "/nowhere/x.svg"], "/nowhere"),
    ],
)
def test_the_command_refuses_what_it_cannot_show(
    bundle_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["energy", str(bundle_folder), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_report_that_fails_costs_only_the_answer_that_wants_it(
    bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=4))
    with TestClient(app) as fresh:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(app.state.registry.get().reporter, "report", fail)
        item = {"inputs": base64.b64encode(png).decode()}
        items = [item, item | {"parameters": {"energy": "full"}}]
        batch = fresh.post("/classify/batch", json={"items": items}).json()
        assert [one["status"] for one in batch["results"]] == [200, 500]


def test_a_stream_goes_on_without_an_estimate_that_fails(
    bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=4))
    with TestClient(app) as fresh:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(app.state.registry.get().energy, "estimate", fail)
        events = fresh.post("/classify/stream?energy=off", content=png).text
    first = json.loads(events.split("event: timestep\ndata: ")[1].split("\n")[0])
    assert first["energy_pj"] is None
    assert json.loads(events.split("event: result\ndata: ")[1])["timesteps_used"]
