"""What early exit saves on the shipped bundles, and what saying so costs.

    python -m benchmarks.energy [--quick]

Writes ``docs/benchmarks/energy.json`` and ``energy.md``. Needs the CIFAR-10 test images.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from benchmarks.energy.cost import cost, cost_table
from benchmarks.energy.reduction import as_document, reduction_table, reductions
from benchmarks.machine import libraries, machine
from models.bundle import load_bundle
from service.settings import DEFAULT_BUNDLE
from training.data import DATASETS

OUT = Path("docs/benchmarks")
ZOO = DEFAULT_BUNDLE.parent
COST_IMAGES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a check, not a result")
    parser.add_argument("--data", type=Path, default=Path("data"))
    options = parser.parse_args()
    test = DATASETS["cifar10"].test(options.data).head(0.02 if options.quick else 1.0)
    saved = [one for folder in sorted(ZOO.iterdir()) for one in reductions(folder, test)]
    spent = cost(load_bundle(DEFAULT_BUNDLE), test.images[:COST_IMAGES], 2 if options.quick else 30)
    lines = [
        "# Energy",
        "",
        f"`python -m benchmarks.energy`, {date.today()}, {len(test):,} CIFAR-10 test images, "
        f"{machine()['processor']}. Estimates for a chip that was not built (docs/ENERGY.md).",
        "",
        "## What early exit saves",
        "",
        *reduction_table(saved),
        "",
        "## What the estimate costs",
        "",
        *cost_table(spent),
        "",
    ]
    print("\n".join(lines))
    if not options.quick:
        result = {
            "date": str(date.today()),
            "machine": machine(),
            "libraries": libraries(),
            "images": len(test),
            "reductions": [as_document(one) for one in saved],
            "cost": spent,
        }
        (OUT / "energy.json").write_text(json.dumps(result, indent=1) + "\n")
        (OUT / "energy.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
