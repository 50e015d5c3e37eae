"""Reading to a place, and what comes after it, on both event loops."""

import asyncio
import ssl
import struct
from collections.abc import Callable, Coroutine
from socket import create_connection
from typing import Any

import pytest
import trustme
import uvloop

from kserve_v2.net.read_in_place import LARGE_BYTES, ReadInPlace

PREFIX = struct.Struct(">I")
SHORT_BYTES = 16 * 1024
LARGE = 10 * LARGE_BYTES

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Receiver(asyncio.Protocol):
    """Takes messages with their lengths before them, and has the rest of a large one read in place."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.reads: list[int] = []
        # How many reads there had been when a message was read to its place.
        self.placed_after: list[int] = []
        self.heard: list[str] = []
        self.resumed = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._more = asyncio.Event()
        self._data = b""

    async def until(self, count: int) -> None:
        """Wait for so many messages."""
        while len(self.messages) < count:
            self._more.clear()
            await self._more.wait()

    def take(self, message: bytes) -> None:
        """A message is complete."""
        self.messages.append(message)
        self._more.set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.reads.append(len(data))
        self._data += data
        while len(self._data) >= PREFIX.size:
            [size] = PREFIX.unpack_from(self._data)
            message, rest = self._data[PREFIX.size :][:size], self._data[PREFIX.size + size :]
            if len(message) == size:
                self.take(message)
                self._data = rest
                continue
            if size - len(message) >= LARGE_BYTES:
                self._data = b""
                Rest(self, message, size).begin()
            return

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")
        self.resumed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Rest(ReadInPlace):
    """The rest of a message."""

    def __init__(self, receiver: Receiver, beginning: bytes, size: int) -> None:
        self.receiver = receiver
        self.whole = memoryview(bytearray(beginning + bytes(size - len(beginning))))
        super().__init__(receiver, receiver.transport, self.whole[len(beginning) :])

    def more(self, nbytes: int) -> None:
        # libuv reads up to 32 times as much in one turn of the loop.
        assert 0 < nbytes <= 64 * 1024
        if not self._place:
            self.receiver.placed_after.append(len(self.receiver.reads))
            self.receiver.take(bytes(self.whole))


def message(size: int) -> bytes:
    """A message that is not like another one."""
    return PREFIX.pack(size) + bytes((size + at) % 251 for at in range(min(size, 999))).ljust(size, b"x")


def serve(
    loop: str,
    act: Callable[[Receiver, int], Coroutine[Any, Any, None]],
    tls: ssl.SSLContext | None = None,
) -> Receiver:
    """Let `act` be a client, given the connection and the port that it is to connect to."""

    async def run() -> Receiver:
        here = asyncio.get_running_loop()
        receiver = Receiver()
        server = await here.create_server(lambda: receiver, "127.0.0.1", 0, ssl=tls)
        async with server:
            await asyncio.wait_for(act(receiver, server.sockets[0].getsockname()[1]), 60)
        return receiver

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(run())


def received(loop: str, sizes: list[int]) -> Receiver:
    """What comes of messages of these sizes, all sent at once."""

    def send(port: int) -> None:
        with create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"".join(map(message, sizes)))

    async def act(receiver: Receiver, port: int) -> None:
        await asyncio.get_running_loop().run_in_executor(None, send, port)
        assert await receiver.lost is None

    return serve(loop, act)


SIZES = (
    [LARGE],
    [LARGE, LARGE, 5, LARGE],
    [LARGE, *([LARGE_BYTES - 1] * 30), LARGE],
    [LARGE, *([SHORT_BYTES - PREFIX.size] * 3), LARGE_BYTES, LARGE_BYTES + SHORT_BYTES, 0, LARGE],
    [LARGE, *range(3000), LARGE],
)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sizes", SIZES)
def test_messages_of_any_size_one_behind_the_other(loop: str, sizes: list[int]) -> None:
    receiver = received(loop, sizes)
    assert [len(each) for each in receiver.messages] == sizes
    assert receiver.messages == [message(size)[PREFIX.size :] for size in sizes]
    assert receiver.placed_after


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("together", [True, False])
def test_messages_over_tls(loop: str, sizes: list[int], together: bool) -> None:
    authority = trustme.CA()
    tls, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(trusting)
    messages = [message(size) for size in sizes]

    def send(port: int) -> None:
        with (
            create_connection(("127.0.0.1", port)) as connection,
            trusting.wrap_socket(connection, server_hostname="localhost") as client,
        ):
            for data in [b"".join(messages)] if together else messages:
                client.sendall(data)
            # To leave with something unread, as are session tickets, would take back what has not been read here.
            client.settimeout(60)
            client.unwrap()

    async def act(receiver: Receiver, port: int) -> None:
        await asyncio.get_running_loop().run_in_executor(None, send, port)
        await receiver.lost

    receiver = serve(loop, act, tls)
    assert receiver.messages == [message[PREFIX.size :] for message in messages]
    assert receiver.placed_after


@pytest.mark.parametrize("loop", LOOPS)
def test_after_a_large_message_little_is_read_of_the_next(loop: str) -> None:
    receiver = received(loop, [LARGE, LARGE, LARGE])
    first, *others = receiver.placed_after
    assert receiver.messages == [message(LARGE)[PREFIX.size :]] * 3
    assert others == [first + 1, first + 2]
    assert max(receiver.reads[first:]) <= SHORT_BYTES


@pytest.mark.parametrize("loop", LOOPS)
def test_after_a_few_short_reads_all_is_as_before(loop: str) -> None:
    async def act(receiver: Receiver, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message(LARGE))
        await receiver.until(1)
        deputy = receiver.transport.get_protocol()
        for number in range(2, 10):
            assert receiver.transport.get_protocol() is deputy is not receiver
            writer.write(message(3))
            await receiver.until(number)
        assert receiver.transport.get_protocol() is receiver
        writer.close()
        assert await receiver.lost is None

    serve(loop, act)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_that_idles_has_no_buffer(loop: str) -> None:
    async def act(receiver: Receiver, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message(LARGE))
        await receiver.until(1)
        writer.write(message(3))
        await receiver.until(2)
        deputy: Any = receiver.transport.get_protocol()
        assert not deputy._buffer
        writer.close()
        assert await receiver.lost is None

    serve(loop, act)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_connection_hears_of_all_else(loop: str) -> None:
    """That much is to be written, that it has been, and that the client has left."""

    async def act(receiver: Receiver, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message(LARGE))
        await receiver.until(1)
        receiver.transport.write(bytes(2**24))
        assert receiver.heard == ["pause"]
        await reader.readexactly(2**24)
        await receiver.resumed.wait()
        assert receiver.heard == ["pause", "resume"]
        writer.close()
        assert await receiver.lost is None

    serve(loop, act)
