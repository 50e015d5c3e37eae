"""What a fast connection takes of the bytes that come, what it leaves, and what it tells whoever owns the connection."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from itertools import pairwise

import pytest

from kserve_v2.logs.log import Access
from kserve_v2.memory.inflight import COUNTED_BYTES, InflightBytes
from kserve_v2.messages import InferResponse
from kserve_v2.net.answer_text import Parts
from kserve_v2.net.together import Together
from kserve_v2.rest.fast_call import FastCall
from kserve_v2.rest.fast_connection import FastConnection
from kserve_v2.rest.heads import Body, InferHead, InferHeads
from kserve_v2.rest.infer import Asked


def request(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    size = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"POST /v2/models/m/infer HTTP/1.1", b"Host: x", size, *headers, b"", body])


class Waiting(Asked):
    """A request whose answer is made by the test."""

    __slots__ = ()

    def __init__(self) -> None:
        self.ticket = None


class Alone(Together):
    """Each answer has a turn of its own, without a loop."""

    def is_first(self) -> bool:
        return True


class EchoLane:
    """Answers with what was sent, at once or when `answer` is called."""

    log_access = False

    def __init__(self) -> None:
        self.heads = InferHeads(10 * COUNTED_BYTES)
        self.inflight = InflightBytes(3 * COUNTED_BYTES)
        self.together: Together = Alone()
        self.open = True
        self.waits = False
        self.large: Parts | None = None
        self.waiting: list[tuple[Waiting, bytes]] = []

    def takes(self, head: InferHead) -> bool:
        return self.open

    def infer(self, head: InferHead, body: Body, *, access: Access | None = None) -> Parts | Asked:
        if not self.waits:
            return self._text(bytes(body))
        self.waiting.append((Waiting(), bytes(body)))
        return self.waiting[-1][0]

    def succeed(self, response: InferResponse, asked: Asked, *, access: Access | None) -> Parts:
        (body,) = [body for waiting, body in self.waiting if waiting is asked]
        return self._text(body)

    def answer(self) -> None:
        waiting, _ = self.waiting[-1]
        waiting.take(InferResponse("m", "1", "", {}))

    def _text(self, body: bytes) -> Parts:
        return (answer(body),) if self.large is None else self.large


def answer(body: bytes, more: bytes = b"") -> bytes:
    return b"<>%b\r\n\r\n%b" % (more, body)


CLOSES = b"\r\nconnection: close"


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closing = False
        # How much the socket takes.
        self.room = 2**40

    def get_write_buffer_size(self) -> int:
        return max(0, len(self.sent) - self.room)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


class Owner:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begun(self, call: FastCall, *, complete: bool) -> None:
        self.told.append("begun" if complete else "begun, incomplete")

    def read_more(self) -> None:
        self.told.append("more")

    def read_all(self) -> None:
        self.told.append("all")

    def ended(self, call: FastCall) -> None:
        self.told.append("ended")

    def answered(self) -> None:
        self.told.append("answered")

    def refuse(self, status: HTTPStatus, message: str) -> None:
        self.told.append(f"refused, {status.value}")


class Fast:
    """One connection with all that is around it."""

    def __init__(self) -> None:
        self.lane, self.owner, self.wire = EchoLane(), Owner(), Wire()
        self.connection = FastConnection(self.lane, self.owner, asyncio.Protocol())
        self.connection.connect(self.wire)

    def take(self, *parts: bytes) -> bytes:
        """What is left of the last part; the others are taken to the end."""
        for part in parts[:-1]:
            assert self.connection.take(part) == b""
        return self.connection.take(parts[-1])


@pytest.fixture
def fast() -> Fast:
    return Fast()


def test_requests_that_are_answered_at_once(fast: Fast) -> None:
    for number, more in enumerate([b"X-Id: 1", b"X-Id: 1", b"X-Id: 2", b"X-Id: 1"]):
        assert fast.take(request(b"body %d" % number, more)) == b""
    assert fast.wire.sent == b"".join(answer(b"body %d" % number) for number in range(4))
    assert fast.owner.told == ["answered"] * 4


def test_the_same_head_with_bodies_of_other_lengths(fast: Fast) -> None:
    """A head that is known by its bytes says how long the body is; no other follows from it."""
    usual = request(b"body")
    for _ in range(2):
        assert fast.take(usual + b"POST") == b"POST"
    assert fast.take(request(b"bodies")) == b""
    assert fast.take(usual) == b""
    assert fast.wire.sent == b"".join(map(answer, (b"body", b"body", b"bodies", b"body")))


@pytest.mark.parametrize("other", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", request(b"body")[:30]])
def test_what_is_no_request_for_it_is_left_untouched(fast: Fast, other: bytes) -> None:
    fast.take(request(b"body"))
    assert fast.connection.take(other) is other
    assert fast.owner.told == ["answered"]


def test_what_has_to_be_asked_each_time_is(fast: Fast) -> None:
    usual = request(b"body")
    assert fast.take(usual) == b""
    fast.lane.open = False
    assert fast.connection.take(usual) is usual
    assert fast.wire.sent == answer(b"body")


@pytest.mark.parametrize("cuts", [(0,), (1,), (3,), (1, 2, 3), (0, 1, 2, 3)])
def test_a_body_in_parts(fast: Fast, cuts: Sequence[int]) -> None:
    data = request(b"body")
    places = [0, *(len(data) - 4 + cut for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(places)]
    for _ in range(2):
        assert fast.take(*parts[:-1], parts[-1] + b"more") == b"more"
        assert not fast.connection.reads
    assert fast.wire.sent == answer(b"body") * 2
    assert fast.owner.told[: len(cuts) + 4] == [
        "begun, incomplete", *["more"] * len(cuts), "all", "ended", "answered"
    ]  # fmt: skip


class Crowd:
    """Connections whose requests come in one turn of the loop, all of them or but for one."""

    def __init__(self, size: int) -> None:
        together = Together()
        self.connections = [Fast() for _ in range(size)]
        for each in self.connections:
            each.lane.together = together

    @property
    def answered(self) -> list[int]:
        """How many answers each has."""
        return [each.wire.sent.count(b"<>") for each in self.connections]

    def take(self, *headers: bytes) -> None:
        for number, each in enumerate(self.connections):
            assert each.take(request(b"body %d" % number, *headers)) == b""


async def next_turn() -> None:
    """Callbacks that are called by callbacks, too."""
    for _ in range(2):
        await asyncio.sleep(0)


def test_answers_of_one_turn_are_sent_at_its_end_but_for_the_first() -> None:
    crowd = Crowd(3)

    async def run() -> None:
        for turn in range(3):
            crowd.take()
            assert crowd.answered == [turn + 1, turn, turn]
            await next_turn()
            assert crowd.answered == [turn + 1] * 3

    asyncio.run(run())
    for number, each in enumerate(crowd.connections):
        assert each.wire.sent == answer(b"body %d" % number) * 3
        assert each.owner.told == (["begun", "ended"] * (number > 0) + ["answered"]) * 3


def test_until_the_end_of_the_turn_a_request_is_under_way() -> None:
    """Its client may leave. If the server's time to exit ends, it has its answer, which is there: each once."""
    crowd = Crowd(4)
    _, leaves, ends, last = crowd.connections

    async def run() -> None:
        crowd.take(b"Connection: close")
        leaves.connection.give_up()
        ends.connection.abandon()
        assert not last.wire.closing
        await next_turn()

    asyncio.run(run())
    assert (leaves.wire.sent, leaves.owner.told) == (b"", ["begun", "ended"])
    assert ends.wire.sent == answer(b"body 2", CLOSES)
    assert ends.owner.told == ["begun", "ended", "answered"]
    assert last.wire.sent == answer(b"body 3", CLOSES)
    assert last.wire.closing


