"""Streams of messages between a worker and its home: no faster than they are taken, and nothing stays behind."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from kserve_v2.errors import UnfinishedError
from kserve_v2.memory.inflight import COUNTED_BYTES, InflightBytes
from kserve_v2.processes.accepted import Accepted
from kserve_v2.processes.answering.answering import Answering
from kserve_v2.processes.calls import call_head
from kserve_v2.processes.forwarding.rpcs import forwarding_rpcs
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link, Party
from kserve_v2.processes.window import WINDOW_BYTES
from kserve_v2.rpc.calls import Context, Parts, Serialized, Streaming
from tests.processes.ends import NOTHING, linked, open_both

SIZE = 16 * 1024


class Call:
    """A call, as an RPC sees it."""

    metadata = (("x-text", "tëxt"), ("x-bin", b"\n\x00"))

    def __init__(self) -> None:
        self.callbacks: list[Callable[[int, str], None]] = []

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        self.callbacks.append(callback)

    def on_message(self, callback: Callable[[], None]) -> None:
        self.read = callback

    async def reading(self, messages: AsyncIterator[Serialized]) -> AsyncIterator[Serialized]:
        """Each is read when it is asked for."""
        async for message in messages:
            self.read()
            yield message


class Rpc:
    """Notes what it is given. Yields messages for ever, or reads none, as it is told."""

    def __init__(self) -> None:
        self.yielded = 0
        self.read = 0
        self.ended: list[tuple[int, str]] = []
        self.closed = asyncio.Event()
        self.metadata: Any = None
        self.may_read = asyncio.Event()

    async def endless(self, messages: AsyncIterator[Serialized], context: Context) -> AsyncIterator[Parts]:
        self.metadata = context.metadata
        context.on_end(lambda code, details: self.ended.append((code, details)))
        try:
            while True:
                self.yielded += 1
                yield (bytes(SIZE),)
        finally:
            self.closed.set()

    async def deaf(self, messages: AsyncIterator[Serialized], context: Context) -> AsyncIterator[Parts]:
        yield (b"begun",)
        await self.may_read.wait()
        async for message in messages:
            self.read += len(message)
        yield (b"%d" % self.read,)


async def settled(home: Link, worker: Link) -> None:
    """Whatever can happen has happened."""
    for _ in range(20):
        await worker.call(Kind.RPC_TABLE)


def serve(home: Link, rpc: Rpc, inflight: InflightBytes | None = None) -> None:
    rpcs = (Streaming("/test/Endless", rpc.endless), Streaming("/test/Deaf", rpc.deaf))
    Answering(NOTHING, None, rpcs, inflight or InflightBytes(sys.maxsize)).serve(home)


async def never() -> AsyncIterator[Serialized]:
    await asyncio.Event().wait()
    yield b""


def test_an_rpc_yields_no_more_than_is_taken() -> None:
    async def run() -> None:
        async with linked() as (worker, home):
            rpc, call = Rpc(), Call()
            serve(home, rpc)
            await open_both(worker, home)
            endless, _ = await forwarding_rpcs(worker, Accepted())
            answers = endless.answer(never(), call)
            assert await anext(answers) == (bytes(SIZE),)
            await settled(home, worker)
            most = WINDOW_BYTES // SIZE
            assert rpc.yielded == most
            for _ in range(3 * most):
                await anext(answers)
            await settled(home, worker)
            assert rpc.yielded == 4 * most
            assert rpc.metadata == Call.metadata
            # The status that the client has got is what the home is told.
            for callback in call.callbacks:
                callback(4, "Deadline Exceeded")
            await answers.aclose()
            await rpc.closed.wait()
            assert rpc.ended == [(4, "Deadline Exceeded")]
            assert not (home._parties or worker._parties)

    uvloop.run(run())


def test_a_client_sends_no_more_than_is_read() -> None:
    async def run() -> None:
        sent = 0

        async def messages() -> AsyncIterator[Serialized]:
            nonlocal sent
            for _ in range(100):
                sent += SIZE
                yield bytes(SIZE)

        inflight = InflightBytes(sys.maxsize)
        async with linked(inflight) as (worker, home):
            rpc = Rpc()
            serve(home, rpc, inflight)
            await open_both(worker, home)
            _, deaf = await forwarding_rpcs(worker, Accepted())
            answers = deaf.answer((call := Call()).reading(messages()), call)
            assert await anext(answers) == (b"begun",)
            await settled(home, worker)
            assert sent == WINDOW_BYTES
            assert inflight.used == WINDOW_BYTES
            rpc.may_read.set()
            assert [each async for each in answers] == [(b"%d" % (100 * SIZE),)]
            assert inflight.used == 0

    uvloop.run(run())


class Unheard(Party):
    def message(self, kind: int, payload: Payload) -> None:
        raise AssertionError


def test_a_call_that_is_cancelled_before_it_begins_leaves_nothing() -> None:
    async def run() -> None:
        inflight = InflightBytes(sys.maxsize)
        async with linked(inflight) as (worker, home):
            serve(home, Rpc(), inflight)
            await open_both(worker, home)
            await worker.call(Kind.RPC_TABLE)
            number = worker.ask(Kind.RPC_STREAM, (call_head(1, ()),), Unheard())
            worker.send(number, 0, (bytes(COUNTED_BYTES),))
            worker.cancel(number)
            await settled(home, worker)
            assert (inflight.used, home._parties) == (0, {})

    uvloop.run(run())


def test_a_home_that_is_gone_ends_a_stream() -> None:
    async def run() -> None:
        async with linked() as (worker, home):
            serve(home, Rpc())
            await open_both(worker, home)
            _, deaf = await forwarding_rpcs(worker, Accepted())
            answers = deaf.answer(never(), Call())
            assert await anext(answers) == (b"begun",)
            home.abort()
            with pytest.raises(UnfinishedError, match="has ended before it did"):
                await anext(answers)

    uvloop.run(run())
