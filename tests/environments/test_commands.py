"""Running an installer."""

import logging
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_v2.environments.commands import run
from kserve_v2.errors import InvalidArgumentError

pytestmark = pytest.mark.slow


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def failure(code: str, tmp_path: Path) -> str:
    with pytest.raises(InvalidArgumentError) as raised:
        run(script(code), "model 'm': pip", os.environ, tmp_path)
    return raised.value.message


def test_what_it_says_is_logged_line_by_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    code = """
import os, sys
print("Collecting", os.getcwd(), os.environ["X"], sys.stdin.read(), flush=True)
print(" 10%\\r 90%\\n\\n", file=sys.stderr)
os.write(1, b"\\xff" + 9999 * b"x" + b"\\n")
"""
    run(script(code), "model 'm': pip", {"X": "set"}, tmp_path)
    expected = [f"Collecting {tmp_path} set", " 10%", " 90%", "\ufffd" + 499 * "x"]
    assert caplog.messages == [f"model 'm': pip: {line}" for line in expected]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "print('Collecting'); print('ERROR: no such thing'); print('ERROR: at all'); print('[notice] buy'); exit(1)",
            "ERROR: no such thing\nERROR: at all",
        ),
        (
            "print('  × No solution found'); print('  ╰─▶ because'); exit(1)",
            "  × No solution found\n  ╰─▶ because",
        ),
        ("[print(i) for i in range(99)]; exit(1)", "\n".join(map(str, range(87, 99)))),
        ("print('ERROR: in /home/her/secret/setup.py'); exit(1)", "ERROR: in setup.py"),
        ("exit(3)", "it ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "it was ended by signal 9"),
    ],
)
def test_a_failure_says_what_the_program_has_said_last(tmp_path: Path, code: str, reason: str) -> None:
    assert failure(code, tmp_path) == f"model 'm': pip has failed: {reason}"


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="pip has failed: nosuch does not run: No such file"):
        run([str(tmp_path / "nosuch")], "pip", os.environ, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_it_ends_with_the_server_however_that_ends(tmp_path: Path) -> None:
    installer = "import os; print(os.getpid(), flush=True); import signal; signal.pause()"
    server = f"""
import logging, sys
from pathlib import Path
from kserve_v2.environments.commands import run
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
run([sys.executable, "-c", {installer!r}], "pip", {{}}, Path({str(tmp_path)!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline().split()[-1])
    descriptor = os.pidfd_open(pid)
    process.kill()
    process.communicate()
    try:
        # Readable when the process has ended; the time is a limit, not a measure.
        assert select.select([descriptor], [], [], 60)[0]
    finally:
        os.close(descriptor)
