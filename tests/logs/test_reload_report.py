"""The lines of `serve --reload`."""

import asyncio

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.logs.reload_report import ReloadReport

FAILED = "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: NameError: x\nof \x1b[31mtwo lines;\n"


@pytest.mark.parametrize(
    ("coloured", "expected"),
    [
        (
            False,
            [
                "reloaded  m in 0.25 s",
                "broken    m: version 1 is at UNAVAILABLE state: Internal: NameError: x\n          of two lines;\n"
                "          what was loaded before goes on answering; save a file of it to try again",
                "broken    m: version 1 is at UNAVAILABLE state: Internal: NameError: x\n          of two lines;\n"
                "          it does not answer; save a file of it to try again",
                "removed   m",
            ],
        ),
        (True, ["\x1b[32mreloaded", "\x1b[31mbroken", "\x1b[31mbroken", "\x1b[33mremoved"]),
    ],
)
def test_one_line_for_each_change(coloured: bool, expected: list[str]) -> None:
    said: list[str] = []

    async def main() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            said.append(text)
            if len(said) == 4:
                loop.call_soon_threadsafe(done.set)

        report = ReloadReport(coloured=coloured, say=say)
        report.loaded("m", 0.25)
        report.failed("m", InvalidArgumentError(FAILED), answers=True)
        report.failed("m", InvalidArgumentError(FAILED), answers=False)
        report.unloaded("m")
        await asyncio.wait_for(done.wait(), 60)

    asyncio.run(main())
    if coloured:
        assert all(text.endswith("\x1b[0m") for text in said)
        said = [text[: len(start)] for text, start in zip(said, expected, strict=True)]
    assert said == expected
