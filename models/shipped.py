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
    """The folder of a shipped bundle, or the folder itself; a text that is both means the name.

    Raises:
        BundleError: neither; lists the names.
    """
    names = shipped_names()
    if isinstance(name_or_folder, str) and name_or_folder in names:
        return ZOO / name_or_folder
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise BundleError(
            f"{str(folder)!r} is neither a bundle folder nor a shipped bundle ({', '.join(names)})"
        )
    return folder