def test_behind_a_request_there_may_be_another_one() -> None:
    """Then it is answered at once: the next one is not to wait for it."""
    crowd = Crowd(2)

    async def run() -> None:
        for each in crowd.connections:
            assert each.take(request(b"body") + b"next") == b"next"
            assert each.wire.sent == answer(b"body")

    asyncio.run(run())


def test_an_answer_that_is_waited_for(fast: Fast) -> None:
    fast.lane.waits = True
    assert fast.take(request(b"body") + b"next") == b"next"
    assert (fast.wire.sent, fast.owner.told) == (b"", ["begun"])
    fast.lane.answer()
    assert (fast.wire.sent, fast.owner.told) == (answer(b"body"), ["begun", "ended", "answered"])


@pytest.mark.parametrize("waits", [False, True])
def test_the_last_request_of_a_connection(fast: Fast, waits: bool) -> None:
    fast.lane.waits = waits
    fast.take(request(b"body", b"Connection: close"))
    if waits:
        assert not fast.wire.closing
        fast.lane.answer()
    assert fast.wire.sent == answer(b"body", CLOSES)
    assert fast.wire.closing


def test_a_client_that_leaves(fast: Fast) -> None:
    fast.lane.waits = True
    fast.take(request(b"body"))
    fast.connection.give_up()
    fast.lane.answer()
    assert fast.wire.sent == b""
    fast.connection.give_up()


