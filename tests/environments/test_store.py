"""Environments are made once, whoever wants them, and whatever becomes of those who make them."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from kserve_v2.environments.store import COMPLETE, Store
from kserve_v2.errors import InvalidArgumentError

ABOUT = {"model": "m"}

# Another server: makes an environment, says so, and does as it is told by its argument.
MAKER = """
import subprocess, sys
from pathlib import Path
from kserve_v2.environments.store import Store

def build(path, lock):
    path.mkdir()
    (path / "half").touch()
    installer = None
    if sys.argv[2] == "installer":
        installer = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, stdout=subprocess.DEVNULL,
                                     pass_fds=(lock.fileno(),))
    print("building", installer.pid if installer else "", flush=True)
    if installer is None:
        input()

Store(Path(sys.argv[1])).make("env", build, {}, "waiting")
input()
"""


def build(path: Path, lock: BinaryIO) -> None:
    path.mkdir()
    (path / "whole").touch()


def never(path: Path, lock: BinaryIO) -> None:
    raise AssertionError(path)


def start_maker(directory: Path, how: str = "") -> "subprocess.Popen[str]":
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(directory), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert maker.stdout is not None
    assert maker.stdout.readline().startswith("building")
    return maker


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_what_is_there_is_found_and_not_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "one")
    assert store.find("env") is None
    path = store.make("env", build, ABOUT, "")
    assert (path / "whole").exists()
    assert store.find("env") == path
    assert store.make("env", never, ABOUT, "") == path
    assert json.loads((path / COMPLETE).read_text()) == {"path": str(path), "model": "m"}


def test_the_time_of_the_last_use_is_noted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    note = store.make("env", build, ABOUT, "") / COMPLETE
    os.utime(note, (0, 0))
    store.find("env")
    assert note.stat().st_mtime > 0


def test_one_directory_by_two_names_has_the_same_environments(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = Store(tmp_path / "link").make("env", build, ABOUT, "")
    assert Store(tmp_path / "real").find("env") == path


def test_one_that_was_moved_is_made_again(tmp_path: Path) -> None:
    Store(tmp_path / "old").make("env", build, ABOUT, "")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Store(tmp_path / "new")
    assert moved.find("env") is None
    (tmp_path / "new" / "env" / "whole").unlink()
    assert (moved.make("env", build, ABOUT, "") / "whole").exists()


@pytest.mark.parametrize(
    "left", ["nothing", "a directory", "a damaged note", "another note", "a file", "a link"]
)
def test_what_is_not_whole_is_removed_first(tmp_path: Path, left: str) -> None:
    path = tmp_path / "env"
    if left == "a file":
        path.touch()
    elif left == "a link":
        path.symlink_to(tmp_path / "nowhere")
    elif left != "nothing":
        path.mkdir()
        (path / "half").touch()
        if left == "a damaged note":
            (path / COMPLETE).write_text("{")
        elif left == "another note":
            (path / COMPLETE).write_text("[]")
    store = Store(tmp_path)
    assert store.find("env") is None
    assert sorted(each.name for each in store.make("env", build, ABOUT, "").iterdir()) == [COMPLETE, "whole"]


def test_what_fails_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    def fail(path: Path, lock: BinaryIO) -> None:
        build(path, lock)
        raise InvalidArgumentError("on purpose")

    store = Store(tmp_path)
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match="on purpose"):
            store.make("env", fail, ABOUT, "")
        assert not (tmp_path / "env").exists()
    assert store.make("env", build, ABOUT, "")


def test_many_at_the_same_time_make_one(tmp_path: Path) -> None:
    made: list[Path] = []
    together = threading.Barrier(8)

    def count(path: Path, lock: BinaryIO) -> None:
        build(path, lock)
        made.append(path)

    def want(number: int) -> Path:
        together.wait()
        return Store(tmp_path).make("env", count, ABOUT, "")

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(want, range(8)))
    assert (found, made) == ({tmp_path / "env"}, [tmp_path / "env"])


@pytest.mark.slow
def test_a_killed_server_leaves_no_environment_and_no_lock(tmp_path: Path) -> None:
    end(start_maker(tmp_path))
    store = Store(tmp_path)
    assert (tmp_path / "env" / "half").exists()
    assert store.find("env") is None
    path = store.make("env", build, ABOUT, "")
    assert sorted(each.name for each in path.iterdir()) == [COMPLETE, "whole"]


@pytest.fixture
def waiting() -> Iterator[threading.Event]:
    """Set when somebody waits for the lock of another."""
    event = threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event.set()

    logger = logging.getLogger("kserve_v2.environments.store")
    told = Told()
    logger.addHandler(told)
    yield event
    logger.removeHandler(told)


@pytest.mark.slow
def test_who_comes_second_is_told_who_makes_it_and_waits(
    tmp_path: Path, waiting: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    maker = start_maker(tmp_path)
    try:
        with ThreadPoolExecutor(1) as thread:
            wanted = thread.submit(Store(tmp_path).make, "env", never, ABOUT, "model 'm': waiting")
            assert waiting.wait(60)
            assert not wanted.done()
            assert maker.stdin is not None
            maker.stdin.write("\n")
            maker.stdin.flush()
            assert wanted.result(60) == tmp_path / "env"
    finally:
        end(maker)
    assert caplog.messages == [f"model 'm': waiting, which process {maker.pid} makes"]


@pytest.mark.slow
def test_an_installer_that_outlives_its_server_keeps_the_lock(
    tmp_path: Path, waiting: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    maker = start_maker(tmp_path, "installer")
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    assert maker.stdin is not None
    assert maker.stdout is not None
    with ThreadPoolExecutor(1) as thread, maker.stdout:
        wanted = thread.submit(Store(tmp_path).make, "env", build, ABOUT, "")
        assert waiting.wait(60)
        assert not wanted.done()
        maker.stdin.close()  # which ends the installer
        assert wanted.result(60) == tmp_path / "env"


def test_a_lock_that_was_removed_is_not_taken_for_one(
    tmp_path: Path, waiting: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    others: list[Future[Path]] = []
    with ThreadPoolExecutor(1) as thread:

        def clean_up(path: Path, lock: BinaryIO) -> None:
            build(path, lock)
            others.append(thread.submit(Store(tmp_path).make, "env", never, ABOUT, ""))
            assert waiting.wait(60)
            (tmp_path / "env.lock").unlink()

        assert Store(tmp_path).make("env", clean_up, ABOUT, "") == others[0].result(60)
    # Whoever has waited holds the lock that others find, not the one that is gone.
    assert (tmp_path / "env.lock").exists()


def test_a_directory_that_cannot_be_is_an_error_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgumentError) as raised:
        Store(tmp_path / "file").make("env", build, ABOUT, "")
    assert raised.value.message == (
        "no environment can be made in the directory of --model-environments: "
        "FileExistsError: [Errno 17] File exists: 'file'"
    )


CLEAN_UP = "find DIR -mindepth 2 -maxdepth 2 -name complete.json -mtime +30 -printf '%h\\n' | xargs -r rm -r"


def test_those_that_nobody_uses_can_be_found_and_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("used", "unused"):
        os.utime(store.make(name, build, ABOUT, "") / COMPLETE, (0, 0))
    store.find("used")
    subprocess.run(["sh", "-c", CLEAN_UP.replace("DIR", str(tmp_path))], check=True)
    assert (store.find("used"), store.find("unused")) == (tmp_path / "used", None)
    assert not (tmp_path / "unused").exists()
