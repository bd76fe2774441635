from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.data import DATASETS
from tests.load.answers import World
from tests.load.servers import Service, served
from tests.programs import IMAGE_SHAPE

QUEUE = 100_000


@pytest.fixture(scope="session")
def tiny(bundle_folder: Path) -> World:
    images = np.random.default_rng(3).integers(0, 256, (4000, *IMAGE_SHAPE), np.uint8)
    return World(bundle_folder, images)


@pytest.fixture(scope="session")
def shipped() -> World:
    return World(DEFAULT_BUNDLE, DATASETS["cifar10"].test(Path("data")).images)


@pytest.fixture(scope="session")
def tiny_service(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with served(tiny.folder, folder, "--queue-timesteps", str(QUEUE), "--slots", "8") as service:
        yield service


@pytest.fixture(scope="session")
def shipped_service(shipped: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with served(shipped.folder, folder, "--queue-timesteps", str(QUEUE)) as service:
        yield service


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """``tiny``, or ``shipped`` with real images: the parameter says which."""
    found: World = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def service(request: pytest.FixtureRequest, world: World) -> Service:
    """A shared service of that world, with room for everybody."""
    name = "tiny_service" if world.folder.name == "tiny" else "shipped_service"
    found: Service = request.getfixturevalue(name)
    return found
