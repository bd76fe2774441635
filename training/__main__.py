"""``spiketrain``, also as ``python -m spikeserve.training``: says so where torch is missing."""

from __future__ import annotations

import sys

TRAIN_EXTRA = ("torch", "onnx")


def main() -> int:
    try:
        from spikeserve.training import cli
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_EXTRA:
            raise
        print(
            f"spiketrain: training needs {error.name}, which serving does without: "
            "pip install 'spikeserve[train]'",
            file=sys.stderr,
        )
        return 1
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
