"""Several processes on one port."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from spikeserve.service.settings import Settings
from spikeserve.service.supervisor import Supervisor


def test_a_port_is_not_shared_with_another_service(bundle_folder: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            Supervisor(Settings(bundles=(bundle_folder,), workers=2, port=port))
