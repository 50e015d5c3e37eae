"""How many processes a server has."""

import sys

from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.settings.options import AUTO
from kserve_v2.settings.settings import Settings
from kserve_v2.startup import StartupError

_MOST_BY_ITSELF = 16


def process_count(settings: Settings) -> int:
    """How many there are to be, the home among them. Raises StartupError where there can be no more than one."""
    possible = sys.platform != "win32"
    if settings.processes == AUTO:
        return chosen(cpu_budget()) if possible else 1
    count = int(settings.processes)
    if count > 1 and not possible:
        raise StartupError(
            f"--processes {count}: connections cannot be handed to other processes on Windows; expected 1"
        )
    return count


def chosen(cpus: int) -> int:
    """What `auto` stands for: one of four CPUs is left to the threads of models."""
    return max(1, min(cpus - -(-cpus // 4), _MOST_BY_ITSELF))


def suggested(count: int, cpus: int) -> int | None:
    """How many there should be where `count` are too busy; None if there are no CPUs for more."""
    return max(chosen(cpus), count + 1) if count < cpus else None
