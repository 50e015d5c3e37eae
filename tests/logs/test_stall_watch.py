"""Real loops that are really stuck."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from kserve_v2.logs.stall_watch import StallWatch

STUCK = "the event loop has answered nobody for "
AGAIN = "the event loop is at work again, after "


class Heard(logging.Handler):
    """Tells when something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.stuck, self.again = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        (self.stuck if STUCK in self.messages[-1] else self.again).set()


@pytest.fixture
def heard() -> Heard:
    return Heard()


def hold_up_the_loop(heard: Heard) -> None:
    assert heard.stuck.wait(60)


def watched(heard: Heard, main: Coroutine[Any, Any, None]) -> None:
    """Run what is to be heard."""
    logger = logging.getLogger("kserve_v2.logs.stall_watch")
    logger.addHandler(heard)
    try:
        asyncio.run(main)
    finally:
        logger.removeHandler(heard)


def test_where_the_loop_is_stuck_is_logged_once_and_that_it_goes_on(heard: Heard) -> None:
    async def main() -> None:
        watch = StallWatch(0.2, 0)
        watch.start()
        hold_up_the_loop(heard)
        await asyncio.to_thread(heard.again.wait, 30)
        watch.stop()

    watched(heard, main())
    stuck, again = heard.messages
    assert stuck.startswith(STUCK)
    assert "hold_up_the_loop" in stuck
    assert again.startswith(AGAIN)


def test_a_loop_that_turns_is_not_mentioned(heard: Heard) -> None:
    """Looks are counted by a clock that stands still between them."""
    looks, clock_s = threading.Semaphore(0), 0.0

    def clock() -> float:
        looks.release()
        return clock_s

    async def main() -> None:
        watch = StallWatch(0.04, 0, clock)
        watch.start()
        for _ in range(20):
            await asyncio.to_thread(looks.acquire)
        watch.stop()

    watched(heard, main())
    assert heard.messages == []


def test_nothing_is_watched_where_that_is_not_wanted() -> None:
    async def main() -> set[threading.Thread]:
        # Those of other tests may end meanwhile.
        before = set(threading.enumerate())
        watch = StallWatch(0, 0)
        watch.start()
        watch.stop()
        return set(threading.enumerate()) - before

    assert asyncio.run(main()) == set()


SCRIPT = """
import asyncio, sys, time
from kserve_v2.logs.stall_watch import StallWatch

async def main():
    watch = StallWatch(0, 3)
    watch.start()
    await asyncio.sleep(4 if "turning" in sys.argv else 0)
    if "stuck" in sys.argv:
        time.sleep(60)
    watch.stop()
    if "stopped" in sys.argv:
        time.sleep(4)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "status", "told"), [("stuck", 1, True), ("turning", 0, False), ("stopped", 0, False)]
)
def test_the_process_is_ended(argument: str, status: int, told: bool) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, argument], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == status
    assert ("Timeout (0:00:03)!" in ended.stderr and "in main" in ended.stderr) is told
