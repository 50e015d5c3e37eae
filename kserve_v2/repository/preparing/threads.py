"""How many CPUs this process may use, and how they are divided among the instances of a model.

The number of CPUs of the machine says little inside a container: what counts is the smaller of the CPU
affinity and the quota of the control group. A quota of 2.5 CPUs counts as 2, so that full use never runs into
throttling.
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from kserve_v2.backend import ThreadBudget

ReadText = Callable[[str], str | None]
"""Text of the file at a path, or None where there is no such file."""

_MEMBERSHIP = "/proc/self/cgroup"
_V2_ROOT = PurePosixPath("/sys/fs/cgroup")
_V1_ROOTS = (PurePosixPath("/sys/fs/cgroup/cpu"), PurePosixPath("/sys/fs/cgroup/cpu,cpuacct"))


def cpu_budget() -> int:
    """CPUs that this process may keep busy: the smaller of affinity and control group quota, at least 1."""
    quota = cpu_quota(_read_text)
    affinity = _affinity()
    return affinity if quota is None else max(1, min(affinity, math.floor(quota)))


def divide(budget: int, instances: int) -> ThreadBudget:
    """What each of `instances` instances gets of `budget` CPUs: at least one thread each."""
    return ThreadBudget(intra_op=max(1, budget // max(1, instances)), inter_op=1)


def cpu_quota(read: ReadText) -> float | None:
    """The tightest quota of this process's control groups in CPUs, or None where there is none.

    Follows the kernel's documentation of cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`): a quota binds the
    group and all groups below it. Inside a container the path in /proc/self/cgroup may be that of the host,
    which is not mounted; the mounted root is then the container's own group. Looking from the path up to the
    root finds the quota either way.
    """
    quotas = [quota for directory in _v2_groups(read) if (quota := _v2_quota(read, directory)) is not None]
    quotas += [quota for directory in _v1_groups(read) if (quota := _v1_quota(read, directory)) is not None]
    return min(quotas, default=None)


def _v2_groups(read: ReadText) -> Iterator[PurePosixPath]:
    for controllers, group in _memberships(read):
        if controllers == "":
            yield from _upwards(_V2_ROOT, group)


def _v1_groups(read: ReadText) -> Iterator[PurePosixPath]:
    for controllers, group in _memberships(read):
        if "cpu" in controllers.split(","):
            for root in _V1_ROOTS:
                yield from _upwards(root, group)


def _memberships(read: ReadText) -> Iterator[tuple[str, str]]:
    """Controllers and path of each line `hierarchy:controllers:path`; version 2 has no controllers."""
    for line in (read(_MEMBERSHIP) or "").splitlines():
        match line.split(":", 2):
            case [_, controllers, group]:
                yield controllers, group


def _upwards(root: PurePosixPath, group: str) -> Iterator[PurePosixPath]:
    """The group's directory and those above it, `root` last. `..` is a group outside the mounted tree."""
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:depth])


def _v2_quota(read: ReadText, directory: PurePosixPath) -> float | None:
    match (read(str(directory / "cpu.max")) or "").split():
        case [quota, period]:
            return _cpus(quota, period)
        case _:
            return None


def _v1_quota(read: ReadText, directory: PurePosixPath) -> float | None:
    quota, period = read(str(directory / "cpu.cfs_quota_us")), read(str(directory / "cpu.cfs_period_us"))
    return _cpus(quota.strip(), period.strip()) if quota and period else None


def _cpus(quota_us: str, period_us: str) -> float | None:
    """Quota over period. `max` (version 2) and -1 (version 1) mean that there is no quota."""
    if not (quota_us.isdecimal() and period_us.isdecimal()) or int(period_us) == 0:
        return None
    return int(quota_us) / int(period_us)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows have neither affinity masks nor control groups


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
