"""A CPU of its own for a load generator that never sleeps, and the others for what it loads.

Otherwise a high quantile of the latency is the scheduler's: a process that is woken may be put on the CPU where the
generator spins, and waits there for some milliseconds; and so it does wherever another program runs just then.
"""

import os
from contextlib import suppress
from pathlib import Path

from kserve_v2.bench.process_cpu import family_ticks


def generators_cpu() -> int | None:
    """The last of the CPUs that this process may use; None if there is one, or where nobody can say."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    return max(cpus) if len(cpus) > 1 else None


def set_apart(pid: int) -> None:
    """Keep a process and those below it, all their threads, off the generator's CPU, and have them run before all other
    programs where this user may say so. What they start later, too.
    """
    cpu = generators_cpu()
    if cpu is None:
        return
    for each in family_ticks(pid):
        for thread in Path(f"/proc/{each}/task").iterdir():
            os.sched_setaffinity(int(thread.name), os.sched_getaffinity(0) - {cpu})
            with suppress(PermissionError):
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))
