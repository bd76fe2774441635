"""Exit 0 if the service in this container answers 2xx to the path given, ``/livez`` say."""

from __future__ import annotations

import os
import sys
import urllib.request

TIMEOUT_SECONDS = 2


def main(path: str) -> int:
    """Ask the service on this host; print why it is unhealthy, if it is."""
    url = f"http://127.0.0.1:{os.environ.get('SPIKESERVE_PORT', '8000')}{path}"
    # Docker hands its own proxy to containers; this request must not leave this one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return 0
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
