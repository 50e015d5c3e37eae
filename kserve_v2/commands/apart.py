"""Commands that run models' code, in a process of their own: that code may end its process, by intent or by a crash,
and nobody would say so. The model that is looked at when that happens has an error, and the others are looked at again.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from kserve_v2.checking.watch import Watch, looked_at
from kserve_v2.commands.command import CommandError
from kserve_v2.commands.signals import leave_on_sigterm

# SIGINT comes to all processes of a terminal; while modules are imported it ends this one without a traceback. Modules
# are looked for where this process looks for them.
_CODE = """\
import signal
handler = signal.getsignal(signal.SIGINT)
if handler is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
import json, sys
given = json.loads(sys.argv.pop(1))
sys.path[:] = given["path"]
from kserve_v2.cli import main
from kserve_v2.commands import apart
signal.signal(signal.SIGINT, handler)
raise SystemExit(apart.work(given, main))
"""

_LOOK_EVERY_S = 0.25


class Process:
    """What this process is part of. `watch`: who is told what it does."""

    watch = Watch()


def run_apart(argv: Sequence[str], limit_s: float) -> int:
    """Run a command line and return its exit status. Raises CommandError if the process ends without one, but for a
    model that it was looking at, as is one that takes longer than `limit_s`.
    """
    leave_on_sigterm()
    ended: dict[str, str] = {}
    with TemporaryDirectory(prefix="kserve-v2-") as folder:
        looking, result = Path(folder, "looking"), Path(folder, "result")
        while True:
            given: dict[str, object] = {"looking": str(looking), "result": str(result), "ended": ended}
            looking.unlink(missing_ok=True)
            status = _run(argv, given, looking, limit_s)
            with suppress(OSError, ValueError):
                # What happens at the end of the interpreter is the model's, too.
                return int(result.read_text())
            name = looked_at(looking)
            if status is None:
                ended[name] = (
                    f"its code was still running after {limit_s:g} s, and was ended: it hangs when it is imported, or "
                    "needs more time, which --model-timeout gives"
                )
                continue
            how = _how(status)
            if not name or name in ended:
                raise CommandError(f"the process in which models are looked at has ended, with {how}")
            ended[name] = f"its code has ended the process in which it was looked at, with {how}"


def work(given: dict[str, object], main: Callable[[Sequence[str]], int]) -> int:
    """Run the command line of this process, for the one that waits for it."""
    ended = given["ended"]
    Process.watch = Watch(Path(str(given["looking"])), ended if isinstance(ended, dict) else {})
    status = main(sys.argv[1:])
    Path(str(given["result"])).write_text(str(status))
    return status


def _run(argv: Sequence[str], given: dict[str, object], looking: Path, limit_s: float) -> int | None:
    """The exit status of one process; None if it was ended because it has looked at one model for too long."""
    options = [f"-W{option}" for option in sys.warnoptions]
    told = json.dumps({**given, "path": sys.path})
    process = subprocess.Popen([sys.executable, "-P", *options, "-c", _CODE, told, *argv])  # noqa: S603 - ourselves
    try:
        return _wait(process, looking, limit_s)
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", looking: Path, limit_s: float) -> int | None:
    name, since_s = "", monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_EVERY_S)
        before, name = name, looked_at(looking)
        if not name or name != before:
            since_s = monotonic()
        elif monotonic() - since_s > limit_s:
            return None


def _how(status: int) -> str:
    """The end of a process, for people."""
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
        return f"signal {name}{', as if memory has run out' if name == 'SIGKILL' else ''}"
    return f"signal {-status}"
