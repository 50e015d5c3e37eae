"""Log lines on everything that stderr can be: nobody who logs waits, the order is kept, and what is lost is counted."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from kserve_v2.logs import output as log_output
from kserve_v2.logs.output import LogOutput
from tests.integration.support import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no poll")

NOTICE = re.compile(r"(\d+) dropped")
SECONDS = 30.0

Ends = tuple[IO[str], Callable[[int], bytes]]


def notice(dropped: int) -> str:
    """The line for dropped ones."""
    return f"{dropped} dropped"


@contextlib.contextmanager
def pipe() -> Iterator[Ends]:
    """A pipe: where to write, and how to read."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb", buffering=0) as reader:
        yield stream, lambda size: os.read(reader.fileno(), size)


@contextlib.contextmanager
def shared_pipe() -> Iterator[Ends]:
    """A pipe that cannot be opened anew, as after a change of user."""
    with pipe() as ends, pytest.MonkeyPatch.context() as patch:

        def refuse(path: str, flags: int) -> int:
            raise PermissionError(path)

        patch.setattr(log_output.os, "open", refuse)
        yield ends


@contextlib.contextmanager
def socket_pair() -> Iterator[Ends]:
    """A stream socket, as systemd gives one to services."""
    near, far = socket.socketpair()
    with near, far, near.makefile("w") as stream:
        yield stream, far.recv


@contextlib.contextmanager
def terminal() -> Iterator[Ends]:
    """A terminal."""
    far, near = os.openpty()
    with os.fdopen(near, "w") as stream, os.fdopen(far, "rb", buffering=0) as reader:
        yield stream, lambda size: os.read(reader.fileno(), size).replace(b"\r\n", b"\n")


KINDS = {"pipe": pipe, "shared pipe": shared_pipe, "socket": socket_pair, "terminal": terminal}


def read_lines(read: Callable[[int], bytes], last: str) -> list[str]:
    """All lines up to the one that is the last."""
    found = b""
    while not found.endswith(f"{last}\n".encode()):
        found += read(65536)
    return found.decode().splitlines()


def accounted(lines: list[str]) -> list[int]:
    """The numbers of the lines in order, with those of a notice filled in."""
    numbers: list[int] = []
    for line in lines:
        if match := NOTICE.fullmatch(line):
            start = numbers[-1] + 1 if numbers else 0
            numbers += range(start, start + int(match[1]))
        else:
            numbers.append(int(line.split()[0]))
    return numbers


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_that_there_is_room_for_is_written_at_once(kind: str) -> None:
    with KINDS[kind]() as (stream, read):
        output = LogOutput(stream, notice)
        output.write("one")
        output.write("zwei ü \udc80")
        assert read_lines(read, "zwei ü \\udc80") == ["one", "zwei ü \\udc80"]
        output.close(SECONDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [10, 3000])
