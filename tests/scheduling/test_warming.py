"""What the log tells of a long warm-up."""

import asyncio
import logging

import pytest

from kserve_v2.scheduling.executing import warming
from kserve_v2.scheduling.executing.warming import Progress, tell_progress


def test_a_long_warm_up_tells_how_far_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "EVERY_S", 0)

    async def main() -> None:
        progress = Progress(total=40)
        telling = asyncio.create_task(tell_progress("m", "3", progress))
        for executions, name in ((12, "small"), (39, "large")):
            progress.executions, progress.sample = executions, name
            caplog.clear()
            while not caplog.messages:  # noqa: ASYNC110 - nothing else runs
                await asyncio.sleep(0)
            text = f"warming up: m version 3: {executions} of 40 executions after 0 s, the latest of sample '{name}'"
            assert text in caplog.messages
        telling.cancel()

    with caplog.at_level(logging.INFO):
        asyncio.run(asyncio.wait_for(main(), 60))
