"""The image's health check: 0 for 2xx, 1 with a reason for everything else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from spikeserve.deploy import healthcheck


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        monkeypatch.setenv("SPIKESERVE_PORT", str(server.server_port))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_healthy() -> None:
    assert healthcheck.main("/livez") == 0


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert healthcheck.main("/livez") == 0


def test_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main("/readyz") == 1
    assert "503" in capsys.readouterr().err


def test_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPIKESERVE_PORT", "9")
    assert healthcheck.main("/livez") == 1
    assert "127.0.0.1:9/livez" in capsys.readouterr().err


def test_on_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "socket")
    monkeypatch.setenv("SPIKESERVE_UDS", path)
    assert healthcheck.main("/livez") == 1
    assert path in capsys.readouterr().err
    with UnixStreamServer(path, Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        assert healthcheck.main("/livez") == 0
        server.shutdown()
        thread.join()
