"""Folders of pictures for tests, drawn here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spikeserve.training.cli import main

SIZE = 16
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def drawn(seed: int, side: int = 40) -> Image.Image:
    """A picture like no other: smooth, so that it survives being saved anew."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((side + 8, side), Image.Resampling.BICUBIC)


def put(path: Path, seed: int, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(seed).save(path, **options)  # type: ignore[arg-type]
    return path


def prepared(source: Path, *more: str) -> int:
    root = source.parent / "data"
    return main(["data", "folder", str(source), "--size", str(SIZE), "--data", str(root), *more])


def card_of(source: Path, name: str | None = None) -> dict[str, Any]:
    path = source.parent / "data" / (name or source.name) / "card.json"
    card: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return card


def left_out(source: Path) -> dict[str, str]:
    listed = card_of(source)["left_out"]
    return {one["file"]: one["why"] for one in listed}
