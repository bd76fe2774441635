"""What early exit saves on the shipped bundles, and what saying so costs.

    python -m benchmarks.energy [--quick]

Writes ``docs/benchmarks/energy.json`` and ``energy.md``. Needs the test images of every data set
that a shipped bundle was made for.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from benchmarks.energy.cost import cost, cost_table
from benchmarks.energy.reduction import as_document, reduction_table, reductions
from benchmarks.machine import libraries, machine
from spikeserve.models.bundle import load_bundle, load_manifest
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.data import DATASETS, titled

OUT = Path("docs/benchmarks")
ZOO = DEFAULT_BUNDLE.parent
COST_IMAGES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a check, not a result")
    parser.add_argument("--data", type=Path, default=Path("data"))
    options = parser.parse_args()
    share = 0.02 if options.quick else 1.0
    test = DATASETS["cifar10"].test(options.data).head(share)
    saved = []
    for folder in sorted(ZOO.iterdir()):
        dataset = titled(load_manifest(folder).provenance.dataset)
        saved += reductions(folder, dataset.test(options.data).head(share))
    spent = cost(load_bundle(DEFAULT_BUNDLE), test.images[:COST_IMAGES], 2 if options.quick else 30)
    lines = [
        "# Energy",
        "",
        f"`python -m benchmarks.energy`, {date.today()}, {len(test):,} test images each, "
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
