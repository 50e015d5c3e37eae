"""Servers that are forked from a process which has imported what they need already: to import it is most of what the start
of a server costs, and the tests start hundreds. From the fork on, each is `python -m kserve_v2 …` as it would be otherwise:
its arguments, environment, working directory, streams, signals and `__main__`.

`python -m tests.forked_servers DESCRIPTOR` is that process: it forks whenever it is asked to over a Unix socket.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

_ROOT = Path(__file__).resolve().parents[1]
_IMPORTED = (
    "kserve_v2.cli",
    "kserve_v2.server",
    "kserve_v2_backends.eager.backend",
    "kserve_v2_backends.onnx.backend",
    "kserve_v2_backends.pytorch.backend",
    "onnxruntime",
    "torch",
    "uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
_MAX_REQUEST_BYTES = 1 << 18
# Variables that the system's loader reads when a program starts, and never again: a fork has what its parent had.
_OF_LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD")


class ForkedProcess:
    """A server; what tests need of `subprocess.Popen`, of which it is the twin."""

    def __init__(self, args: Sequence[str], pid: int, ended: socket.socket, stdout: IO[str]) -> None:
        self.args = list(args)
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = ended

    def __repr__(self) -> str:
        return f"<ForkedProcess {self.pid} {self.args}: {self.returncode}>"

    def poll(self) -> int | None:
        """Its exit status, or the negative number of the signal that has ended it; None while it runs."""
        if self.returncode is None:
            self._look(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; returns as `poll`. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._look(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> None:
        if select.select([self._ended], [], [], timeout)[0]:
            said = self._ended.recv(64)
            assert said, "the process that forks servers has died"
            self.returncode = int(said)
            self._ended.close()


def start(module: str, args: Sequence[str], stderr: IO[str], cwd: Path | None) -> ForkedProcess:
    """Start `python -m MODULE ARGS`. Its output is to be read, as with `subprocess.PIPE`."""
    ours, its = socket.socketpair()
    read, write = os.pipe()
    request = {
        "module": module,
        "args": list(args),
        "cwd": str(cwd or Path.cwd()),
        "environ": dict(os.environ),
    }
    with its:
        try:
            forking = _forking(tuple(map(os.environ.get, _OF_LOADER)))
            socket.send_fds(forking, [json.dumps(request).encode()], [write, stderr.fileno(), its.fileno()])
        finally:
            os.close(write)
    pid = ours.recv(64)
    assert pid, "the process that forks servers has died"
    return ForkedProcess([sys.executable, "-m", module, *args], int(pid), ours, os.fdopen(read))


@cache
def _forking(of_loader: tuple[str | None, ...]) -> socket.socket:
    """The process that forks where this process's environment says that to the loader, started when it is first needed.
    It ends when this one does.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-m", "tests.forked_servers", str(its.fileno())]
        process = subprocess.Popen(command, cwd=_ROOT, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --- in the process that forks ----------------------------------------------------------------------------------------


def _serve(asked: socket.socket) -> None:
    """Fork as asked until the other end is closed, and tell how each server has ended."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, socket.socket] = {}
    while True:
        readable = select.select([asked, woken], [], [])[0]
        if woken in readable:
            woken.recv(4096)
            _tell_ends(ends)
        if asked in readable:
            message, descriptors, _, _ = socket.recv_fds(asked, _MAX_REQUEST_BYTES, 3)
            if not message:
                return
            _fork(json.loads(message), descriptors, ends, [asked, woken, wake])


def _tell_ends(ends: dict[int, socket.socket]) -> None:
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        # Perhaps nobody wants to know any more.
        with ends.pop(pid) as ended, suppress(OSError):
            ended.send(b"%d" % os.waitstatus_to_exitcode(status))


def _fork(
    request: Mapping[str, Any],
    descriptors: Sequence[int],
    ends: dict[int, socket.socket],
    ours: Sequence[socket.socket],
) -> None:
    stdout, stderr, ended = descriptors
    pid = os.fork()
    if not pid:
        for each in (*ours, *ends.values()):
            each.close()
        os.close(ended)
        _become_server(request, stdout, stderr)
    os.close(stdout)
    os.close(stderr)
    ends[pid] = socket.socket(fileno=ended)
    ends[pid].send(b"%d" % pid)


def _become_server(request: Mapping[str, Any], stdout: int, stderr: int) -> NoReturn:
    """What is raised here ends the process, as it ends any program of Python."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, standard in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    found = set(_python_path())
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    sys.path[:] = [request["cwd"], *_python_path(), *(path for path in sys.path[1:] if path not in found)]
    sys.argv[1:] = request["args"]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        _end(end.code)
    _end(0)


def _end(status: int) -> NoReturn:
    """End as Python does, but do not take torch apart, which takes half a second of CPU."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


if __name__ == "__main__":
    for module in _IMPORTED:
        importlib.import_module(module)
    # What is there now is nobody's garbage: left alone, its memory is shared.
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
