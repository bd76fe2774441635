"""``python -m spikeserve.training.teacher cifar10``: run again, it goes on where it stopped.

The paper reaches 94 % on CIFAR-10 with widths 64, 256, 256 and 3.6e14 FLOP, 95 % with 128, 384, 384
and 1.4e15, having chosen its settings on the test set. Here nothing looks at the test set: 5,000
training images are held out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spikeserve.training.cli import unusable
from spikeserve.training.data import DATASETS
from spikeserve.training.errors import TrainingError


def main() -> int:
    if (reason := unusable()) is not None:
        print(f"teacher: {reason}", file=sys.stderr)
        return 1
    from spikeserve.training.teacher.fit import TeacherFit
    from spikeserve.training.teacher.schedule import Schedule

    parser = argparse.ArgumentParser(prog="python -m spikeserve.training.teacher")
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--run", type=Path, help="default: runs/teacher-<dataset>")
    parser.add_argument("--epochs", type=int, default=Schedule.epochs)
    options = parser.parse_args()
    run = options.run or Path("runs") / f"teacher-{options.dataset}"
    try:
        TeacherFit(options.dataset, options.data, run, Schedule(epochs=options.epochs)).fit()
    except (TrainingError, OSError) as error:
        print(f"teacher: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("teacher: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