def test_a_body_that_does_not_come(fast: Fast) -> None:
    size = 2 * COUNTED_BYTES
    fast.take(request(b"", length=size), b"b" * COUNTED_BYTES)
    assert fast.lane.inflight.has_room(2 * COUNTED_BYTES)
    assert not fast.lane.inflight.has_room(2 * COUNTED_BYTES + 1)
    fast.connection.discard(HTTPStatus.REQUEST_TIMEOUT)
    assert fast.lane.inflight.has_room(3 * COUNTED_BYTES)
    assert not fast.connection.reads


def test_a_body_without_room_is_read_to_its_end(fast: Fast) -> None:
    """The client has its answer then, and the connection goes on."""
    size = 4 * COUNTED_BYTES
    fast.take(request(b"", length=size), *[b"b" * COUNTED_BYTES] * 4)
    assert fast.wire.sent.startswith(b"HTTP/1.1 503 ")
    assert fast.lane.inflight.has_room(3 * COUNTED_BYTES)
    fast.wire.sent = b""
    assert fast.take(request(b"body")) == b""
    assert fast.wire.sent == answer(b"body")


LARGE: Parts = (b"<>\r\n\r\n", memoryview(bytes(range(256)) * 2**13), b"", b"e" * 2**20)
WHOLE = b"".join(LARGE)
TURN_BYTES = 2**18


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_while_a_large_answer_is_sent_others_have_their_turns(fast: Fast, waits: bool, closes: bool) -> None:
    """What comes behind it on the same connection waits; another connection is answered between two turns."""
    fast.lane.waits, fast.lane.large = waits, LARGE
    other = Fast()

    async def run() -> None:
        fast.take(request(b"body", *([b"Connection: close"] if closes else [])))
        if waits:
            fast.lane.answer()
        turns = 0
        while len(fast.wire.sent) < len(WHOLE):
            assert fast.owner.told == ["begun"]
            assert not fast.wire.closing
            assert len(fast.wire.sent) <= (turns + 1) * 2 * TURN_BYTES
            other.take(request(b"body %d" % turns))
            turns += 1
            await asyncio.sleep(0)
        assert turns >= len(WHOLE) // (2 * TURN_BYTES)
        assert other.owner.told == ["answered"] * turns
        await asyncio.sleep(0)

    asyncio.run(run())
    assert fast.wire.sent == (answer(WHOLE[6:], CLOSES) if closes else WHOLE)
    assert fast.owner.told == ["begun", "ended", "answered"]
    assert fast.wire.closing is closes


def test_a_socket_that_is_full_gets_the_rest(fast: Fast) -> None:
    """It says how much is copied at a time from then on."""
    fast.lane.large, fast.wire.room = LARGE, TURN_BYTES

    async def run() -> None:
        fast.take(request(b"body"))
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert fast.wire.sent == WHOLE
    assert fast.owner.told == ["begun", "ended", "answered"]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_large_answer_that_is_cut_short(fast: Fast, leaves: bool) -> None:
    """By the client, or by the end of the time to exit: then all the rest is handed over."""
    fast.lane.large = LARGE

    async def run() -> None:
        fast.take(request(b"body"))
        if leaves:
            fast.connection.give_up()
        else:
            fast.connection.abandon()
        for _ in range(30):
            await asyncio.sleep(0)

    asyncio.run(run())
    if leaves:
        assert len(fast.wire.sent) <= 2 * TURN_BYTES
        assert fast.owner.told == ["begun"]
    else:
        assert fast.wire.sent == WHOLE
        assert fast.owner.told == ["begun", "ended", "answered"]
