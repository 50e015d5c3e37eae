"""Starting processes, models' and the server's own, from one thread that lives as long as the server: Linux ends a
process with the *thread* that has started it, if it has asked to be ended with its parent.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import kserve_v2_child

_MAIN = Path(kserve_v2_child.__file__).with_name("__main__.py")
_GUARDIAN = _MAIN.with_name("guardian.py")


class Spawner:
    """Starts processes, one after the other."""

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[
            tuple[Sequence[str], Mapping[str, str] | None, Sequence[int], _Started]
        ]
        self._wanted = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._telling = threading.Lock()
        self._guardian: subprocess.Popen[bytes] | None = None

    def spawn(
        self, python: Path | None, environment: Mapping[str, str] | None, descriptors: Sequence[int]
    ) -> "subprocess.Popen[bytes]":
        """A model's process, which inherits `descriptors`. `python`: its interpreter, None for the server's own.
        `environment`: all of its variables, None for the server's. Raises OSError.
        """
        return self.start((str(python or sys.executable), str(_MAIN)), environment, descriptors)

    def start(
        self, program: Sequence[str], environment: Mapping[str, str] | None, descriptors: Sequence[int]
    ) -> "subprocess.Popen[bytes]":
        """As `spawn`, of any program, which is told `--fds` and `--parent`: the numbers of the descriptors, and that of
        this process.
        """
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model-processes", daemon=True)
                self._thread.start()
        command = [
            *program, "--fds", ",".join(map(str, descriptors)), "--parent", str(os.getpid()),
        ]  # fmt: skip
        started: _Started = Future()
        self._wanted.put((command, environment, descriptors, started))
        return started.result()

    def ended(self, process: int) -> None:
        """A process that was started here is gone, with all of its group."""
        self._tell_guardian(f"-{process}")

    def _tell_guardian(self, line: str) -> None:
        guardian = self._guardian
        if guardian is not None and guardian.stdin is not None:
            # If somebody has killed it, models are still ended by themselves.
            with self._telling, suppress(OSError, ValueError):
                guardian.stdin.write(f"{line}\n".encode())
                guardian.stdin.flush()

    def _run(self) -> None:
        with suppress(OSError):
            self._guardian = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", str(_GUARDIAN)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        while True:
            command, environment, descriptors, started = self._wanted.get()
            try:
                process = subprocess.Popen(  # noqa: S603 - the operator's interpreter, and our own file
                    command,
                    stdin=subprocess.DEVNULL,
                    env=environment,
                    pass_fds=descriptors,
                    # What the model starts is ended with it, and a terminal's Ctrl-C is for the server alone.
                    process_group=0,
                )
                self._tell_guardian(f"+{process.pid}")
                started.set_result(process)
            except BaseException as error:  # noqa: BLE001 - raised where it was wanted
                started.set_exception(error)
            del started


_Started = Future["subprocess.Popen[bytes]"]

SPAWNER = Spawner()
"""The one of this process."""
