"""Fashion-MNIST: 28 x 28 grey images of clothes.

Cite: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", 2017 (MIT licence).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from spikeserve.training.data.archives import Download, fetched
from spikeserve.training.data.dataset import Arrays, Dataset, Pixels
from spikeserve.training.errors import DataError

ADDRESS = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
MD5 = {
    "train_images": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train_labels": "25c81989df183df01b3e8a0aad5dffbe",
    "test_images": "bef4ecab320f06d8554ea6380940ec79",
    "test_labels": "bb300cfdad3c16e7a12a480ee83cd310",
}
LABELS = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
UNSIGNED_BYTES = 0x08


def read_idx(path: Path) -> Pixels:
    """A gzipped IDX file of unsigned bytes: zeros, type, rank, the extents, the values.

    Raises:
        DataError: not such a file.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        zeros, kind, rank = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{rank}I", data, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: not a gzipped IDX file: {error}") from error
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if zeros or kind != UNSIGNED_BYTES or values.size != math.prod(shape):
        raise DataError(f"{path}: not an IDX file of unsigned bytes")
    return values.reshape(shape)


def decode(folder: Path) -> Arrays | None:
    """The four IDX files; images gain a channel axis."""
    if not all((folder / name).exists() for name in FILES.values()):
        return None
    arrays = {name: read_idx(folder / file) for name, file in FILES.items()}
    return {name: a[..., None] if name.endswith("images") else a for name, a in arrays.items()}


def download(folder: Path) -> Path:
    """The four files, fetched into ``folder``."""
    for name, file in FILES.items():
        fetched([Download(ADDRESS + file, MD5[name])], folder)
    return folder


FASHION_MNIST = Dataset(
    name="fashion-mnist",
    title="Fashion-MNIST",
    citation="H. Xiao, K. Rasul, R. Vollgraf, 2017",
    labels=LABELS,
    sha256={
        "train_images": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "train_labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "test_images": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "test_labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
    decoders=(decode,),
    download=download,
)
