"""The start as a person sees it, on a real terminal and through pipes."""

import os
import pty
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WriteModel
from tests.integration.handlers import slow_to_load, versioned
from tests.integration.support import Gate

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

pytestmark = pytest.mark.slow

REASON = "ValueError: " + " ".join(f"word{number}" for number in range(60))


class Screen:
    """A server on a terminal of its own, and all that it has written there."""

    def __init__(self, repository: Path, *flags: str, columns: int = 80, **environ: str) -> None:
        self._ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        inherited = {
            name: text
            for name, text in os.environ.items()
            if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
        }
        self.process = subprocess.Popen(
            command(repository, *flags),
            stdin=its,
            stdout=its,
            stderr=its,
            env=inherited | {"TERM": "xterm"} | environ,
        )
        os.close(its)
        self.written = ""

    def read_until(self, pattern: str) -> str:
        """What has been written up to there; all of it until the server ends, if that never comes."""
        while not re.search(pattern, self.written):
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                break
            self.written += data.decode()
        return self.written

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """The lines as they look in the end, without colours."""
        return [shown(line) for line in self.written.replace("\r\n", "\n").split("\n")]


def shown(line: str) -> str:
    """What is left of a line over which others were drawn."""
    text = ""
    for part in re.sub(r"\x1b\[[0-9;]*m", "", line).split("\r"):
        text = part.removeprefix("\x1b[K") if part.startswith("\x1b[K") else part + text[len(part) :]
    return text


def command(repository: Path, *flags: str) -> list[str]:
    ports = [f"--{each}-port=0" for each in ("http", "grpc", "metrics")]
    return [sys.executable, "-m", "kserve_v2", "serve", "--model-repository", str(repository), *ports, *flags]


@pytest.fixture
def slow(tmp_path: Path, write_model: WriteModel) -> Iterator[Gate]:
    """A repository of one model that loads, one that fails and one that waits at a gate."""
    write_model(tmp_path, "quick", versioned(1))
    write_model(tmp_path, "broken", f"raise {REASON.replace(': ', '(')!s}')".replace("(word0", "('word0"))
    with Gate() as gate:
        write_model(tmp_path, "slow", slow_to_load(gate.port))
        yield gate


def test_a_terminal_shows_a_bar_and_then_the_table_and_nothing_is_left_of_the_bar(
    slow: Gate, tmp_path: Path
) -> None:
    screen = Screen(tmp_path, columns=60)
    try:
        screen.read_until(r"Loading models █+░+ 2 of 3, 1 failed")
        slow.await_start()
        slow.open()
        screen.read_until(r"Try it:.*\r\n.*\r\n")
    finally:
        screen.close()
    assert "\x1b[32mREADY\x1b[0m" in screen.written
    lines = screen.lines
    assert not [line for line in lines if "Loading models" in line]
    start = next(number for number, line in enumerate(lines) if line.startswith("+--"))
    # The log's own lines are in front of it.
    report = lines[start:]
    assert report[1].split() == [
        "|",
        "Model",
        "|",
        "Version",
        "|",
        "State",
        "|",
        "Loaded",
        "in",
        "|",
        "Notes",
        "|",
    ]
    assert re.fullmatch(
        r"\| slow +\| 1 +\| READY +\| \d+\.\d\d s +\|.*", next(x for x in report if "slow" in x)
    )
    # A reason that is wider than the terminal is wrapped, and the table is as wide as it needs to be.
    wrapped = [line for line in report if "word" in line]
    assert len(wrapped) > 3
    assert max(map(len, wrapped)) <= 60
    assert len({len(line) for line in report if line.startswith(("|", "+"))}) == 1
    order = [next(n for n, line in enumerate(report) if line.startswith(head)) for head in
             ("| Model", "Not loaded:", "Options that differ", "REST ", "gRPC ", "Metrics ", "Try it:")]  # fmt: skip
    assert order == sorted(order)
    assert not [line for line in report if line.startswith("  --grpc-address")]


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(
    environ: dict[str, str], tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "quick", versioned(1))
    screen = Screen(tmp_path, **environ)
    try:
        screen.read_until(r"REST .*\r\n")
    finally:
        screen.close()
    assert "READY" in screen.written
    assert not re.search(r"\x1b\[[0-9;]*m", screen.written)
    if environ.get("TERM") == "dumb":
        assert "\x1b" not in screen.written


def test_ctrl_c_while_loading_ends_at_once_with_a_clear_line(slow: Gate, tmp_path: Path) -> None:
    screen = Screen(tmp_path)
    try:
        screen.read_until(r"Loading models █+░+ 2 of 3, 1 failed")
        slow.await_start()
        screen.process.send_signal(signal.SIGINT)
        screen.read_until(r"never")
        assert screen.process.wait(60) == 1
    finally:
        screen.close()
    [line] = [line for line in screen.lines if "leaving at once" in line]
    assert line.endswith("stopped while models were loading (1 of 3 loaded, 1 failed; not yet: slow)")
    assert "Traceback" not in screen.written
    assert not [line for line in screen.lines if "Loading models" in line]


def test_in_pipes_progress_is_a_line_of_the_log_and_nothing_but_plain_text(
    slow: Gate, tmp_path: Path
) -> None:
    log = tmp_path.parent / f"{tmp_path.name}.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command(tmp_path, "--log-format=json"), stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        slow.await_start()
        while b"loading models: 1 of 3 loaded, 1 failed; not yet: slow" not in log.read_bytes():
            assert process.poll() is None
        slow.open()
        output = b""
        for line in process.stdout:
            output += line
            if line.startswith(b"Try it:"):
                break
        process.send_signal(signal.SIGTERM)
        output += process.stdout.read()
    assert process.returncode == 0
    assert output.startswith(b"+--")
    assert b"\x1b" not in output + log.read_bytes()
    assert b"\r" not in output + log.read_bytes()
    assert b"loading models" not in output
    assert not [line for line in log.read_bytes().splitlines() if not line.startswith(b'{"time"')]
    # In a pipe a reason is one line, for whoever searches it.
    assert REASON.encode() in output


def test_a_reader_that_leaves_does_not_stop_the_server(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path, "quick", versioned(1))
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(command(tmp_path), stdout=write, stderr=subprocess.PIPE, text=True) as process:
        os.close(write)
        assert process.stderr is not None
        log = ""
        for line in process.stderr:
            log += line
            if "ready: quick" in line:
                break
        process.send_signal(signal.SIGTERM)
        log += process.stderr.read()
    assert process.returncode in (0, 1)
    assert "Traceback" not in log
    assert "BrokenPipeError" not in log
