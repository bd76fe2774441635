"""Documents laid over others: what the upper one does not say, the lower one does."""

from __future__ import annotations

from typing import Any


def table(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The table under ``key``; empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def overlaid(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """``upper`` over ``lower``, table by table; whatever is no table replaces what was there."""
    return lower | {
        key: overlaid(table(lower, key), value) if isinstance(value, dict) else value
        for key, value in upper.items()
    }
