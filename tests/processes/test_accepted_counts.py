"""What a worker waits for before it has finished: what it had read before the end, until the home has that in hand."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvloop
from starlette.types import Message, Receive, Scope, Send

from kserve_v2.acceptance import is_accepted
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.net.coming_body import COMING_BODY, ComingBody
from kserve_v2.processes.accepted import Accepted
from kserve_v2.processes.answering.answering import Answering
from kserve_v2.processes.forwarding.app import ForwardingApp
from kserve_v2.processes.forwarding.rpcs import forwarding_rpcs
from kserve_v2.processes.heads import make_scope
from kserve_v2.processes.link import Link
from kserve_v2.processes.window import WINDOW_BYTES
from kserve_v2.rpc.calls import Asked, Context, Direct, Parts, Serialized, Streaming
from tests.processes.ends import NOTHING, linked, open_both
from tests.processes.test_streams import Call, settled


class Pending(Asked):
    """Never answered by itself."""

    def give_up(self) -> None:
        """Nobody waits."""


class Home:
    """What the home answers with: nothing, until it is told to."""

    def __init__(self) -> None:
        self.may_read, self.may_take = asyncio.Event(), asyncio.Event()
        self.seen: list[bool] = []

    def start(self, data: Serialized, context: Context) -> Parts | Asked:
        self.seen.append(is_accepted())
        return Pending()

    async def read(self, messages: AsyncIterator[Serialized], context: Context) -> AsyncIterator[Parts]:
        async for _ in messages:
            self.seen.append(is_accepted())
            await self.may_take.wait()
        yield (b"read",)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.may_read.wait()
        while (await receive()).get("more_body"):
            pass
        self.seen.append(is_accepted())
        await self.may_take.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    def serve(self, link: Any) -> None:
        rpcs = (Direct("/test/Direct", self.start, lambda data: None), Streaming("/test/Read", self.read))
        Answering(self.app, None, rpcs, InflightBytes(sys.maxsize)).serve(link)


class AskedStream(NamedTuple):
    """The ends that a stream goes through, what the worker counts, what the home does, and the answers."""

    worker: Link
    home: Link
    accepted: Accepted
    at_home: Home
    answers: AsyncGenerator[Parts, None]


@asynccontextmanager
async def asked(messages: AsyncIterator[Serialized], call: Call) -> AsyncIterator[AskedStream]:
    """A stream with these messages that a worker hands to its home. Whoever takes the answers begins it."""
    accepted, at_home = Accepted(), Home()
    async with linked() as (worker, home):
        at_home.serve(home)
        await open_both(worker, home)
        _, read = await forwarding_rpcs(worker, accepted)
        assert isinstance(read, Streaming)
        yield AskedStream(worker, home, accepted, at_home, read.answer(messages, call))


def test_a_call_counts_until_its_client_has_left() -> None:
    async def run() -> None:
        accepted, at_home = Accepted(), Home()
        async with linked() as (worker, home):
            at_home.serve(home)
            await open_both(worker, home)
            direct, _ = await forwarding_rpcs(worker, accepted)
            assert isinstance(direct, Direct)
            asked = direct.start(b"in time", Call())
            accepted.open = False
            late = direct.start(b"too late", Call())
            await settled(home, worker)
            assert (accepted.count, at_home.seen) == (1, [True, False])
            for each in (asked, late):
                assert isinstance(each, Asked)
                each.give_up()
            await accepted.none()
            await settled(home, worker)

    uvloop.run(run())


def test_a_message_of_a_stream_counts_until_the_home_has_begun_it() -> None:
    async def run() -> None:
        call = Call()
        messages: asyncio.Queue[bytes] = asyncio.Queue()

        async def sent() -> AsyncIterator[bytes]:
            while message := await messages.get():
                yield message

        async with asked(call.reading(sent()), call) as (worker, home, accepted, at_home, answers):
            answer = asyncio.ensure_future(anext(answers))
            for _ in range(3):
                messages.put_nowait(b"in time")
            await settled(home, worker)
            accepted.open = False
            messages.put_nowait(b"too late")
            await settled(home, worker)
            assert (accepted.count, at_home.seen) == (3, [True])
            at_home.may_take.set()
            await accepted.none()
            messages.put_nowait(b"")
            assert await answer == (b"read",)
            assert at_home.seen == [True, True, True, False]
            await answers.aclose()

    uvloop.run(run())


def test_a_message_is_in_time_where_one_before_it_waits_for_room() -> None:
    """Its connection has read it, and the stream has not asked for it yet."""

    async def run() -> None:
        call = Call()

        async def sent() -> AsyncIterator[bytes]:
            yield bytes(WINDOW_BYTES)
            for _ in range(3):
                yield b"x"

        async with asked(sent(), call) as (worker, home, accepted, at_home, answers):
            answer = asyncio.ensure_future(anext(answers))
            await asyncio.sleep(0)
            for _ in range(3):
                call.read()
            await settled(home, worker)
            accepted.open = False
            call.read()
            assert (accepted.count, at_home.seen) == (3, [True])
            at_home.may_take.set()
            assert await answer == (b"read",)
            assert at_home.seen == [True, True, True, False]
            assert accepted.count == 0
            # What comes now is nobody's.
            await answers.aclose()
            accepted.open = True
            call.read()
            assert accepted.count == 0

    uvloop.run(run())


def test_what_waits_in_a_stream_is_not_waited_for_once_it_ends() -> None:
    async def run() -> None:
        call = Call()

        async def sent() -> AsyncIterator[bytes]:
            yield bytes(WINDOW_BYTES)
            yield b"x"

        async with asked(sent(), call) as (worker, home, accepted, _, answers):
            answer = asyncio.ensure_future(anext(answers))
            await asyncio.sleep(0)
            for _ in range(2):
                call.read()
            await settled(home, worker)
            assert accepted.count == 2
            home.abort()
            await asyncio.wait([answer])
            assert accepted.count == 0
            assert answer.exception() is not None

    uvloop.run(run())


def test_a_stream_that_ends_is_waited_for_no_longer() -> None:
    async def run() -> None:
        call = Call()

        async def sent() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"
            await asyncio.Event().wait()

        async with asked(call.reading(sent()), call) as (worker, home, accepted, _, answers):
            answer = asyncio.ensure_future(anext(answers))
            await settled(home, worker)
            assert accepted.count == 2
            answer.cancel()
            await asyncio.wait([answer])
            assert accepted.count == 0

    uvloop.run(run())


class Client:
    """Sends a body in parts: a first one, and others of one byte each, the last of them not before `rest`."""

    def __init__(self, size: int, others: int = 1) -> None:
        self.scope = make_scope("POST", b"/", b"", [(b"content-length", b"%d" % (size + others))])
        self.scope[COMING_BODY] = self.coming = ComingBody()
        self.rest = asyncio.Event()
        self._parts = [bytes(size), *([b"x"] * others)]
        self.heads: list[Message] = []
        self.answered = asyncio.Event()

    async def receive(self) -> Message:
        if len(self._parts) == 1:
            await self.rest.wait()
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Message) -> None:
        self.heads.append(message)
        self.answered.set()


def test_a_body_is_in_time_when_all_of_it_is_and_counts_until_its_answer_begins() -> None:
    async def run() -> None:
        accepted, at_home = Accepted(), Home()
        async with linked() as (worker, home):
            at_home.serve(home)
            await open_both(worker, home)
            app = ForwardingApp(worker, accepted)
            # The end of the first one is there, and waits for the home to take what stands before it.
            clients = [Client(WINDOW_BYTES), Client(1)]
            tasks = [asyncio.ensure_future(app(each.scope, each.receive, each.send)) for each in clients]
            clients[0].rest.set()
            await settled(home, worker)
            accepted.open = False
            clients[1].rest.set()
            await settled(home, worker)
            assert (accepted.count, at_home.seen) == (1, [])
            at_home.may_read.set()
            await settled(home, worker)
            assert (accepted.count, sorted(at_home.seen)) == (1, [False, True])
            at_home.may_take.set()
            await clients[0].answered.wait()
            assert accepted.count == 0
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    uvloop.run(run())


def test_the_end_of_a_body_is_in_time_where_a_part_before_it_waits_for_room() -> None:
    """Its connection has read it, and the application has not asked for it yet."""

    async def run() -> None:
        accepted, at_home = Accepted(), Home()
        async with linked() as (worker, home):
            at_home.serve(home)
            await open_both(worker, home)
            app = ForwardingApp(worker, accepted)
            in_time, late, left = clients = [Client(WINDOW_BYTES, 2) for _ in range(3)]
            tasks = [asyncio.ensure_future(app(each.scope, each.receive, each.send)) for each in clients]
            await settled(home, worker)
            assert accepted.count == 0
            in_time.coming.end()
            assert accepted.count == 1
            # One that is given up is not counted, whenever its end comes.
            tasks[2].cancel()
            await asyncio.wait(tasks[2:])
            left.coming.end()
            accepted.open = False
            late.coming.end()
            assert accepted.count == 1
            for each in (in_time, late):
                each.rest.set()
            at_home.may_read.set()
            await settled(home, worker)
            # The home has heard of the third one's end, too.
            assert (accepted.count, sorted(at_home.seen)) == (1, [False, False, True])
            at_home.may_take.set()
            await in_time.answered.wait()
            assert accepted.count == 0
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    uvloop.run(run())


def test_what_comes_once_the_home_is_gone_is_not_waited_for() -> None:
    async def run() -> None:
        accepted = Accepted()
        async with linked() as (worker, home):
            Answering(NOTHING, None, (), InflightBytes(sys.maxsize)).serve(home)
            await open_both(worker, home)
            app = ForwardingApp(worker, accepted)
            client = Client(1)
            client.rest.set()
            home.abort()
            await worker.closed
            await app(client.scope, client.receive, client.send)
            assert client.heads[0]["status"] == 503
            assert accepted.count == 0

    uvloop.run(run())
