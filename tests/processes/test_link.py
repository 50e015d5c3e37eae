"""Links: who gets which answer, and what becomes of who waits when the other side is gone."""

import asyncio
import gc
import weakref

import pytest
import uvloop

from kserve_v2.errors import (
    InternalError,
    InvalidArgumentError,
    OverloadedError,
    ResourceExhaustedError,
    ServingError,
    UnavailableError,
    UnfinishedError,
)
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.processes.frames import PIECE_BYTES, Payload
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link, Party
from tests.processes.ends import linked, open_both

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@LOOPS
def test_each_call_gets_its_own_answer(run: object) -> None:
    """1000 at a time, both ways, of all sizes, answered out of order."""

    async def calls() -> None:
        async with linked() as (worker, home):
            turn = asyncio.Event()

            async def later(payload: Payload) -> bytes:
                if payload[0] % 3 == 0:
                    await turn.wait()
                return b"later " + bytes(payload)

            for link in (worker, home):
                link.on(Kind.HTTP, lambda payload: b"at once " + bytes(payload))
                link.on(Kind.RPC, later)
            await open_both(worker, home)
            asked, expected = [], []
            for number in range(1000):
                payload = bytes([number % 251]) * (number * (997 if number % 50 == 0 else 1))
                payload = bytes([number % 251]) + number.to_bytes(4, "little") + payload
                link = (worker, home)[number % 2]
                kind = (Kind.HTTP, Kind.RPC)[number // 2 % 2]
                asked.append(asyncio.ensure_future(link.call(kind, payload)))
                expected.append((b"at once " if kind is Kind.HTTP else b"later ") + payload)
            await asyncio.sleep(0)
            turn.set()
            assert await asyncio.gather(*asked) == expected

    run(calls())


def test_notes_and_calls_are_taken_in_order() -> None:
    async def notes() -> list[bytes]:
        taken: list[bytes] = []
        async with linked() as (worker, home):
            home.on(Kind.HTTP, lambda payload: taken.append(bytes(payload[:3])))
            await open_both(worker, home)
            for number in range(100):
                size = 3 * PIECE_BYTES if number == 50 else 10
                worker.notify(Kind.HTTP, b"%03d" % number + bytes(size))
            await worker.call(Kind.HTTP, b"end")
            # The call is an exchange of its own, and small.
            while len(taken) < 101:
                await worker.call(Kind.HTTP, b"...")
        return [each for each in taken if each.isdigit()]

    assert uvloop.run(notes()) == [b"%03d" % number for number in range(100)]


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgumentError("näme is wrong"),
        UnfinishedError("lost"),
        UnavailableError("full"),
        OverloadedError(""),
    ],
)
def test_an_error_is_the_same_on_the_other_side(error: ServingError) -> None:
    async def told() -> tuple[BaseException, BaseException]:
        async def late(_: Payload) -> bytes:
            await asyncio.sleep(0)
            raise error

        def at_once(_: Payload) -> bytes:
            raise error

        async with linked() as (worker, home):
            home.on(Kind.HTTP, at_once)
            home.on(Kind.RPC, late)
            await open_both(worker, home)
            found = await asyncio.gather(
                worker.call(Kind.HTTP), worker.call(Kind.RPC), return_exceptions=True
            )
            assert await asyncio.gather(worker.call(Kind.RPC), return_exceptions=True)
            return found[0], found[1]

    for found in uvloop.run(told()):
        assert type(found) is type(error)
        assert found.message == error.message


