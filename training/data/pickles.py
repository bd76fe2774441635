"""A safe reader of the official archives' batches, which are Python 2 pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.training.errors import DataError

# Everything a batch of arrays needs, and nothing that could run code.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(f"refusing to unpickle {module}.{name}")
        if name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct  # its name since numpy 2

            return _reconstruct
        return getattr(np, name)


def load_batch(path: Path, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels ``[N, 3072]`` (channel planes) and labels ``[N]``, stored under the key ``labels``.

    Raises:
        DataError: the file is no such batch, or tries to load anything but arrays.
    """
    try:
        with path.open("rb") as file:
            batch = _ArrayUnpickler(file, encoding="bytes").load()
        return np.asarray(batch[b"data"], np.uint8), np.asarray(batch[labels.encode()], np.uint8)
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a CIFAR batch: {error}") from error
