"""How many cores there are to compute on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
CONTROLLER = "cpu"


def usable_cores() -> int:
    """Cores this process may use: those it may run on, within the quota of its container."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    quota = min(map(_quota, _groups()), default=math.inf)
    return max(1, min(cores, math.ceil(quota))) if quota < math.inf else cores


def _groups() -> Iterator[Path]:
    """Folders of the control groups that this process is in and of all around them, in either
    version: any of them may have a quota.

    Inside a container the path may be the host's and not be there; its own group is mounted as the
    hierarchy's root then.
    """
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in ("0::/", f"1:{CONTROLLER}:/", *lines):
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        if controllers and CONTROLLER not in controllers.split(","):
            continue
        own = Path(path.strip("/"))
        places = (controllers, CONTROLLER) if controllers else ("", "unified")
        for place in places:
            for group in (own, *own.parents):
                yield GROUPS / place / group


def _quota(group: Path) -> float:
    """Cores' worth of time that a group may use; infinite where it has no limit."""
    try:
        quota, period = _time(group)
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such files, or "max": no limit
        return math.inf
    return cores if cores > 0 else math.inf  # -1 in version 1: no limit


def _time(group: Path) -> list[str]:
    """Quota and period, as version 2 has them or version 1."""
    try:
        return (group / "cpu.max").read_text().split()
    except FileNotFoundError:
        return [(group / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period")]
