"""Settings: one typed source of truth, from flags, ``SPIKESERVE_…`` variables and a TOML file.

Flags win over the environment, the environment over the file (``SPIKESERVE_CONFIG``). Names that
settings once had are still read, see ``old_names``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from spikeserve.models.energy.hardware import DEFAULT_PROFILE
from spikeserve.models.engines.selection import EngineChoice
from spikeserve.models.shipped import ZOO, shipped_names
from spikeserve.service.old_names import OLD_NAMES, renamed_values, renamed_variables

PREFIX = "SPIKESERVE_"
CONFIG = f"{PREFIX}CONFIG"
# What Kubernetes sets for a service that is called spikeserve.
FOREIGN = re.compile(rf"{PREFIX}(SERVICE_|PORT_\d)")
SHA256 = re.compile("[0-9a-f]{64}")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/?#,*]+", re.IGNORECASE)
PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
OWN_PATHS = (
    *("/classify", "/v1/models", "/v1/admin", "/v1/status", "/v2"),
    *("/livez", "/readyz", "/healthz", "/metrics", "/docs", "/openapi.json", "/page"),
)
"""A prefix that is one, or begins with one, could not be told from these."""


def _hash(text: str) -> str:
    if not SHA256.fullmatch(text):
        raise ValueError("not a sha256 in hexadecimal, as `spikeserve key` prints it")
    return text


def _origin(text: str) -> str:
    if not ORIGIN.fullmatch(text):
        raise ValueError("not an origin: * or scheme://host[:port], as in https://example.org")
    return text.lower()


def _is_or_holds(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer}/")


def _prefix(text: str) -> str:
    path = text.rstrip("/")
    if path and not PATH.fullmatch(path):
        raise ValueError("not a path, which begins with / and has no query, as in /vision")
    if path and any(_is_or_holds(own, path) or _is_or_holds(path, own) for own in OWN_PATHS):
        raise ValueError(f"{path} is a path of the service itself; take another, as in /vision")
    return path


LONGEST_S = 366 * 86_400
"""Whatever takes longer would be without end."""
Seconds = Annotated[float, Field(le=LONGEST_S)]
Count = Annotated[int, Field(le=1 << 53)]
"""Up to there every whole number is a float as well, as metrics want it."""
Threads = Annotated[int, Field(le=4096)]
Origin = Annotated[str, AfterValidator(_origin)]
KeyHash = Annotated[str, AfterValidator(_hash)]
DEFAULT_BUNDLE = ZOO / "early-exit-vgg8-cifar10"


class Settings(BaseSettings):
    """What an operator can change."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    root_path: Annotated[str, AfterValidator(_prefix)] = Field(
        "", description="prefix below which a proxy shows the service, stripped or not: /vision"
    )
    cors_origins: Annotated[tuple[Origin, ...], NoDecode] = Field(
        (),
        description="origins whose pages may call: https://example.org; *: all; default: none",
    )
    page: bool = Field(
        True, description="on or off: the page at /, which shows how the service classifies"
    )
    uds: Path | None = Field(None, description="unix socket to listen on, instead of host and port")
    bundles: Annotated[tuple[Path, ...], NoDecode] = Field(
        (DEFAULT_BUNDLE,),
        min_length=1,
        description="bundle folders, or names of bundles that ship; the first is the default; "
        f"{os.pathsep!r} between several",
    )
    engine: EngineChoice = Field("auto", description="auto, event, onnx, torch or reference")
    engine_threads: Threads = Field(
        0,
        ge=0,
        description="threads of the event or onnx engine; 0: all cores, shared out among workers",
    )
    slots: int = Field(0, ge=0, le=4096, description="rows stepped together; 0: measured at load")
    queue_timesteps: Count = Field(
        512, ge=1, description="expected timesteps that may wait for slots, per model"
    )
    brownout: bool = Field(
        False, description="on or off: raise entropy thresholds as the queue grows"
    )
    brownout_accuracy_loss: float = Field(
        0.01, ge=0, le=1, description="calibrated accuracy that brownout may cost"
    )
    energy_profile: str = Field(
        DEFAULT_PROFILE,
        description="hardware profile of energy estimates: a shipped name or a .toml file",
    )
    max_body_bytes: Count = Field(10 << 20, ge=1, description="largest accepted request body")
    max_total_upload_bytes: Count = Field(
        256 << 20,
        ge=1,
        description="most that all request bodies may hold together, until each is decoded",
    )
    body_timeout_seconds: Seconds = Field(
        10, gt=0, description="how long a request's body may take to arrive"
    )
    send_timeout_seconds: Seconds = Field(
        10, gt=0, description="how long a client may read nothing of an answer"
    )
    max_connections: Count = Field(
        0,
        ge=0,
        description="most open connections of a process; 0: 4096, or what its open files allow",
    )
    max_pixels: int = Field(
        64_000_000, ge=1, le=89_000_000, description="largest accepted image, in pixels"
    )
    decode_threads: Threads = Field(2, ge=1, description="threads that decode images")
    decode_queue_seconds: Seconds = Field(
        2, gt=0, description="expected wait for such a thread beyond which images are refused"
    )
    max_decode_bytes: Count = Field(
        512 << 20, ge=1, description="memory that the images being decoded may take together"
    )
    max_batch_items: Count = Field(64, ge=1, description="most images in one batch request")
    workers: int = Field(1, ge=1, le=256, description="processes, each with its own engines")
    step_timeout_seconds: Seconds = Field(
        10, gt=0, description="how long one timestep may take before the engine counts as hung"
    )
    drain_delay_seconds: Seconds = Field(
        0, ge=0, description="time between turning unready and refusing requests, at shutdown"
    )
    drain_seconds: int = Field(
        30, ge=0, le=LONGEST_S, description="time to finish requests at shutdown"
    )
    api_key_hashes: Annotated[tuple[KeyHash, ...], NoDecode] = Field(
        (), description="sha256 of the API keys that may classify; none: everybody may"
    )
    admin_key_hash: KeyHash | None = Field(
        None, description="sha256 of the key for /v1/admin; none: no admin endpoints"
    )
    rate_limit_images_per_second: float = Field(
        0, ge=0, allow_inf_nan=False, description="images a second for each API key; 0: no limit"
    )
    rate_burst_images: Count = Field(10, ge=1, description="images an API key may send at once")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )

    @field_validator("api_key_hashes", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("uds", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return value or None  # a variable that is set to nothing

    @field_validator("bundles", mode="before")
    @classmethod
    def _folders(cls, value: object) -> object:
        given = value.split(os.pathsep) if isinstance(value, str) else value
        if not isinstance(given, list | tuple):
            return given
        names = shipped_names()
        return [ZOO / one if isinstance(one, str) and one in names else one for one in given]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get(CONFIG)
        if file and not Path(file).is_file():
            raise FileNotFoundError(f"settings file {file} does not exist")
        sources = renamed_values(settings_cls, init_settings), renamed_variables(settings_cls)
        if not file:
            return sources
        toml = TomlConfigSettingsSource(settings_cls, file)
        return *sources, renamed_values(settings_cls, toml)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Environment variables that look like settings and are none: most likely misspelt."""
    fields = (*Settings.model_fields, *OLD_NAMES)
    known = {f"{PREFIX}{field.upper()}" for field in fields} | {CONFIG}
    ours = (name for name in names if name.upper().startswith(PREFIX))  # case does not matter
    return sorted(
        name for name in ours if name.upper() not in known and not FOREIGN.match(name.upper())
    )
