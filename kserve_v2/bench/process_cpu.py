"""CPU time of processes on this machine, by the kernel's account."""

import os
from pathlib import Path


def family_cpu_seconds(pid: int) -> float | None:
    """CPU time of a process and those below it, user and system; None where there is no /proc, or no such process."""
    ticks = family_ticks(pid)
    return sum(ticks.values()) / os.sysconf("SC_CLK_TCK") if ticks else None


def family_ticks(pid: int) -> dict[int, int]:
    """CPU time of a process and of those below it, in clock ticks, by their ids; none if there is no such process."""
    seen = _process_times()
    family = {pid} & seen.keys()
    while below := {each for each, (parent, _) in seen.items() if parent in family} - family:
        family |= below
    return {each: seen[each][1] for each in family}


def _process_times() -> dict[int, tuple[int, int]]:
    """Of each process there is, by its id: its parent's, and its CPU time in clock ticks."""
    seen: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The second field, the command in brackets, may hold spaces; the parent, utime and stime are 4, 14 and 15.
        fields = text.rpartition(")")[2].split()
        seen[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    return seen
