"""Where the service listens: names, both families, and sockets in the file system."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from spikeserve.service.processes.listeners import KNOWN, listeners
from spikeserve.service.settings import Settings


def at(path: Path) -> Settings:
    return Settings(uds=path)


def test_a_name_is_all_of_its_addresses_on_one_port() -> None:
    with listeners(Settings(host="localhost", port=0)) as sockets:
        names = [one.getsockname()[:2] for one in sockets]
        assert len({port for _, port in names}) == 1
        assert {host for host, _ in names} <= {"127.0.0.1", "::1"}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_two_colons_are_both_families() -> None:
    with listeners(Settings(host="::", port=0)) as (one,):
        one.listen()
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, one.getsockname()[1])).close()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1 port"), listeners(Settings(host="192.0.2.1")):
        pass


def test_whoever_connects_before_anybody_accepts_is_refused(tmp_path: Path) -> None:
    for settings in (at(tmp_path / "socket"), Settings(port=0)):
        with (
            listeners(settings) as (one,),
            socket.socket(one.family) as client,
            pytest.raises(ConnectionRefusedError),
        ):
            client.connect(one.getsockname())


def test_a_variable_set_to_nothing_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESERVE_UDS", "")
    assert Settings().uds is None


def test_a_socket_file_goes_with_its_service(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listeners(at(path)):
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o666
    assert not path.exists()


def test_what_a_dead_service_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listeners(at(path)) as (one,), socket.socket(socket.AF_UNIX) as client:
        one.listen()
        client.connect(str(path))


def test_what_another_service_has_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(OSError, match=f"in use: {path}"), listeners(at(path)):
            pass
    assert path.is_socket()


@pytest.mark.skipif(not KNOWN.exists(), reason="only Linux tells who has a socket")
def test_what_another_service_has_not_opened_yet_stays(tmp_path: Path) -> None:
    """It still loads; afterwards nobody would find it."""
    path = tmp_path / "socket"
    with listeners(at(path)) as (one,):
        with pytest.raises(OSError, match="in use"), listeners(at(path)):
            pass
        one.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_successor_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listeners(at(path)), socket.socket(socket.AF_UNIX) as successor:
        path.unlink()
        successor.bind(str(path))
    assert path.is_socket()


def test_other_files_are_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("photographs")
    with pytest.raises(OSError, match="precious"), listeners(at(path)):
        pass
    assert path.read_text() == "photographs"


def test_a_missing_folder_and_a_long_path_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "socket", tmp_path / ("x" * 200)):
        with pytest.raises(OSError, match=path.name), listeners(at(path)):
            pass
