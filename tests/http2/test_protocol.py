"""The asyncio side over real sockets, with streams that send back what they get."""

import asyncio
import dataclasses
import socket
from collections.abc import Awaitable, Callable, Sequence

import pytest

from kserve_v2.http2 import frames, headers
from kserve_v2.http2.fields import Field
from kserve_v2.http2.frames import Kind
from kserve_v2.http2.limits import Http2Limits, Rate
from kserve_v2.http2.protocol import Http2Protocol
from kserve_v2.http2.stream import Stream
from tests.http2.peer import POST, EchoStream, body_of, frame, read_frames, request


class Server(Http2Protocol[Sequence[Field]]):
    """A connection that notes how it is written to."""

    def __init__(self, limits: Http2Limits) -> None:
        super().__init__(lambda fields, *_: fields, limits, asyncio.get_running_loop())
        self.lost = asyncio.Event()
        self.writes = 0
        self.hold = False

    def make_stream(self, stream_id: int, head: Sequence[Field]) -> Stream:
        return EchoStream(self.connection, stream_id, hold=self.hold)

    def flush(self) -> None:
        self.writes += bool(self.connection.output.parts)
        super().flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()


Talk = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(do: Talk, limits: Http2Limits | None = None, receive_buffer: int = 0) -> None:
    """Let a client that has introduced itself talk to a server. On asyncio's own loop, which Windows has."""

    async def run() -> None:
        made: list[Server] = []

        def make() -> Server:
            made.append(Server(limits or Http2Limits()))
            return made[0]

        loop = asyncio.get_running_loop()
        listening = await loop.create_server(make, "127.0.0.1", 0)
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        await loop.sock_connect(raw, listening.sockets[0].getsockname())
        reader, writer = await asyncio.open_connection(sock=raw)
        try:
            writer.write(frames.PREFACE + frame(Kind.SETTINGS, 0, b"\0\4\x7f\xff\xff\xff"))
            writer.write(frame(Kind.WINDOW_UPDATE, 0, b"\x7f\0\0\0"))
            await reader.readexactly(9 + 30 + 9 + 4 + 9)
            async with asyncio.timeout(60):
                await do(made[0], reader, writer)
        finally:
            writer.close()
            listening.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    while not condition():  # noqa: ASYNC110 - there is no event for what is tested
        await asyncio.sleep(0)


def test_what_a_read_has_led_to_leaves_in_one_write() -> None:
    async def do(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before = server.writes
        writer.write(b"".join(request(stream_id) for stream_id in range(1, 101, 2)))
        answers = await reader.readexactly(50 * (9 + 1 + 9 + 9 + 9))
        assert len(read_frames(answers)) == 150
        assert server.writes == before + 1

    talk(do)


def test_answers_of_one_turn_of_the_loop_leave_in_one_write() -> None:
    async def do(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(request(stream_id, POST, ends=False) for stream_id in (1, 3)))
        await until(lambda: len(server.connection.streams) == 2)
        before = server.writes
        for stream in list(server.connection.streams.values()):
            assert isinstance(stream, EchoStream)
            stream.answer()
        assert server.writes == before
        await reader.readexactly(2 * (9 + 1 + 9 + 9 + 9))
        assert server.writes == before + 1

    talk(do)


class Greedy(asyncio.Transport):
    """Takes whatever is written, as a socket with large buffers does."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.mark.parametrize("max_frame_bytes", [2**14, 2**24 - 1])
def test_while_a_large_answer_leaves_others_have_their_turns(max_frame_bytes: int) -> None:
    """However much the socket takes at once, and however large a frame may be."""
    size = 2**23

    async def run() -> None:
        server, wire = Server(Http2Limits()), Greedy()
        server.connection_made(wire)
        setting = b"\0\4\x7f\xff\xff\xff\0\5" + max_frame_bytes.to_bytes(4, "big")
        server.data_received(frames.PREFACE + frame(Kind.SETTINGS, 0, setting))
        server.data_received(frame(Kind.WINDOW_UPDATE, 0, b"\x7f\0\0\0"))
        server.hold = True
        server.data_received(request(1))
        [large] = server.connection.streams.values()
        assert isinstance(large, EchoStream)
        large.body = bytearray(size)
        server.hold = False
        large.answer()
        turns = 0
        while server.connection.streams:
            before = len(wire.sent)
            await asyncio.sleep(0)
            assert len(wire.sent) - before < 2**19
            turns += 1
            if turns == 2:
                server.data_received(request(3))
        await until(lambda: not server.connection.output.parts)
        server.connection_lost(None)
        found = [each for each in read_frames(bytes(wire.sent)) if each.kind in (Kind.DATA, Kind.HEADERS)]
        ends = [each.stream_id for each in found if each.flags & frames.END_STREAM]
        assert ends == [3, 1]
        assert body_of(found, 1) == bytes(size)

    asyncio.run(run())


@pytest.mark.slow
def test_a_large_body_comes_back() -> None:
    async def do(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = bytes(range(256)) * 20_000
        data = [frame(Kind.DATA, 1, body[start : start + 16_384]) for start in range(0, len(body), 16_384)]
        writer.write(request(1, POST, ends=False) + b"".join(data) + frame(Kind.DATA, 1, b"", 1))
        received = b""
        while not received.endswith(frame(Kind.HEADERS, 1, headers.encode([(b"end", b"yes")]), 5)):
            received += await reader.read(2**20)
        assert body_of(read_frames(received), 1) == body

    talk(do)


def test_an_error_is_told_before_the_connection_ends() -> None:
    async def do(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(Kind.PING, 1, bytes(8)) + bytes(1_000_000))
        received = await reader.read()
        assert read_frames(received)[-1].kind == Kind.GOAWAY
        assert received.endswith(b"PING on a stream")
        await server.lost.wait()

    talk(do)


@pytest.mark.slow
def test_answers_to_control_frames_that_nobody_reads_are_bounded() -> None:
    """The rate of PINGs is not what ends this connection."""
    limits = dataclasses.replace(
        Http2Limits(), pings=Rate(burst=10**9, per_second=1), max_unread_bytes=1_000_000
    )

    async def do(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            while True:
                writer.write(frame(Kind.PING, 0, bytes(8)) * 1000)
                await writer.drain()
        await server.lost.wait()

    talk(do, limits, receive_buffer=4096)


@pytest.mark.slow
def test_bodies_that_nobody_reads_wait_in_their_streams() -> None:
    limits = dataclasses.replace(Http2Limits(), max_unread_bytes=1_000_000)

    async def do(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        server.hold = True
        writer.write(request(1))
        await until(lambda: bool(server.connection.streams))
        stream = server.connection.streams[1]
        stream.send_headers(b"")
        stream.send_data(bytes(30_000_000), ends=True)
        await until(lambda: server.connection.output.paused)
        assert server.transport.get_write_buffer_size() < 1_000_000
        assert server.connection.streams[1].queued
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        while 1 in server.connection.streams:
            await reader.read(2**20)

    talk(do, limits, receive_buffer=4096)