def test_nobody_waits_for_a_reader(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more is written than any buffer takes; then it is read: in order, with those that were dropped in their
    places.
    """
    monkeypatch.setattr(log_output, "_MAX_BYTES", 100_000)
    monkeypatch.setattr(log_output, "_MAX_LINES", 1000)
    with KINDS[kind]() as (stream, read):
        output = LogOutput(stream, notice)
        written = 200_000 if size == 10 else 2000
        for number in range(written):
            output.write(f"{number} {'x' * size}")
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(read_lines(read, "9999999 last")))
        reader.start()
        output.flush(SECONDS)
        output.write("9999999 last")
        output.flush(SECONDS)
        reader.join(SECONDS)
        assert lines[-1] == "9999999 last"
        dropped = [int(match[1]) for line in lines if (match := NOTICE.fullmatch(line))]
        assert sum(dropped) > 0
        assert accounted(lines[:-1]) == list(range(written))
        output.close(SECONDS)


def test_what_waits_is_written_when_somebody_reads_and_nobody_logs() -> None:
    with pipe() as (stream, read):
        output = LogOutput(stream, notice)
        for number in range(3000):
            output.write(f"{number} {'x' * 100}")
        assert accounted(read_lines(read, f"2999 {'x' * 100}")) == list(range(3000))
        output.close(SECONDS)


def test_many_threads_lose_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "_MAX_LINES", 10**9)
    with pipe() as (stream, read):
        output = LogOutput(stream, notice)

        def log(thread: int) -> None:
            for number in range(2000):
                output.write(f"{thread} {number} {'x' * 200}")

        threads = [threading.Thread(target=log, args=(thread,)) for thread in range(4)]
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(read_lines(read, "last")))
        for each in (reader, *threads):
            each.start()
        for each in threads:
            each.join(SECONDS)
        output.flush(SECONDS)
        output.write("last")
        reader.join(SECONDS)
        for thread in range(4):
            mine = [line.split()[1] for line in lines if line.startswith(f"{thread} ")]
            assert mine == [str(number) for number in range(2000)]
        output.close(SECONDS)


def test_what_is_logged_while_a_line_is_written_comes_behind_it() -> None:
    """As the garbage collector may do, in the same thread."""

    class Talkative(io.StringIO):
        def write(self, text: str) -> int:
            if text == "first\n":
                output.write("second")
            return super().write(text)

    stream = Talkative()
    output = LogOutput(stream, notice)
    output.write("first")
    assert stream.getvalue() == "first\nsecond\n"


def test_what_the_stream_raises_is_not_for_who_logs() -> None:
    class Moody(io.StringIO):
        def write(self, text: str) -> int:
            if "bad" in text:
                raise RuntimeError(text)
            return super().write(text)

    stream = Moody()
    output = LogOutput(stream, notice)
    for line in ("first", "bad", "bad", "second", "third"):
        output.write(line)
    output.close(SECONDS)
    assert stream.getvalue() == "first\nsecond\n2 dropped\nthird\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_said_when_there_is_room_again(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream, Path("/dev/full").open("wb", buffering=0) as full:
        output = LogOutput(stream, notice)
        output.write("first")
        fd: int = output._target._fd  # type: ignore[attr-defined]
        kept = os.dup(fd)
        os.dup2(full.fileno(), fd)
        for _ in range(5):
            output.write("lost")
        os.dup2(kept, fd)
        os.close(kept)
        output.write("second")
        output.write("third")
        output.close(SECONDS)
    assert (tmp_path / "log").read_text() == "first\nsecond\n5 dropped\nthird\n"


def test_a_reader_that_has_gone() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        output = LogOutput(stream, notice)
        os.close(read)
        for _ in range(10):
            output.write("lost")
        output.close(SECONDS)
        output.write("after the end")


def test_the_end_does_not_wait_for_ever() -> None:
    with pipe() as (stream, _):
        output = LogOutput(stream, notice)
        for _ in range(3000):
            output.write("x" * 100)
        output.close(0.01)
        output.write("after the end")


# --- the process --------------------------------------------------------------------------------------------------

# Logs more than a pipe takes, and then says on stdout that it still lives; ends when its stdin does.
PROGRAM = """
import logging, sys
from pathlib import Path
from kserve_v2.logs import log
from kserve_v2.settings.settings import Settings
log.configure(Settings(model_repository=(Path("models"),), log_access=True))
logger = logging.getLogger("kserve_v2.test")
for number in range(int(sys.argv[1])):
    logger.warning("%d %s", number, "x" * 100)
    log.log_access(log.Access("rest", "m", "1", request_id=str(number)))
print("alive", flush=True)
sys.stdin.read()
log.shutdown()
"""


def start(count: int) -> "subprocess.Popen[str]":
    """The program, whose stderr is a pipe."""
    command = [sys.executable, "-c", PROGRAM, str(count)]
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **streams)


@pytest.mark.slow
def test_a_process_whose_stderr_nobody_reads_goes_on_and_ends() -> None:
    with start(20_000) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "alive\n"
        process.stdin.close()
        # It gives its lines some time, and no more.
        assert process.wait(60) == 0


@pytest.mark.slow
def test_a_process_whose_stderr_is_read_late_loses_nothing_in_silence() -> None:
    count = 20_000
    with start(count) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "alive\n"
        _, err = process.communicate("")
    lines = err.splitlines()
    notices = [re.search(r"kserve_v2\.logs (\d+) log lines were dropped", line) for line in lines]
    dropped = sum(int(match[1]) for match in notices if match)
    written = sum(1 for match in notices if not match)
    assert dropped > 0
    assert written + dropped == 2 * count
    numbers = [int(match[1]) for line in lines if (match := re.search(r"kserve_v2\.test (\d+) x", line))]
    assert numbers == sorted(numbers)


def test_a_signal_ends_it_whatever_waits() -> None:
    with start(20_000) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "alive\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(2,), (1, 2), (0, 1, 2)], ids=["stderr", "outputs", "all"])
def test_a_server_with_closed_streams_starts_and_ends(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """The next files that are opened would otherwise be its stderr."""
    (tmp_path / "models").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    serve = f"{sys.executable} -m kserve_v2 serve --model-repository={tmp_path}/models --http-port={port}"
    closing = " ".join("<&-" if fd == 0 else f"{fd}>&-" for fd in closed)
    command = ["sh", "-c", f"exec {serve} --allow-grpc=false --allow-metrics=false {closing}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}/v2/health/live"
        wait_until(lambda: _answers(url) or process.poll() is not None)
        assert _answers(url)
        process.terminate()
        assert process.wait(60) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).status_code == 200
    except httpx.HTTPError:
        return False
