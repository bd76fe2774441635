"""Data sets as verified uint8 arrays, and batches of them augmented on the device.

Published sets have names here; those made of folders of pictures are known by theirs, or by path.
"""

from __future__ import annotations

from pathlib import Path

from spikeserve.training.data.cifar import CIFAR10, CIFAR100
from spikeserve.training.data.dataset import Dataset, Split, Stored, held_out
from spikeserve.training.data.fashion_mnist import FASHION_MNIST
from spikeserve.training.data.own import PREFIX, OwnSet, is_prepared, own_set
from spikeserve.training.errors import DataError

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (CIFAR10, CIFAR100, FASHION_MNIST)
}


def named(name: str, root: Path) -> tuple[Stored, Path]:
    """The data set that a recipe names, and the folder that its own lies in.

    Args:
        name: of a published set, of one prepared under ``root``, or the path of one.

    Raises:
        DataError: there is none.
    """
    if name in DATASETS:
        return DATASETS[name], root
    for folder in (root / name, Path(name)):
        if is_prepared(folder):
            return own_set(folder.resolve()), folder.resolve().parent
    prepared = sorted(path.name for path in root.glob("*") if is_prepared(path))
    raise DataError(
        f"no data set {name!r}: it is none of {', '.join(sorted(DATASETS))}"
        + (f", none prepared in {root} ({', '.join(prepared)})" if prepared else "")
        + f"; prepare one with: spiketrain data folder PICTURES --name NAME --data {root}"
    )


def titled(title: str, root: Path = Path("data")) -> Stored:
    """The data set of that title, as bundles name it; one made of a folder lies in ``root``.

    Raises:
        DataError: there is none.
    """
    for dataset in DATASETS.values():
        if dataset.title == title:
            return dataset
    if title.startswith(PREFIX):
        return named(title.removeprefix(PREFIX), root)[0]
    raise DataError(f"unknown data set {title!r}")


__all__ = [
    "DATASETS",
    "Dataset",
    "OwnSet",
    "Split",
    "Stored",
    "held_out",
    "named",
    "titled",
]
