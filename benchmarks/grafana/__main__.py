"""The dashboard, judged by Grafana's own types and drawn with its UI library over a real run.

    python -m benchmarks.grafana types
    python -m benchmarks.grafana record [--minutes 6]
    python -m benchmarks.grafana draw [--light]

``types`` compiles ``deploy/grafana/spikeserve.json`` against the schema package. ``record`` serves
two bundles to all kinds of visitors while Prometheus watches. ``draw`` asks that recording every
query of the dashboard and writes ``docs/grafana.png``. ``types`` and ``draw`` need the packages
that ``npm ci`` installs in this folder, ``record`` and ``draw`` Prometheus, ``draw`` Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from benchmarks.grafana.browser import BUILD, HERE, PACKAGES, photograph
from benchmarks.grafana.record import TIMES, prometheus, record
from benchmarks.grafana.typed import typed
from spikeserve.deploy.grafana import dashboard

RECORDING = Path("runs/dashboard")
PICTURE = Path("docs/grafana.png")
WIDTH = 1680
STEP_S = 5
CAPTION = "rendered with Grafana's UI library"


def types() -> None:
    """Let the TypeScript compiler compare the dashboard with Grafana's types."""
    BUILD.mkdir(exist_ok=True)
    document = json.loads(dashboard.FILE.read_text("utf-8"))
    (BUILD / "typed.ts").write_text(typed(document), "utf-8")
    _npm("types")


def draw(mode: str) -> list[str]:
    """Draw the dashboard over the recording; returns panels with a query that found nothing.

    Raises:
        FileNotFoundError: there is no recording.
    """
    if not (RECORDING / TIMES).is_file():
        raise FileNotFoundError("nothing was recorded; run: python -m benchmarks.grafana record")
    times = json.loads((RECORDING / TIMES).read_text("utf-8"))
    _npm("bundle")
    settings = {
        "dashboard": dashboard.dashboard(),
        "range": {"start": int(times["start"]), "end": int(times["end"]), "step": STEP_S},
        "mode": mode,
        "width": WIDTH,
        "caption": CAPTION,
    }
    drawn = BUILD / "board.png"
    with prometheus(RECORDING, {}) as address:
        empty = photograph(settings, address, drawn)
    with Image.open(drawn) as picture:
        small = picture.convert("RGB").quantize(
            method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        small.save(PICTURE, optimize=True)
    return empty


def _npm(script: str) -> None:
    """Run a script of ``package.json``.

    Raises:
        FileNotFoundError: its packages are not installed.
    """
    if not PACKAGES.is_dir() or not shutil.which("npm"):
        raise FileNotFoundError(f"needs node.js and packages; run: npm ci --prefix {HERE}")
    subprocess.run(["npm", "run", "--silent", script], cwd=HERE, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("types", "record", "draw"))
    parser.add_argument("--minutes", type=float, default=6, help="how long record runs")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--light", action="store_true", help="draw on white")
    options = parser.parse_args()
    match options.step:
        case "types":
            types()
        case "record":
            record(RECORDING, options.data, options.minutes)
        case "draw":
            empty = draw("light" if options.light else "dark")
            print(f"panels without data: {', '.join(empty) or 'none'}; {PICTURE}")
            sys.exit(bool(empty))


if __name__ == "__main__":
    main()
