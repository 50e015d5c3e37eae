"""Streams of events that are cut: whatever was being sent is a whole event, and the last one says so."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from kserve_v2.errors import UnfinishedError
from kserve_v2.messages import InferResponse
from kserve_v2.rest.answers import send_events
from kserve_v2.rest.endpoint import Call

PARTS = (b'{"OUT":"', b"x" * 40_000, b"y" * 40_000, b'"}')
WHOLE = {"OUT": "x" * 40_000 + "y" * 40_000}


async def responses() -> AsyncGenerator[InferResponse]:
    while True:
        yield InferResponse("m", "1", "", {})


async def cut(at: int, *, in_writing: bool) -> tuple[list[Any], bool, bool]:
    """Cancel a stream that waits to send its part `at`, or to write the event that this begins. Returns its events,
    whether it has ended, and whether it had begun.
    """
    sent: list[Any] = []
    reached = asyncio.Event()
    cancelled = False

    async def wait_if_full() -> None:
        # As servers do: while the client reads too slowly, nothing is taken.
        if len(sent) == at and not cancelled:
            reached.set()
            await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if not in_writing:
            await wait_if_full()
        sent.append(message)

    async def write(_: InferResponse) -> tuple[bytes, ...]:
        await asyncio.sleep(0)
        if in_writing:
            await wait_if_full()
        return PARTS

    call = Call("m", "", {}, (), b"", None)
    stream = asyncio.ensure_future(send_events(responses(), write, call, send))
    await reached.wait()
    cancelled = True
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    begun = bool(sent)
    if call.end_with is not None:
        await call.end_with(UnfinishedError("cut"))
    assert [each["type"] for each in sent[:1]] == ["http.response.start"] * begun
    text = b"".join(each["body"] for each in sent[1:]).decode()
    events = [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]
    assert text.endswith("\n\n") or not text
    return events, begun and not sent[-1].get("more_body"), begun


# The head, and then each event: `data: `, its parts, and its end.
@pytest.mark.parametrize("at", range(1, 15))
def test_a_stream_that_is_cut_while_an_event_is_sent(at: int) -> None:
    events, ended, _ = asyncio.run(cut(at, in_writing=False))
    assert events == [WHOLE] * ((at - 1) // 6 + 1) + [{"error": "cut"}]
    assert ended


@pytest.mark.parametrize("before", [1, 2])
def test_a_stream_that_is_cut_while_an_event_is_written(before: int) -> None:
    events, ended, _ = asyncio.run(cut(1 + 6 * before, in_writing=True))
    assert events == [WHOLE] * before + [{"error": "cut"}]
    assert ended


@pytest.mark.parametrize("in_writing", [False, True])
def test_a_stream_that_is_cut_before_it_begins(in_writing: bool) -> None:
    """Then the error is the answer, and not the end of one."""
    events, _, begun = asyncio.run(cut(0, in_writing=in_writing))
    assert (events, begun) == ([], False)
