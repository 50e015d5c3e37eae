"""How a model's process has ended, in words."""

import signal

from kserve_v2_child.__main__ import UNUSABLE
from kserve_v2_child.runtime import UNCONNECTED

_MEANINGS = {
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGILL": "illegal instruction",
    "SIGFPE": "arithmetic error",
    "SIGABRT": "abort",
}


def cause_of_death(status: int) -> str:
    """What is said of a process behind its name. `status`: as `Popen.returncode` has it."""
    if status == UNUSABLE:
        return "could not be started by its interpreter: see what it has written to the server's stderr"
    if status == UNCONNECTED:
        return "has closed its connection to the server"
    if status >= 0:
        return f"exited with status {status}"
    number = -status
    if number == signal.SIGKILL:
        return "was killed by signal 9, out of memory?"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"was killed by signal {number}"
    meaning = _MEANINGS.get(name)
    return f"was killed by signal {number} ({name}{f', {meaning}' if meaning else ''})"