def test_a_defect_is_one_call_s_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def told() -> None:
        async with linked() as (worker, home):
            home.on(Kind.HTTP, lambda payload: b"%d" % (1 // len(payload)))
            await open_both(worker, home)
            worker.notify(Kind.HTTP)
            with pytest.raises(InternalError, match="internal error: the server's log has the details"):
                await worker.call(Kind.HTTP)
            assert await worker.call(Kind.HTTP, b"x") == b"1"

    uvloop.run(told())
    assert caplog.text.count("ZeroDivisionError") == 2


@pytest.mark.parametrize("end", ["close", "abort"])
def test_who_waits_is_told_when_the_other_side_is_gone(end: str) -> None:
    async def told() -> None:
        worker, home = Link(home=False), Link(home=True)
        all_begun, cancelled = asyncio.Event(), asyncio.Event()
        begun: list[Payload] = []

        async def never(payload: Payload) -> bytes:
            begun.append(payload)
            if len(begun) == 21:
                all_begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return b""

        home.on(Kind.HTTP, never)
        worker.on(Kind.HTTP, never)
        await open_both(worker, home)
        calls = [asyncio.ensure_future(worker.call(Kind.HTTP, bytes(10 * PIECE_BYTES))) for _ in range(20)]
        calls.append(asyncio.ensure_future(home.call(Kind.HTTP)))
        await all_begun.wait()
        getattr(home, end)()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in outcomes} == {UnfinishedError}
        await asyncio.gather(worker.closed, home.closed, cancelled.wait())
        for link in (worker, home):
            with pytest.raises(UnavailableError, match="is gone"):
                await link.call(Kind.HTTP)
            link.notify(Kind.HTTP)

    uvloop.run(told())


def test_who_gives_up_has_the_work_cancelled() -> None:
    async def given_up() -> None:
        async with linked() as (worker, home):
            begun, cancelled = asyncio.Event(), asyncio.Event()

            async def never(_: Payload) -> bytes:
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
                return b""

            home.on(Kind.HTTP, never)
            home.on(Kind.RPC, bytes)
            await open_both(worker, home)
            call = asyncio.ensure_future(worker.call(Kind.HTTP))
            await begun.wait()
            call.cancel()
            await cancelled.wait()
            # One whose payload, or answer, is on its way goes no further.
            for kind in (Kind.HTTP, Kind.RPC):
                for turns in range(30):
                    large = asyncio.ensure_future(worker.call(kind, bytes(20 * PIECE_BYTES)))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    large.cancel()
            assert await worker.call(Kind.RPC, b"next") == b"next"
            for link in (worker, home):
                while link._reader._incoming or link._turns or link._parties:
                    await worker.call(Kind.RPC)

    uvloop.run(given_up())


def test_large_payloads_are_counted_while_they_come() -> None:
    async def counted() -> None:
        inflight = InflightBytes(8 * PIECE_BYTES)
        async with linked(inflight) as (worker, home):
            home.on(Kind.HTTP, lambda payload: b"%d" % len(payload))
            await open_both(worker, home)
            size = 5 * PIECE_BYTES
            calls = [worker.call(Kind.HTTP, bytes(size)) for _ in range(4)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert outcomes[0] == b"%d" % size
            assert {type(each) for each in outcomes[1:]} <= {bytes, OverloadedError}
            assert any(isinstance(each, OverloadedError) for each in outcomes)
            with pytest.raises(ResourceExhaustedError, match="max-inflight-bytes"):
                await worker.call(Kind.HTTP, bytes(9 * PIECE_BYTES))
            assert await worker.call(Kind.HTTP, bytes(size)) == b"%d" % size
            assert inflight.used == 0

    uvloop.run(counted())


class Echo(Party):
    """Sends messages back, one credit each."""

    def __init__(self, link: Link, number: int) -> None:
        self.link, self.number = link, number

    def message(self, kind: int, payload: Payload) -> None:
        self.link.credit(self.number, len(payload))
        self.link.send(self.number, kind, (payload,))

    def ended(self) -> None:
        self.link.answer(self.number, (b"done",))


class Collecting(Party):
    def __init__(self) -> None:
        self.found: list[tuple[int, bytes]] = []
        self.credit = 0
        self.over: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def message(self, kind: int, payload: Payload) -> None:
        assert not self.over.done()
        self.found.append((kind, bytes(payload)))

    def credited(self, size: int) -> None:
        self.credit += size

    def answered(self, payload: Payload) -> None:
        self.over.set_result(bytes(payload))


def test_messages_of_an_exchange_come_in_order_and_before_its_answer() -> None:
    async def exchanged() -> None:
        async with linked() as (worker, home):
            home.on_ask(Kind.RPC_STREAM, lambda number, payload: home.join(number, Echo(home, number)))
            await open_both(worker, home)
            sizes = [3, 4 * PIECE_BYTES, 0, 1, 2 * PIECE_BYTES, 20_000]
            messages = [(number, bytes([number]) * size) for number, size in enumerate(sizes)]
            asked = [Collecting() for _ in range(5)]
            for party in asked:
                number = worker.ask(Kind.RPC_STREAM, (b"",), party)
                for kind, message in messages:
                    worker.send(number, kind, (message[:2], message[2:]))
                worker.end(number)
            for party in asked:
                assert await party.over == b"done"
                assert party.found == messages
                assert party.credit == sum(sizes)

    uvloop.run(exchanged())


def test_numbers_begin_again_and_pass_over_those_in_use() -> None:
    async def numbered() -> None:
        async with linked() as (worker, home):
            home.on(Kind.HTTP, lambda payload: payload)
            home.on_ask(Kind.RPC_STREAM, lambda number, payload: home.join(number, Echo(home, number)))
            await open_both(worker, home)
            party = Collecting()
            first = worker.ask(Kind.RPC_STREAM, (), party)
            worker._numbers = iter([2**32 - 3, 2**32 - 1])
            calls = [worker.call(Kind.HTTP, b"%d" % each) for each in range(3)]
            assert await asyncio.gather(*calls) == [b"0", b"1", b"2"]
            worker.end(first)
            assert await party.over == b"done"

    uvloop.run(numbered())


def test_nothing_of_a_link_is_left_when_it_is_closed() -> None:
    async def left() -> "weakref.ref[Link]":
        async with linked() as (worker, home):
            home.on(Kind.HTTP, lambda payload: payload)
            await open_both(worker, home)
            await worker.call(Kind.HTTP, bytes(3 * PIECE_BYTES))
            return weakref.ref(worker)

    link = uvloop.run(left())
    gc.collect()
    assert link() is None
