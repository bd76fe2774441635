"""Signals while there is nothing to finish yet: from the first line of code until it serves.

PID 1 has no default actions, so in a container SIGTERM would be lost while bundles load.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

REMEMBERED = {signal.SIGHUP}
"""Blocked until somebody can reload; the kernel keeps it so long."""


@contextmanager
def before_serving() -> Iterator[None]:
    """SIGTERM and SIGINT end this process at once, with exit status 0; SIGHUP waits."""
    handlers = {sig: signal.signal(sig, leave_at_once) for sig in (signal.SIGTERM, signal.SIGINT)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, REMEMBERED)
    try:
        yield
    finally:
        for sig, handler in handlers.items():
            signal.signal(sig, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def leave_at_once(*_: object) -> None:
    """Nobody was let in, so nobody is owed anything; clean-ups could wait for what loads."""
    os.write(2, b"spikeserve: stopped before it served\n")
    os._exit(0)


def remembered() -> None:
    """From here on SIGHUP is handled, one that came before as well."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REMEMBERED)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """What a process starts with is blocked in it too, until it says otherwise.

    A signal to the whole group (Ctrl-C, a terminal that is gone) would end it by default.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def supervised() -> None:
    """In a process of a supervisor, which alone passes signals on."""
    for sig in (signal.SIGHUP, signal.SIGINT):
        signal.signal(sig, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGINT})
