"""Settings under old names: read from every source, hidden, and never beside the new names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import SettingsError

from spikeserve.service import cli
from spikeserve.service.keys import key_hash
from spikeserve.service.old_names import OLD_NAMES
from spikeserve.service.settings import Settings, unknown_variables

GIVEN: dict[str, Any] = {
    "queue_capacity": 7,
    "max_upload_bytes": 8,
    "body_seconds": 9.5,
    "watchdog_seconds": 10.5,
    "api_keys": key_hash("a key"),
    "admin_key": key_hash("the operator's"),
    "rate_limit": 11.5,
    "rate_burst": 12,
}
EXPECTED = {name: value for old, value in GIVEN.items() for name in OLD_NAMES[old]} | {
    "api_key_hashes": (GIVEN["api_keys"],)
}


def chosen(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in EXPECTED}


def test_every_old_name_is_tried_here_and_stands_for_settings_there_are() -> None:
    assert set(GIVEN) == set(OLD_NAMES)
    assert set(EXPECTED) <= set(Settings.model_fields)
    assert not set(GIVEN) & set(Settings.model_fields)


def test_keywords() -> None:
    assert chosen(Settings(**GIVEN)) == EXPECTED


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(f"SPIKESERVE_{name.upper()}", str(value))
    assert chosen(Settings()) == EXPECTED
    assert unknown_variables(f"SPIKESERVE_{name.upper()}" for name in GIVEN) == []


def file(folder: Path, values: dict[str, Any]) -> str:
    path = folder / "spikeserve.toml"
    path.write_text("\n".join(f"{name} = {value!r}" for name, value in values.items()))
    return str(path)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESERVE_CONFIG", file(tmp_path, GIVEN))
    assert chosen(Settings()) == EXPECTED


def test_flags_are_read_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Settings] = []

    def serve(settings: Settings) -> int:
        served.append(settings)
        return 0

    monkeypatch.setattr(cli, "serve", serve)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items()]
    assert cli.main(["serve", *flags]) == 0
    assert chosen(served[0]) == EXPECTED
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out.split()
    assert "--queue-timesteps" in shown
    assert not {flag.partition("=")[0] for flag in flags} & set(shown)


def test_sources_keep_their_order_whichever_name_they_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"queue_timesteps": 1, "body_seconds": 2.0, "rate_burst_images": 3}
    monkeypatch.setenv("SPIKESERVE_CONFIG", file(tmp_path, values))
    monkeypatch.setenv("SPIKESERVE_QUEUE_CAPACITY", "4")
    monkeypatch.setenv("SPIKESERVE_SEND_TIMEOUT_SECONDS", "5")
    keyword: dict[str, Any] = {"rate_burst": 6}
    settings = Settings(**keyword)
    assert (settings.queue_timesteps, settings.rate_burst_images) == (4, 6)
    assert (settings.body_timeout_seconds, settings.send_timeout_seconds) == (2, 5)


@pytest.mark.parametrize("name", ["body_timeout_seconds", "send_timeout_seconds"])
def test_both_names_at_once_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both: dict[str, Any] = {"body_seconds": 1.0, name: 2.0}
    message = f"body_seconds is the old name of {name}: give one of them, not both"
    with pytest.raises(SettingsError, match=message):
        Settings(**both)
    flags = [f"--{given.replace('_', '-')}={value}" for given, value in both.items()]
    assert cli.main(["serve", *flags]) == 1
    assert capsys.readouterr().err == f"spikeserve: {message}\n"
    with monkeypatch.context() as environment:
        environment.setenv("SPIKESERVE_CONFIG", file(tmp_path, both))
        with pytest.raises(SettingsError, match=message):
            Settings()
    for given, value in both.items():
        monkeypatch.setenv(f"SPIKESERVE_{given.upper()}", str(value))
    with pytest.raises(SettingsError, match=message):
        Settings()


def test_case_does_not_matter() -> None:
    assert Settings(**{"QUEUE_CAPACITY": 7}).queue_timesteps == 7  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="not both"):
        Settings(**{"QUEUE_CAPACITY": 7, "queue_timesteps": 8})  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["--queue", "--rate-l", "--rate-b", "--admin", "--api", "--body"])
def test_hidden_flags_make_no_abbreviation_ambiguous(flag: str) -> None:
    options = cli._parser().parse_args(["serve", flag, "7"])
    assert "7" in vars(options).values()
