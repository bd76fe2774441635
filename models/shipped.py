"""The bundles that ship, by name."""

from __future__ import annotations

import os
from pathlib import Path

from spikeserve.models.errors import BundleError

ZOO = Path(__file__).parent / "zoo"


def shipped_names() -> list[str]:
    """What may be given instead of a folder."""
    return sorted(folder.name for folder in ZOO.iterdir() if folder.is_dir())


def bundle_folder(name_or_folder: str | os.PathLike[str]) -> Path:
    """The folder of a shipped bundle, or the folder itself.

    A ``Path`` is always a folder; a text that is both a name and a folder means the name.

    Raises:
        BundleError: a text that is neither; lists the names.
    """
    folder = Path(name_or_folder)
    if not isinstance(name_or_folder, str):
        return folder
    names = shipped_names()
    if name_or_folder in names:
        return ZOO / name_or_folder
    try:
        known = folder.is_dir()
    except (OSError, ValueError):  # too long, or characters that no path has
        known = False
    if not known:
        raise BundleError(
            f"{name_or_folder!r} is neither a shipped bundle ({', '.join(names)}) nor a folder"
        )
    return folder
