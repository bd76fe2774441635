"""Several processes on one port: who serves, who waits, and that all reload or none."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from spikeserve.service.processes.child import LONGEST_PAUSE_S, PING_LOOKS, Child
from spikeserve.service.processes.reload import Reload
from spikeserve.service.settings import Settings
from spikeserve.service.supervisor import Supervisor


class Process(Child):
    """One that is told things, and keeps them."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)
        self.told: list[str] = []

    def tell(self, order: str, detail: str = "") -> None:
        self.told.append(f"{order} {detail}".strip())


@pytest.fixture
def processes() -> list[Process]:
    return [Process(number) for number in range(3)]


def test_a_port_is_not_shared_with_another_service(bundle_folder: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            Supervisor(Settings(bundles=(bundle_folder,), workers=2, port=port))


def test_nobody_swaps_before_everybody_has_loaded(processes: list[Process]) -> None:
    reload = Reload(processes, [])
    for process in processes:
        assert all(other.told == ["prepare"] for other in processes)
        reload.heard(process, "prepared", "new")
    for process in processes:
        assert process.told == ["prepare", "commit"]
        assert not reload.done
        reload.heard(process, "committed", "")
    assert (reload.done, reload.refusal, reload.identity) == (True, "", "new")


def test_one_that_refuses_keeps_all_as_they_were(processes: list[Process]) -> None:
    reload = Reload(processes, [])
    reload.heard(processes[0], "prepared", "new")
    reload.heard(processes[1], "refused", "damaged")
    assert not reload.done, "the third still loads"
    reload.heard(processes[2], "prepared", "new")
    assert (reload.done, reload.refusal) == (True, "damaged")
    assert all(process.told == ["prepare", "abort"] for process in processes)


def test_bundles_that_change_while_they_are_read_are_refused(processes: list[Process]) -> None:
    reload = Reload(processes, [])
    for process, read in zip(processes, ("half", "half", "whole"), strict=True):
        reload.heard(process, "prepared", read)
    assert reload.done
    assert "changed" in reload.refusal
    assert all(process.told == ["prepare", "abort"] for process in processes)


def test_one_that_dies_of_loading_keeps_all_as_they_were(processes: list[Process]) -> None:
    reload = Reload(processes, [])
    reload.heard(processes[0], "prepared", "new")
    reload.lost(processes[1])
    reload.heard(processes[2], "prepared", "new")
    assert reload.done
    assert "ended" in reload.refusal
    assert processes[0].told == processes[2].told == ["prepare", "abort"]


def test_one_that_dies_of_swapping_is_not_waited_for(processes: list[Process]) -> None:
    reload = Reload(processes, [])
    for process in processes:
        reload.heard(process, "prepared", "new")
    reload.lost(processes[0])
    for process in processes[1:]:
        reload.heard(process, "committed", "")
    assert (reload.done, reload.refusal) == (True, "")


def test_nobody_serves_other_bundles_than_the_others(
    bundle_folder: Path, processes: list[Process], caplog: pytest.LogCaptureFixture
) -> None:
    """A process that comes back finds what lies on the disk, which nobody has asked to serve."""
    supervisor = Supervisor(Settings(bundles=(bundle_folder,), workers=3, port=0))
    supervisor._children = list(processes)
    for process, loaded in zip(processes, ("old", "old", "new"), strict=True):
        process.phase, process.identity = "loaded", loaded
    with supervisor._sockets:
        supervisor._proceed()
        assert [process.phase for process in processes] == ["serving", "serving", "leaving"]
        assert "other bundles" in caplog.text
        for process in processes[:2]:
            process.bury()
        processes[2].phase = "loaded"
        supervisor._proceed()  # nobody is left to be different from
        assert processes[2].served


def test_pauses_double_up_to_a_bound_until_a_process_lasts(processes: list[Process]) -> None:
    process = processes[0]
    pauses = [process.bury() for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    process.forgive()
    assert process.bury() == 1


def test_silence_is_counted_in_looks(processes: list[Process]) -> None:
    process = processes[0]
    process.serve()
    for _ in range(PING_LOOKS):
        process.look()
    assert process.told == ["serve", "ping"]
    for looks in range(1, 4):
        process.look()
        assert process.silent == looks
    process.answered()
    assert process.silent == 0
    assert process.told == ["serve", "ping"]


def test_who_loads_or_leaves_is_waited_for_so_long(processes: list[Process]) -> None:
    process = processes[0]
    process.phase = "loading"
    for looks in range(1, 4):
        process.look()
        assert process.overdue == looks
    process.leave("enough")
    assert process.overdue == 0
    process.look()
    assert process.overdue == 1


def test_who_asks_for_a_reload_while_all_stop_is_told_at_once(
    bundle_folder: Path, processes: list[Process]
) -> None:
    """While load balancers look away requests are still taken; one must not wait for the end."""
    supervisor = Supervisor(Settings(bundles=(bundle_folder,), workers=3, port=0))
    with supervisor._sockets:
        supervisor._obey(signal.SIGTERM)
        supervisor._heard(processes[0], "reload", "")
    assert processes[0].told == ["reloaded the service is shutting down"]
