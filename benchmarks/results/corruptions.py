"""Five corruptions of CIFAR-10-C, severities 1 to 5 as its authors chose them for 32 x 32 pixels.

D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019. Images are uint8 ``[N, H, W, 3]``.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

SEVERITIES = range(1, 6)
NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)  # standard deviation, of 1
BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)  # standard deviation, pixels
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # factor
PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)  # share of the width that is kept
JPEG = (80, 65, 58, 50, 40)  # quality


def gaussian_noise(images: Pixels, severity: int) -> Pixels:
    noise = np.random.default_rng(severity).normal(scale=NOISE[severity - 1], size=images.shape)
    return _pixels(images / 255 + noise)


def gaussian_blur(images: Pixels, severity: int) -> Pixels:
    sigma = BLUR[severity - 1]
    return _pixels(gaussian_filter(images / 255, (0, sigma, sigma, 0), mode="nearest"))


def contrast(images: Pixels, severity: int) -> Pixels:
    means = images.mean(axis=(1, 2), keepdims=True) / 255
    return _pixels((images / 255 - means) * CONTRAST[severity - 1] + means)


def pixelate(images: Pixels, severity: int) -> Pixels:
    height, width = images.shape[1:3]
    share = PIXELATE[severity - 1]
    small = (int(width * share), int(height * share))
    box = Image.Resampling.BOX
    resized = [
        Image.fromarray(image).resize(small, box).resize((width, height), box) for image in images
    ]
    return np.stack([np.asarray(image) for image in resized])


def jpeg(images: Pixels, severity: int) -> Pixels:
    def compressed(image: Pixels) -> Pixels:
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=JPEG[severity - 1])
        with Image.open(file) as decoded:
            return np.asarray(decoded)

    return np.stack([compressed(image) for image in images])


CORRUPTIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "Gaussian noise": gaussian_noise,
    "Gaussian blur": gaussian_blur,
    "contrast": contrast,
    "pixelate": pixelate,
    "JPEG": jpeg,
}


def _pixels(values: Floats) -> Pixels:
    return (values.clip(0, 1) * 255).astype(np.uint8)
