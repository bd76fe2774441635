"""Values of the command line's options, checked."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from spikeserve.training.stage import MOST_PIXELS, NAME

LEAST_PIXELS = 8


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error


def numbers(text: str) -> tuple[float, ...]:
    """Finite ones, by commas."""
    values = tuple(number(part) for part in text.split(","))
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"{text} holds numbers that are not finite")
    return values


def minutes(text: str) -> float:
    value = number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def share(text: str) -> float:
    value = number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0…1")
    return value


def part(text: str) -> float:
    """A share that leaves something."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def size(text: str) -> tuple[int, int]:
    """``64``, or height and width as ``48x64``."""
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(p.isascii() and p.isdigit() for p in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: 64, or height x width as 48x64")
    height, width = int(parts[0]), int(parts[-1])
    if not all(LEAST_PIXELS <= side <= MOST_PIXELS for side in (height, width)):
        raise argparse.ArgumentTypeError(
            f"{text}: networks take {LEAST_PIXELS} to {MOST_PIXELS} pixels a side"
        )
    return height, width


def name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: lower-case letters, digits, '.', '_' and '-', 100 at most"
        )
    return text


def seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: a whole number from 0")
    return int(text)


def folder(text: str) -> Path:
    if "\0" in text:
        raise argparse.ArgumentTypeError("a path has no zero bytes")
    return Path(text)
