"""The loops and connections against servers that behave in every way that HTTP allows, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from kserve_v2.bench.arrivals import Arrivals
from kserve_v2.bench.connect import sender_to
from kserve_v2.bench.encoding import Prepared
from kserve_v2.bench.load import (
    NOT_SENT,
    OTHER_REASONS,
    TOO_SLOW,
    ClosedLoop,
    OpenLoop,
    Round,
    run_round,
    taken_together,
)
from kserve_v2.bench.measure import Plan, Point, Seen, ratios
from kserve_v2.bench.results import Result, results_of
from kserve_v2.bench.sender import Outcome
from kserve_v2.bench.target import parse_target

REQUEST = Prepared((b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",), rows=3)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Reply = Callable[[int], bytes]


@asynccontextmanager
async def answering(reply: Reply) -> AsyncIterator[str]:
    """A server that answers its n-th request, from 0, with `reply(n)`, whole or in pieces; an answer that says so, or that
    is empty, ends the connection.
    """
    numbers = count()
    tasks = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        tasks.add(task)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = reply(next(numbers))
                # Byte by byte: an answer may be cut anywhere.
                for byte in answer:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
                if not answer or b"close" in answer.lower() or b"HTTP/1.0" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def outcomes(reply: Reply, number: int) -> tuple[list[Outcome], int]:
    """Of so many requests over one connection, and how often it was opened again."""

    async def ask() -> tuple[list[Outcome], int]:
        async with answering(reply) as url:
            connection = sender_to(parse_target(url), 30)
            found = [await connection.ask(REQUEST.bytes(b"")) for _ in range(number)]
            await connection.close()
            return found, connection.reconnects

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("answer", "reconnects"),
    [
        (OK, 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 0),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 2),
        (b"HTTP/1.0 200 OK\r\n\r\nends with the connection", 2),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nends with the connection", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
    ],
)
def test_right_answers_in_all_their_forms(answer: bytes, reconnects: int) -> None:
    assert outcomes(lambda _: answer, 3) == ([None] * 3, reconnects)


def test_failures_have_reasons_and_the_next_request_is_sent_all_the_same() -> None:
    refusal = b'{"error": "exceeds maximum queue size\\nand more"}'
    answers = [
        b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s" % (len(refusal), refusal),
        OK,
        b"",
        OK,
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\nclose",
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nclose",
        OK,
    ]
    found, reconnects = outcomes(lambda number: answers[number], len(answers))
    assert found == [
        "HTTP 503: exceeds maximum queue size",
        None,
        "the server closed the connection before it answered",
        None,
        "HTTP 500",
        found[5],
        None,
        "the server closed the connection before it answered",
        None,
    ]
    assert str(found[5]).startswith("no HTTP answer")
    assert reconnects == 3


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one() -> None:
    async def ask() -> tuple[Outcome, Outcome, int]:
        async with answering(lambda number: OK if number else OK[:-1]) as url:
            connection = sender_to(parse_target(url), 0.1)
            first = await connection.ask(REQUEST.bytes(b""))
            connection.timeout_s = 30
            second = await connection.ask(REQUEST.bytes(b""))
            await connection.close()
            # It was us who closed the connection.
            return first, second, connection.reconnects

    assert asyncio.run(ask()) == ("no answer within 0.1 s", None, 0)


def test_a_server_that_is_not_there() -> None:
    async def ask() -> Outcome:
        async with answering(lambda _: OK) as url:
            pass
        return await sender_to(parse_target(url), 30).ask(b"x")

    assert str(asyncio.run(ask())).startswith("cannot connect: ")


class Scripted:
    """A sender whose answers take so long; the n-th one of all fails if `fails(n)`."""

    numbers: Iterator[int]

    def __init__(self, work: Callable[[], Awaitable[Outcome]]) -> None:
        self.reconnects = 0
        self._work = work

    async def open(self) -> None:
        pass

    async def ask(self, request: bytes) -> Outcome:
        return await self._work()

    async def close(self) -> None:
        pass


def requests() -> Iterator[tuple[Prepared, bytes]]:
    while True:
        yield REQUEST, REQUEST.bytes(b"")


def test_in_a_closed_loop_each_connection_waits_for_its_answer() -> None:
    most = now = 0

    async def work() -> Outcome:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return None

    seen = asyncio.run(run_round(ClosedLoop(3), [Scripted(work) for _ in range(3)], requests(), 0.02, 0.5, 1))
    assert most == 3
    assert seen.answers > 0
    assert seen.rows == 3 * seen.answers
    assert seen.latency.least >= 1_000_000
    assert seen.all_answers >= seen.answers
    assert not seen.errors


def test_an_open_loop_counts_from_the_time_at_which_a_request_was_meant_to_be_sent() -> None:
    async def stopped() -> tuple[Round, int]:
        release = asyncio.Event()
        asked = 0

        async def work() -> Outcome:
            nonlocal asked
            asked += 1
            await release.wait()
            return None

        asyncio.get_running_loop().call_later(0.5, release.set)
        load = OpenLoop(100, Arrivals.CONSTANT, connections=1)
        return await run_round(load, [Scripted(work)], requests(), 0.0, 0.3, 1), asked

    seen, asked = asyncio.run(stopped())
    # The one connection hangs for half a second from the first request on: each of the 30 that were due pays for it.
    assert asked == 30
    assert seen.latency.count == 30
    assert seen.latency.least >= 0.2e9
    assert seen.latency.largest >= 0.5e9
    assert seen.answers == 0
    assert seen.all_answers == 30


def test_what_an_overloaded_server_never_gets_is_an_error() -> None:
    async def stopped() -> Round:
        async def work() -> Outcome:
            await asyncio.sleep(1.5)
            return None

        load = OpenLoop(100, Arrivals.CONSTANT, connections=1)
        return await run_round(load, [Scripted(work)], requests(), 0.0, 0.1, 1)

    seen = asyncio.run(stopped())
    assert seen.errors == {NOT_SENT: 9}
    assert seen.all_answers == 1


def test_of_a_rate_that_nobody_can_keep_up_with_each_request_has_an_outcome() -> None:
    async def stopped() -> Round:
        async def work() -> Outcome:
            await asyncio.sleep(1.2)
            return None

        load = OpenLoop(300_000, Arrivals.CONSTANT, connections=2)
        return await run_round(load, [Scripted(work), Scripted(work)], requests(), 0.0, 0.1, 1)

    seen = asyncio.run(stopped())
    assert seen.all_answers == 2
    assert seen.errors.total() == 30_000 - 2
    assert set(seen.errors) <= {NOT_SENT, TOO_SLOW}


def test_however_many_reasons_there_are_memory_is_bounded_and_none_is_lost() -> None:
    seen = Round()
    for number in range(100):
        seen.fail(f"reason {number}")
    assert len(seen.errors) == 21
    assert seen.errors[OTHER_REASONS] == 80
    both = taken_together([seen, seen])
    assert both.errors.total() == 200


def point(name: str, *rates: int) -> Point:
    found = Point(name, ClosedLoop(1))
    for rate in rates:
        seen = Round(seconds=1.0, answers=rate, all_answers=rate)
        seen.latency.add(1_000_000)
        found.rounds.append(Seen(seen, None, 0.5))
    return found


def test_servers_are_compared_round_by_round() -> None:
    # The machine is half as fast in the third round, for both.
    points = [point("a", 1, 100, 100, 50), point("b", 1, 200, 150, 100)]
    assert ratios(points) == [1, 2]
    [first, second] = results_of([points], Plan([ClosedLoop(1)]))
    assert (first.ratio, second.ratio) == (1, 2)
    assert second.requests_per_second == 150
    assert second.server_cpu_us == pytest.approx(1.5e6 / 450)
    assert not second.stable
    assert isinstance(first, Result)


def test_a_round_without_answers_is_no_division_by_zero() -> None:
    [[result]] = [results_of([[point("a", 0, 0, 0)]], Plan([ClosedLoop(1)]))]
    assert result.server_cpu_us is None
    assert result.requests_per_second == 0
    assert "no answers" in result.warnings[0]
