"""How a model's process has ended, in words."""

import signal

from kserve_v2_child.__main__ import UNUSABLE
from kserve_v2_child.runtime import UNCONNECTED

from kserve_v2.memory.limit import oom_kills

_MEANINGS = {
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGILL": "illegal instruction",
    "SIGFPE": "arithmetic error",
    "SIGABRT": "abort",
}


_OOM_KILLED = (
    "; the kernel has killed a process of this control group for lack of memory meanwhile: see its log, and oom_kill "
    "in memory.events"
)


def cause_of_death(status: int, oom_kills_before: int) -> str:
    """What is said of a process behind its name. `status`: as `Popen.returncode` has it. `oom_kills_before`: what
    `oom_kills` was when the process was started.
    """
    if status == UNUSABLE:
        return "could not be started by its interpreter: see what it has written to the server's stderr"
    if status == UNCONNECTED:
        return "has closed its connection to the server"
    if status >= 0:
        return f"exited with status {status}"
    number = -status
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"was killed by signal {number}"
    meaning = _MEANINGS.get(name)
    # Whoever has killed it: this says what is known, and no more.
    known = _OOM_KILLED if number == signal.SIGKILL and oom_kills() > oom_kills_before else ""
    return f"was killed by signal {number} ({name}{f', {meaning}' if meaning else ''}){known}"
