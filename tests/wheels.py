"""Wheels and source distributions, built as the Dockerfile builds them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[1]
NOISE = shutil.ignore_patterns("__pycache__")


def build_context(folder: Path) -> Path:
    """What ``COPY . .`` brings into an image: what .dockerignore lets through, links as links."""
    folder.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, copy = ROOT / line[1:], folder / line[1:]
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True, ignore=NOISE)
            else:
                shutil.copy2(source, copy)
    return folder


def built(kind: Literal["wheel", "sdist"], source: Path, folder: Path) -> tuple[Path, str]:
    """The file that ``source`` builds to, and what setuptools said; needs no network."""
    folder.mkdir(exist_ok=True)
    script = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    (file,) = folder.iterdir()
    return file, output
