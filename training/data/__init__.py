"""Data sets as verified uint8 arrays, and batches of them augmented on the device."""

from __future__ import annotations

from training.data.cifar import CIFAR10, CIFAR100
from training.data.dataset import Dataset, Split, held_out
from training.data.fashion_mnist import FASHION_MNIST

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (CIFAR10, CIFAR100, FASHION_MNIST)
}

__all__ = ["DATASETS", "Dataset", "Split", "held_out"]
