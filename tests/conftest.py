from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings
from tests.programs import IMAGE_SHAPE, save_tiny_bundle


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture(scope="module")
def client(bundle_folder: Path) -> Iterator[TestClient]:
    settings = Settings(bundles=(bundle_folder,), slots=4, max_body_bytes=1 << 20)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def images() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """``[64, H, W, C]`` random images of the tiny bundle's size."""
    return np.random.default_rng(1).integers(0, 256, (64, *IMAGE_SHAPE), np.uint8)


def encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def png(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return encoded(images[0])
