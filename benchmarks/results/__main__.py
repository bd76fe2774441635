"""Measure bundles, and write docs/RESULTS.md and its pictures from what was logged.

    python -m benchmarks.results measure [BUNDLE ...]     all in models/zoo unless named
    python -m benchmarks.results ablate [--runs FOLDER]   what spike codes are worth; some hours
    python -m benchmarks.results write                    from docs/benchmarks/results/*.json

Measuring and ablating need the data sets; writing needs nothing but the logged JSON.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.results.report import ABLATIONS, write
from spikeserve.service.settings import DEFAULT_BUNDLE

LOGGED = Path("docs/benchmarks/results")
REPORT = Path("docs/RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["measure", "ablate", "write"])
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    options = parser.parse_args()
    LOGGED.mkdir(parents=True, exist_ok=True)
    if options.command == "measure":
        from benchmarks.results.measure import measured

        for folder in options.bundles or sorted(DEFAULT_BUNDLE.parent.iterdir()):
            document = {"date": str(date.today())} | measured(folder, options.data)
            path = LOGGED / f"{document['bundle']}.json"
            _log(document, path)
            print(f"{path}: {document['accuracy']:.4f} at {document['average_timesteps']:.3f}")
    if options.command == "ablate":
        from benchmarks.results.ablation import ablated

        _log({"date": str(date.today())} | ablated(options.runs, options.data), LOGGED / ABLATIONS)
    write(LOGGED, REPORT)
    print(REPORT)


def _log(document: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
