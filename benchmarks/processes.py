"""Child processes: the server and the yardsticks, started on free ports, and always ended."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kserve_v2.bench.process_cpu import family_cpu_seconds, family_ticks

TRITONSERVER = Path(__file__).parent.parent / "tools" / "tritonserver.py"
"""Installs and runs the real one."""

_URL_LINE = re.compile(r"^(REST|gRPC) +(\S+)$")
_START_SECONDS = 300
_POLL_SECONDS = 0.1
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Child:
    """A process that answers. `urls`: `REST` to http://host:port, `gRPC` to host:port."""

    pid: int
    urls: dict[str, str]

    def cpu_seconds(self) -> float | None:
        """CPU time of the process and those below it, user and system, by the kernel's account; None where there is no
        /proc.
        """
        return family_cpu_seconds(self.pid)

    def memory_bytes(self) -> int:
        """Resident memory of the process and those below it, by the kernel's account: what they share counts once,
        files that they map count in each. Of mapped files the proportional share would change with every other program
        on the machine that starts or ends.
        """
        return sum(_memory_bytes(pid) for pid in family_ticks(self.pid))

    def connect(self, timeout_s: float | None = None) -> http.client.HTTPConnection:
        """A connection for requests over REST."""
        return http.client.HTTPConnection(self.urls["REST"].removeprefix("http://"), timeout=timeout_s)


def post(
    connection: http.client.HTTPConnection, path: str, body: object = None, expected: int = 200
) -> bytes:
    """What is answered. `body`: becomes JSON. Raises RuntimeError for another status."""
    connection.request("POST", path, None if body is None else json.dumps(body))
    response = connection.getresponse()
    content = response.read()
    if response.status != expected:
        raise RuntimeError(f"{path}: {response.status}: {content.decode(errors='replace')}")
    return content


def _memory_bytes(pid: int) -> int:
    """Of one process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        shares = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    sizes = re.findall(r"^RssFile:\s+(\d+) kB", status, re.MULTILINE)
    sizes += re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", shares, re.MULTILINE)
    return sum(map(int, sizes)) * 1024


@contextmanager
def serve(
    repository: Path,
    models: Sequence[str],
    log_path: Path,
    python: str = sys.executable,
    more_flags: Sequence[str] = (),
) -> Iterator[Child]:
    """The server under test, with `models` of `repository` loaded, until the end of the block.

    `python`: the interpreter, and with it the version, that serves. `more_flags`: of the server.
    """
    # Without -P, `-m` would take the version in the current directory, whatever the interpreter.
    interpreter = (python, "-P")
    flags = [
        "--model-repository",
        str(repository),
        "--model-control-mode",
        "explicit",
        "--allow-metrics=false",
    ]
    flags += ["--http-port", "0", "--grpc-port", "0", *(f"--load-model={name}" for name in models)]
    flags += more_flags
    with child(["kserve_v2", "serve", *flags], {"REST", "gRPC"}, log_path, interpreter) as server:
        yield server


@contextmanager
def child(
    module: Sequence[str], wanted: set[str], log_path: Path, interpreter: Sequence[str] = (sys.executable,)
) -> Iterator[Child]:
    """Run `python -m module…` until the end of the block. It tells the `wanted` URLs on its standard output.

    Raises RuntimeError with its log if it ends, or stays silent, instead.
    """
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [*interpreter, "-m", *module], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            urls = _read_urls(process, wanted)
            if not wanted <= urls.keys():
                raise RuntimeError(f"{module[0]} did not start:\n{log_path.read_text()}")
            yield Child(process.pid, urls)
        finally:
            _stop(process)


def tritonserver_installed() -> bool:
    """Whether the real tritonserver is there."""
    return (TRITONSERVER.parent.parent / ".venv-triton" / "requirements.stamp").is_file()


@contextmanager
def tritonserver(repository: Path, models: Sequence[str], log_path: Path) -> Iterator[Child]:
    """The real tritonserver, which `tools/tritonserver.py install` has made, until the end of the block. Raises
    RuntimeError with its log if it does not start.
    """
    rest, grpc = _free_port(), _free_port()
    flags = [f"--model-repository={repository}", "--model-control-mode=explicit", "--allow-metrics=false"]
    flags += [f"--http-port={rest}", f"--grpc-port={grpc}", *(f"--load-model={name}" for name in models)]
    command = [sys.executable, str(TRITONSERVER), "run", *flags]
    with (
        log_path.open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, text=True) as process,
    ):
        try:
            _await_ready(f"http://127.0.0.1:{rest}/v2/health/ready", process, log_path)
            yield Child(process.pid, {"REST": f"http://127.0.0.1:{rest}", "gRPC": f"127.0.0.1:{grpc}"})
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(url: str, process: subprocess.Popen[str], log_path: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=_START_SECONDS):
                return
        except OSError:
            time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"tritonserver did not start:\n{log_path.read_text()}")


def _read_urls(process: subprocess.Popen[str], wanted: set[str]) -> dict[str, str]:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    urls: dict[str, str] = {}
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    for line in process.stdout:
        if match := _URL_LINE.match(line):
            urls[match[1]] = match[2]
        if wanted <= urls.keys():
            break
    watchdog.cancel()
    # A pipe that nobody reads would block the process in the end.
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return urls


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def run(command: Sequence[str], limit_seconds: float, text_input: str = "") -> str:
    """Standard output of a command. Raises RuntimeError if it fails, with its errors, or takes too long."""
    try:
        done = subprocess.run(
            command, input=text_input, capture_output=True, text=True, timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[0]} took longer than {limit_seconds} s") from error
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command[:3])} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout
