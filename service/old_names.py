"""Settings that had other names: flags, variables, files and keywords that still use them work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

OLD_NAMES: Mapping[str, tuple[str, ...]] = {
    "queue_capacity": ("queue_timesteps",),
    "max_upload_bytes": ("max_total_upload_bytes",),
    "body_seconds": ("body_timeout_seconds", "send_timeout_seconds"),
    "watchdog_seconds": ("step_timeout_seconds",),
    "api_keys": ("api_key_hashes",),
    "admin_key": ("admin_key_hash",),
    "rate_limit": ("rate_limit_images_per_second",),
    "rate_burst": ("rate_burst_images",),
}
"""Each old name with the names of what it set."""


def renamed(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The same values under today's names; all names in ``given`` begin with ``prefix``.

    Raises:
        SettingsError: an old name and one that replaces it are both given.
    """
    values = dict(given)
    written = {name.lower(): name for name in values}  # case does not matter, as for other names
    for old, new in OLD_NAMES.items():
        if prefix + old not in written:
            continue
        value = values.pop(written[prefix + old])
        for name in new:
            if prefix + name in written:
                raise SettingsError(f"{old} is the old name of {name}: give one of them, not both")
            values[prefix + name] = value
    return values


def renamed_values(
    settings: type[BaseSettings], source: PydanticBaseSettingsSource
) -> PydanticBaseSettingsSource:
    """Keywords, or a file's table, under today's names."""
    return InitSettingsSource(settings, renamed(source()))


def renamed_variables(settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
    """The environment under today's names."""
    source = EnvSettingsSource(settings)
    keys = source.env_prefix.lower()  # as the source holds them
    source.env_vars = renamed(source.env_vars, keys)
    return source
