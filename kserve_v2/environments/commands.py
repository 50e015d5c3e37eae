"""Running an installer: what it says goes to the log, line by line, and it ends with the server, however that ends."""

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from kserve_v2.errors import InvalidArgumentError, describe, without_directories

logger = logging.getLogger(__name__)

# Of what an installer says, at most so many lines make the error of a load.
_SAID_LINES = 12
_LINE_CHARACTERS = 500
# Has the kernel end the process when the thread that has started it ends, and so when the server is killed; then
# becomes the installer. Done by an interpreter of its own, because nothing may run between fork and exec in a process
# that has threads.
_DIE_WITH_SERVER = """\
import ctypes, os, signal, sys
server, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != server:
    sys.exit("the server has ended")
try:
    os.execv(command[0], command)
except OSError as error:
    sys.exit(f"{os.path.basename(command[0])} does not run: {error.strerror}")
"""


def run(
    command: Sequence[str],
    what: str,
    environ: Mapping[str, str],
    directory: Path,
    lock: BinaryIO | None = None,
) -> None:
    """Run a program and wait for it. `what`: how the log and errors call it. `lock`: a file whose lock it holds, too,
    as long as it runs.

    Raises InvalidArgumentError if it fails, with the last lines that it has said.
    """
    mine = [sys.executable, "-I", "-S", "-c", _DIE_WITH_SERVER, str(os.getpid()), *command]
    said: deque[str] = deque(maxlen=_SAID_LINES)
    try:
        with subprocess.Popen(
            mine,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=directory,
            pass_fds=() if lock is None else (lock.fileno(),),
            encoding="utf-8",
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                shown = line.rstrip()[:_LINE_CHARACTERS]
                if shown:
                    said.append(shown)
                    logger.info("%s: %s", what, shown)
    except OSError as error:
        raise InvalidArgumentError(f"{what} does not run: {describe(error)}") from error
    if process.returncode:
        raise InvalidArgumentError(f"{what} has failed: {_reason(said, process.returncode)}")


def _reason(said: Sequence[str], status: int) -> str:
    """What a program has said last, from the first of these lines that calls itself an error on."""
    lines = [line for line in said if not line.startswith("[notice]")]
    first = next((index for index, line in enumerate(lines) if _is_error(line)), 0)
    text = "\n".join(map(without_directories, lines[first:]))
    return text or (f"it was ended by signal {-status}" if status < 0 else f"it ended with status {status}")


def _is_error(line: str) -> bool:
    """As pip and uv begin them."""
    return line.lstrip().lower().startswith(("error", "×", "x no solution"))
