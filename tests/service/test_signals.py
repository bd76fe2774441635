"""Signals before a process serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from spikeserve.service.processes.signals import before_serving, leave_at_once

LOADING = """
import time
from spikeserve.service.processes.signals import before_serving
with before_serving():
    print("loading", flush=True)
    time.sleep(60)
"""
FIRST = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
NAMESPACES = subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_what_loads_is_ended_at_once(sig: signal.Signals) -> None:
    command = [sys.executable, "-c", LOADING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGHUP)  # waits until somebody can reload
        process.send_signal(sig)
        assert process.wait(60) == 0


@pytest.mark.skipif(not NAMESPACES, reason="no namespaces for users here")
def test_also_as_the_first_process_of_a_container() -> None:
    """It has no default actions, so what it does not handle is lost."""
    command = [*FIRST, sys.executable, "-c", LOADING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            (first,) = children.read().split()
        os.kill(int(first), signal.SIGTERM)
        assert process.wait(60) == 0


def test_whoever_calls_gets_its_own_handlers_back() -> None:
    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT)]
        return *handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ())

    before = state()
    with before_serving():
        assert signal.getsignal(signal.SIGTERM) is leave_at_once
    assert state() == before
