"""The sockets that several processes share, and the one in the file system."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spikeserve.service.settings import Settings

ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
EVERYBODY = 0o666
"""On a unix socket; its folder's permissions say who gets there."""
KNOWN = Path("/proc/net/unix")
"""Every unix socket that is bound, on Linux."""


@contextmanager
def listeners(settings: Settings) -> Iterator[list[socket.socket]]:
    """Bound, not listening: until somebody accepts, clients are refused instead of waiting.

    Raises:
        OSError: somebody listens there, or nobody may.
    """
    sockets = [unix_socket(settings.uds)] if settings.uds else tcp_sockets(settings)
    file = _identity(settings.uds) if settings.uds else None
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()
        if settings.uds and _identity(settings.uds) == file:  # not another service's by now
            settings.uds.unlink(missing_ok=True)


def addresses(settings: Settings, sockets: Sequence[socket.socket]) -> str:
    """Where clients find them, for people."""
    if settings.uds:
        return str(settings.uds)
    found = (one.getsockname()[:2] for one in sockets)
    return ", ".join(
        f"http://{f'[{host}]' if ':' in host else host}:{port}" for host, port in found
    )


def tcp_sockets(settings: Settings) -> list[socket.socket]:
    """One for each address that the host has here; ``::`` is every address of both families."""
    try:
        found = socket.getaddrinfo(
            settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise OSError(error.errno, f"{error.strerror}: {settings.host}") from error
    wanted = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    sockets: list[socket.socket] = []
    port = settings.port
    for number, (family, address) in enumerate(wanted):
        both = address[0] == "::" and len(wanted) == 1
        try:
            sockets.append(_bound(family, (address[0], port, *address[2:]), both))
        except OSError as error:
            last = number == len(wanted) - 1
            if error.errno in ABSENT and (sockets or not last):
                continue  # a name may have an address that this machine has not
            for one in sockets:
                one.close()
            where = f"{settings.host} port {settings.port}"
            raise OSError(error.errno, f"{error.strerror}: {where}") from error
        port = sockets[0].getsockname()[1]  # 0 was any; the others take the same
    return sockets


def _bound(family: int, address: tuple[object, ...], both: bool) -> socket.socket:
    one = socket.socket(family)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def unix_socket(path: Path) -> socket.socket:
    """A socket in the file system; one that a dead service left is replaced."""
    one = socket.socket(socket.AF_UNIX)
    try:
        if _abandoned(path):
            path.unlink()
        one.bind(str(path))
        path.chmod(EVERYBODY)
    except OSError as error:
        one.close()
        said = f"{error.strerror or error}: {path}"  # one of Python's own has no number
        raise (OSError(error.errno, said) if error.errno else OSError(said)) from error
    return one


def _abandoned(path: Path) -> bool:
    """A socket that nobody listens on, or is about to."""
    if _identity(path) is None:
        return False
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return not _held(path)
        except OSError:  # too busy to answer, or not ours to ask
            return False
    return False


def _held(path: Path) -> bool:
    """Somebody has it and does not listen yet: a service that still loads. By its whole path,
    since the short one of another folder would look the same.
    """
    try:
        sockets = KNOWN.read_bytes().splitlines()
    except OSError:
        return False
    name = os.fsencode(path)
    return path.is_absolute() and any(one.split(maxsplit=7)[7:] == [name] for one in sockets)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None
