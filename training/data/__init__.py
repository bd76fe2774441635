"""Data sets as verified uint8 arrays, and batches of them augmented on the device."""

from __future__ import annotations

from spikeserve.training.data.cifar import CIFAR10, CIFAR100
from spikeserve.training.data.dataset import Dataset, Split, held_out
from spikeserve.training.data.fashion_mnist import FASHION_MNIST
from spikeserve.training.errors import DataError

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (CIFAR10, CIFAR100, FASHION_MNIST)
}


def titled(title: str) -> Dataset:
    """The data set of that title, as bundles name it.

    Raises:
        DataError: there is none.
    """
    for dataset in DATASETS.values():
        if dataset.title == title:
            return dataset
    raise DataError(f"unknown data set {title!r}")


__all__ = ["DATASETS", "Dataset", "Split", "held_out", "titled"]
