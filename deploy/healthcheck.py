"""Exit 0 if the service in this container answers 2xx to the path given, ``/livez`` say."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException

TIMEOUT_SECONDS = 2


class UnixConnection(HTTPConnection):
    """To a unix socket, whose path is the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def main(path: str) -> int:
    """Ask the service on this host, past any proxy; print why it is unhealthy, if it is."""
    file = os.environ.get("SPIKESERVE_UDS")
    where = file or f"127.0.0.1:{os.environ.get('SPIKESERVE_PORT', '8000')}"
    kind = UnixConnection if file else HTTPConnection
    try:
        with closing(kind(where, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("GET", path, headers={"Host": "localhost"})
            response = connection.getresponse()
        if 200 <= response.status < 300:
            return 0
        why = f"{response.status} {response.reason}"
    except (OSError, HTTPException) as error:
        why = str(error)
    print(f"http://{where}{path}: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
