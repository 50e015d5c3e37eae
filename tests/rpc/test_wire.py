"""The asyncio transport on a bare socket: what no client library would send, or would wait for."""

import gc
import gzip
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value
from hpack import Decoder

from kserve_v2.http2 import frames, headers
from kserve_v2.http2.frames import Kind
from kserve_v2.rpc.asyncio_server import AsyncioServer
from tests.integration.support import wait_until
from tests.rpc.serving import MAX_REQUEST_BYTES, Served, serving

STALL_SECONDS = 0.5


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The server of most tests. It is still well in the end."""
    with serving() as running:
        yield running
        with grpc.insecure_channel(running.address) as channel:
            assert channel.unary_unary("/test/Direct")(b"x", timeout=60) == b"x"


CALL = {
    b":method": b"POST", b":scheme": b"http", b":path": b"/test/Direct", b":authority": b"x",
    b"content-type": b"application/grpc", b"te": b"trailers",
}  # fmt: skip


def framed(message: bytes, flag: int = 0) -> bytes:
    """A length-prefixed message."""
    return struct.pack(">BI", flag, len(message)) + message


class Wire:
    """One connection."""

    def __init__(self, served: Served, *, window: int = 2**31 - 1, receive_buffer: int = 0) -> None:
        """`window`: what the server may send. `receive_buffer`: of the socket, if it is to be small."""
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(60)
        host, port = served.address.split(":")
        self.socket.connect((host, int(port)))
        self.decoder = Decoder()
        self.rest = b""
        settings = frame(Kind.SETTINGS, 0, struct.pack(">HI", 4, window))
        self.send(frames.PREFACE + settings + frame(Kind.WINDOW_UPDATE, 0, struct.pack(">I", 2**30)))

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def call(self, stream_id: int, *data_and_flags: Any, **changes: Any) -> None:
        """Send `call_frames`."""
        self.send(self.call_frames(stream_id, *data_and_flags, **changes))

    def call_frames(
        self,
        stream_id: int,
        data: bytes | None = None,
        flags: int = 1,
        between: bytes = b"",
        **changes: bytes,
    ) -> bytes:
        """A request, with data and its flags unless there is none; underscores in names are dashes, `P` a colon.
        `between`: frames between its head and its data.
        """
        fields = CALL | {
            name.replace("P", ":").replace("_", "-").encode(): value for name, value in changes.items()
        }
        block = headers.encode(list(fields.items()))
        body = b"" if data is None else frame(Kind.DATA, stream_id, data, flags)
        return frame(Kind.HEADERS, stream_id, block, 4 | (data is None)) + between + body

    def frame(self) -> tuple[int, int, int, bytes]:
        """The next frame: type, flags, stream and payload. Raises EOFError at the end."""
        while len(self.rest) < 9 or len(self.rest) < 9 + int.from_bytes(self.rest[:3], "big"):
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.rest += data
        length = int.from_bytes(self.rest[:3], "big")
        kind, flags, stream_id = struct.unpack_from(">BBI", self.rest, 3)
        payload, self.rest = self.rest[9 : 9 + length], self.rest[9 + length :]
        return kind, flags, stream_id, payload

    def answer(self, wanted: int) -> dict[str, str]:
        """The fields of the header blocks of one stream, its data as `data`, until it ends or is reset."""
        found: dict[str, str] = {}
        while True:
            kind, flags, stream_id, payload = self.frame()
            if kind == Kind.HEADERS:
                fields = dict(self.decoder.decode(payload))
                found.update(fields if stream_id == wanted else {})
            elif stream_id == wanted and kind == Kind.DATA:
                found["data"] = found.get("data", "") + payload.decode("latin-1")
            elif stream_id == wanted and kind == Kind.RST_STREAM:
                found["reset"] = str(int.from_bytes(payload, "big"))
                return found
            if stream_id == wanted and kind in (Kind.DATA, Kind.HEADERS) and flags & 1:
                return found

    def goaway(self) -> tuple[int, bytes]:
        """The error and the text of a GOAWAY, after which the server hangs up."""
        found = None
        try:
            while True:
                kind, _, _, payload = self.frame()
                if kind == Kind.GOAWAY:
                    found = int.from_bytes(payload[4:8], "big"), payload[8:]
        except (EOFError, ConnectionResetError):
            assert found is not None
            return found

    def is_cut_off(self) -> bool:
        """Whether the server has hung up. Waits for that."""
        try:
            while True:
                self.frame()
        except (EOFError, ConnectionResetError):
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()


def frame(kind: int, stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A frame."""
    return frames.frame(kind, flags, stream_id, payload)


# --- calls --------------------------------------------------------------------------------------------------------


def test_a_call(served: Served) -> None:
    with Wire(served) as wire:
        wire.call(1, framed(b"x"))
        assert wire.answer(1) == {
            ":status": "200", "content-type": "application/grpc", "data": "\0\0\0\0\1x", "grpc-status": "0",
        }  # fmt: skip


def test_many_calls_in_one_write_are_answered_in_one(served: Served) -> None:
    block = headers.encode(list(CALL.items()))
    calls = b"".join(
        frame(Kind.HEADERS, stream_id, block, 4) + frame(Kind.DATA, stream_id, framed(b"%d" % stream_id), 1)
        for stream_id in range(1, 201, 2)
    )
    with Wire(served) as wire:
        wire.send(calls)
        for stream_id in range(1, 201, 2):
            assert wire.answer(stream_id)["data"] == framed(b"%d" % stream_id).decode()


WAYS = ["first", "whole", "apart"]
METHODS = ["Direct", "Recalled"]
PING = frame(Kind.PING, 0, bytes(8))


def ask(wire: Wire, way: str, method: str, message: bytes, **changes: bytes) -> int:
    """Send a request that is the first one with its head, or comes whole with a head that is known, or in parts. Returns
    its stream.
    """
    changes["Ppath"] = b"/test/" + method.encode()
    if way == "first":
        wire.call(1, framed(message), **changes)
        return 1
    wire.call(1, framed(b"x"), **changes)
    wire.send(frame(Kind.RST_STREAM, 1, bytes(4)))
    wire.call(3, framed(message), between=PING if way == "apart" else b"", **changes)
    return 3


OUTCOMES = {
    b"x": {"data": "\0\0\0\0\1x", "grpc-status": "0"},
    b"later": {"data": "\0\0\0\0\5later", "grpc-status": "0"},
    b"fail": {"grpc-status": "5", "grpc-message": "no such thing"},
    b"fail later": {"grpc-status": "5", "grpc-message": "no such thing"},
}


@pytest.mark.parametrize("message", OUTCOMES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_the_outcome_is_the_same_whichever_way_a_call_comes(
    served: Served, way: str, method: str, message: bytes
) -> None:
    with Wire(served) as wire:
        expected = {":status": "200", "content-type": "application/grpc"} | OUTCOMES[message]
        assert wire.answer(ask(wire, way, method, message)) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_a_defect_fails_its_call_alone(served: Served, way: str, method: str) -> None:
    with Wire(served) as wire:
        assert wire.answer(ask(wire, way, f"{method}Defect", b"x"))["grpc-status"] == "13"
        wire.call(5, framed(b"x"))
        assert wire.answer(5)["grpc-status"] == "0"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_the_deadline_of_a_call_that_is_not_answered(served: Served, way: str, method: str) -> None:
    with Wire(served) as wire:
        assert wire.answer(ask(wire, way, f"{method}Hang", b"x", grpc_timeout=b"50m"))["grpc-status"] == "4"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("leave", [False, True])
def test_a_call_is_given_up_with_its_stream(served: Served, way: str, method: str, leave: bool) -> None:
    method = f"{method}Hang"
    served.methods.forget()
    with Wire(served) as wire:
        stream_id = ask(wire, way, method, b"x")
        if not leave:
            wire.send(frame(Kind.RST_STREAM, stream_id, bytes(4)))
        # A socket that is closed too early takes along what it has sent.
        for _ in range(stream_id // 2 + 1):
            served.methods.started.get(timeout=60)
        # The first call of two was given up already.
        for _ in range(stream_id // 2):
            assert served.methods.given_up.get(timeout=60) == method
        if not leave:
            assert served.methods.given_up.get(timeout=60) == method
    if leave:
        assert served.methods.given_up.get(timeout=60) == method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_its_window_does_not_take(served: Served, way: str, method: str) -> None:
    with Wire(served, window=7) as wire:
        stream_id = ask(wire, way, method, b"0123456789")
        wire.send(frame(Kind.WINDOW_UPDATE, stream_id, struct.pack(">I", 1000)))
        assert wire.answer(stream_id)["data"] == "\0\0\0\0\n0123456789"


REFUSALS: dict[str, tuple[dict[str, bytes], dict[str, str]]] = {
    "method": ({"Pmethod": b"GET"}, {":status": "405", "allow": "POST"}),
    "content-type": ({"content_type": b"text/plain"}, {":status": "415"}),
    "path": ({"Ppath": b"/test/No"}, {":status": "200", "grpc-status": "12"}),
    "path-that-is-no-text": ({"Ppath": b"/test/\xff\xfe"}, {":status": "200", "grpc-status": "12"}),
    "encoding": ({"grpc_encoding": b"br"}, {"grpc-status": "12"}),
    "timeout": ({"grpc_timeout": b"soon"}, {"grpc-status": "3"}),
    "malformed": ({"connection": b"close"}, {"reset": "1"}),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("flags", [0, 1])
def test_requests_that_are_refused_harm_no_other(served: Served, name: str, flags: int) -> None:
    changes, expected = REFUSALS[name]
    with Wire(served) as wire:
        wire.call(1, framed(b"before"))
        wire.call(3, framed(b"x"), flags, **changes)
        wire.call(5, framed(b"behind"))
        assert "before" in wire.answer(1)["data"]
        assert expected.items() <= wire.answer(3).items()
        assert "behind" in wire.answer(5)["data"]


MESSAGES: dict[str, tuple[bytes, str]] = {
    "none": (b"", "12"),
    "two": (framed(b"a") + framed(b"b"), "12"),
    "cut-prefix": (b"\0\0\0", "3"),
    "cut-message": (framed(b"abc")[:-1], "3"),
    "unknown-flag": (framed(b"abc", 2), "12"),
    "compressed-without-saying-how": (framed(gzip.compress(b"abc"), 1), "3"),
    "too-large": (struct.pack(">BI", 0, 2**32 - 1) + b"x", "8"),
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("known", [False, True])
def test_messages_that_are_wrong(served: Served, name: str, method: str, known: bool) -> None:
    data, status = MESSAGES[name]
    with Wire(served) as wire:
        path = b"/test/" + method.encode()
        if known:
            wire.call(1, framed(b"x"), Ppath=path)
            assert wire.answer(1)["grpc-status"] == "0"
        wire.call(3, data, Ppath=path)
        assert wire.answer(3)["grpc-status"] == status
        wire.call(5, framed(b"x"), Ppath=path)
        assert wire.answer(5)["grpc-status"] == "0"


def test_a_request_without_a_body(served: Served) -> None:
    with Wire(served) as wire:
        wire.call(1)
        assert wire.answer(1)["grpc-status"] == "12"


def test_a_compressed_message_cannot_take_more_memory_than_another(served: Served) -> None:
    with Wire(served) as wire:
        wire.call(1, framed(gzip.compress(bytes(200 * MAX_REQUEST_BYTES)), 1), grpc_encoding=b"gzip")
        assert wire.answer(1)["grpc-status"] == "8"


def test_a_message_byte_by_byte(served: Served) -> None:
    with Wire(served) as wire:
        wire.call(1, b"", 0)
        for byte in framed(b"slowly"):
            wire.send(frame(Kind.DATA, 1, bytes([byte])))
        wire.send(frame(Kind.DATA, 1, b"", 1))
        assert wire.answer(1)["data"] == framed(b"slowly").decode()


def test_an_error_before_the_end_of_the_request(served: Served) -> None:
    """The stream is reset without an error: the rest need not be sent."""
    with Wire(served) as wire:
        wire.call(1, framed(b"a") + framed(b"b"), 0)
        assert wire.answer(1)["grpc-status"] == "12"
        kind, _, stream_id, payload = wire.frame()
        assert (kind, stream_id, payload) == (Kind.RST_STREAM, 1, bytes(4))
        wire.send(frame(Kind.DATA, 1, b"more", 1))
        wire.call(3, framed(b"x"))
        assert wire.answer(3)["grpc-status"] == "0"


UNFINISHED = {
    "messages": ("Stream", MAX_REQUEST_BYTES - 1),
    # These are complete, but not the requests.
    "requests-of-one-message": ("Direct", MAX_REQUEST_BYTES),
    "requests-to-a-task": ("Echo", MAX_REQUEST_BYTES),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_one_connection_leaves_unfinished_is_bounded(served: Served, name: str) -> None:
    """Each within its limit, together they would be more than a connection may hold."""
    method, sent = UNFINISHED[name]
    begun = struct.pack(">BI", 0, MAX_REQUEST_BYTES) + bytes(sent)
    with Wire(served) as wire:
        for stream_id in range(1, 201, 2):
            wire.call(stream_id, b"", 0, Ppath=b"/test/" + method.encode())
            for start in range(0, len(begun), 16384):
                wire.send(frame(Kind.DATA, stream_id, begun[start : start + 16384]))
        while "unfinished" not in (found := wire.answer(wire_stream(wire))).get("grpc-message", ""):
            pass
        assert found["grpc-status"] == "8"


def test_what_is_finished_no_longer_counts(served: Served) -> None:
    """More than a connection may hold, one after the other; some are given up instead."""
    message = framed(bytes(MAX_REQUEST_BYTES - 1) + b"x")
    with Wire(served) as wire:
        for number in range(80):
            stream_id = 2 * number + 1
            wire.call(stream_id, message[:16384], 0)
            for start in range(16384, len(message), 16384):
                wire.send(frame(Kind.DATA, stream_id, message[start : start + 16384]))
            if number % 2:
                wire.send(frame(Kind.RST_STREAM, stream_id, bytes(4)))
            else:
                wire.send(frame(Kind.DATA, stream_id, b"", 1))
                assert wire.answer(stream_id)["grpc-status"] == "0"


@pytest.mark.parametrize(("calls", "size"), [(400, 60_000), (20, 1_000_000)])
@pytest.mark.parametrize("known", [False, True])
def test_many_answers_at_once_wait_until_the_client_reads(
    served: Served, calls: int, size: int, known: bool
) -> None:
    """All of them are more than may wait in the socket's buffer, and the windows would let them leave."""
    block = headers.encode(list((CALL | {b":path": b"/test/Zeros"}).items()))
    message = framed(b"%d" % size)
    with Wire(served) as wire:
        if known:
            wire.call(1, framed(b"1"), Ppath=b"/test/Zeros")
            assert wire.answer(1)["grpc-status"] == "0"
        streams = range(3, 2 * calls + 3, 2)
        wire.send(
            b"".join(
                frame(Kind.HEADERS, each, block, 4) + frame(Kind.DATA, each, message, 1) for each in streams
            )
        )
        received = dict.fromkeys(streams, 0)
        ended = 0
        while ended < calls:
            kind, flags, stream_id, payload = wire.frame()
            if kind == Kind.DATA:
                received[stream_id] += len(payload)
            ended += kind == Kind.HEADERS and flags & 1
        assert set(received.values()) == {size + 5}


def test_calls_that_fail_leave_nothing_behind(served: Served) -> None:
    """Not even for the garbage collector: what an error was raised over can be large."""
    with Wire(served) as wire:
        wire.call(1, framed(b"fail"), Ppath=b"/test/Recalled")
        assert wire.answer(1)["grpc-status"] == "5"
        gc.collect()
        gc.disable()
        # What others leave, who are in this process, too, they do not leave each time.
        left = []
        try:
            for first in range(3, 603, 200):
                for stream_id in range(first, first + 200, 2):
                    wire.call(stream_id, framed(b"fail"), Ppath=b"/test/Recalled")
                    assert wire.answer(stream_id)["grpc-status"] == "5"
                left.append(gc.collect())
        finally:
            gc.enable()
        assert min(left) < 100, left


def wire_stream(wire: Wire) -> int:
    """The stream of the next header block, which is left to be read."""
    while True:
        kind, flags, stream_id, payload = wire.frame()
        if kind == Kind.HEADERS:
            wire.rest = frame(kind, stream_id, payload, flags) + wire.rest
            return stream_id


# --- large compressed messages, which are decompressed in slices -------------------------------------------------------


def compressed(value: bytes) -> bytes:
    message = BytesValue(value=value).SerializeToString()
    return framed(gzip.compress(message, 1), 1)


def in_slices(number: int) -> bytes:
    """What takes several slices to decompress."""
    return bytes([number]) * (MAX_REQUEST_BYTES - 100)


def test_messages_behind_one_that_is_being_decompressed_wait_for_it(served: Served) -> None:
    plain = BytesValue(value=b"plain").SerializeToString()
    sent = [
        compressed(in_slices(1)),
        framed(plain),
        compressed(in_slices(2)),
        compressed(b"small"),
        framed(plain),
    ]
    with Wire(served) as wire:
        wire.call(1, b"".join(sent), Ppath=b"/test/Stream", grpc_encoding=b"gzip")
        answer = wire.answer(1)
        assert answer["grpc-status"] == "0"
        values = [in_slices(1), b"plain", in_slices(2), b"small", b"plain"]
        expected = b"".join(framed(BytesValue(value=each).SerializeToString()) for each in values)
        assert answer["data"].encode("latin-1") == expected


def test_others_are_answered_while_a_message_is_decompressed(served: Served) -> None:
    message = gzip.compress(in_slices(1), 1)
    with Wire(served) as wire:
        # At once: who comes later may find the message decompressed.
        first = wire.call_frames(1, framed(message, 1), grpc_encoding=b"gzip")
        wire.send(first + wire.call_frames(3, framed(b"behind")))
        ended = []
        while len(ended) < 2:
            kind, flags, stream_id, _ = wire.frame()
            if kind == Kind.HEADERS and flags & 1:
                ended.append(stream_id)
        assert ended == [3, 1]


@pytest.mark.parametrize("wrong", ["damaged", "cut off", "followed", "too large"])
def test_what_is_wrong_at_the_end_of_a_large_compressed_message(served: Served, wrong: str) -> None:
    data = gzip.compress(in_slices(1) + (bytes(200) if wrong == "too large" else b""), 1)
    data = {"damaged": data[:-8] + bytes(8), "cut off": data[:-9], "followed": data + b"x"}.get(wrong, data)
    with Wire(served) as wire:
        wire.call(1, framed(data, 1), grpc_encoding=b"gzip")
        answer = wire.answer(1)
        assert answer["grpc-status"] == ("8" if wrong == "too large" else "3")
        wire.call(3, framed(b"x"))
        assert wire.answer(3)["grpc-status"] == "0"


@pytest.mark.parametrize("end", ["reset", "deadline", "hang up"])
def test_nothing_is_kept_of_a_call_that_ends_while_its_message_is_decompressed(
    served: Served, end: str
) -> None:
    assert isinstance(served.server, AsyncioServer)
    server = served.server
    data = b"".join(framed(gzip.compress(in_slices(1), 1), 1) for _ in range(20))
    reset = frame(Kind.RST_STREAM, 1, struct.pack(">I", 8)) if end == "reset" else b""
    timeout = {"grpc_timeout": b"1n"} if end == "deadline" else {}
    with Wire(served) as wire:
        wire.call(1, data, 0, Ppath=b"/test/Stream", grpc_encoding=b"gzip", **timeout)
        wire.send(reset)
        if end == "deadline":
            assert wire.answer(1)["grpc-status"] == "4"
        if end != "hang up":
            wire.call(3, framed(b"x"))
            assert wire.answer(3)["grpc-status"] == "0"
            served.call(server.slicer.idle)
            # Calls of other tests' clients, who have left, may still be on their way out.
            wait_until(lambda: server.inflight.used == 0)
    with Wire(served) as wire:
        wire.call(1, framed(b"x"))
        assert wire.answer(1)["grpc-status"] == "0"


def test_a_large_answer_that_nobody_waits_for_while_it_is_compressed() -> None:
    with serving(response_compression="low") as served:
        assert isinstance(served.server, AsyncioServer)
        server = served.server
        with Wire(served) as wire:
            takes = {"Ppath": b"/test/Zeros", "grpc_accept_encoding": b"gzip"}
            wire.call(1, framed(b"100000000"), **takes)
            wire.send(frame(Kind.RST_STREAM, 1, struct.pack(">I", 8)))
            wire.call(3, framed(b"1000000"), **takes)
            answer = wire.answer(3)
            assert answer["grpc-status"] == "0"
            data = answer["data"].encode("latin-1")
            assert data[0] == 1
            assert gzip.decompress(data[5:]) == bytes(1_000_000)
            served.call(server.slicer.idle)


# --- large frames, which are read to where their message comes to be --------------------------------------------------

LARGE = framed(bytes(range(256)) * 3900 + b"x")
"""In one frame, much of which is missing after the first read."""


@pytest.mark.parametrize("padding", [None, 0, 200])
@pytest.mark.parametrize("method", ["Direct", "Echo", "Stream"])
@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_message_in_a_large_frame(served: Served, method: str, parts: int, padding: int | None) -> None:
    data = LARGE if method == "Direct" else framed(BytesValue(value=LARGE).SerializeToString())
    payload = data if padding is None else bytes([padding]) + data + bytes(padding)
    flags = 1 if padding is None else 1 | frames.PADDED
    sent = frame(Kind.DATA, 1, payload, flags)
    with Wire(served) as wire:
        wire.call(1, b"", 0, Ppath=b"/test/" + method.encode())
        for number in range(parts):
            wire.send(sent[len(sent) * number // parts : len(sent) * (number + 1) // parts])
        wire.call(3, framed(b"behind"))
        received = {1: b"", 3: b""}
        open_streams = {1, 3}
        while open_streams:
            kind, flags, stream_id, answer = wire.frame()
            if kind == Kind.DATA:
                received[stream_id] += answer
            elif kind == Kind.HEADERS and flags & 1:
                open_streams.remove(stream_id)
        assert received == {1: data, 3: framed(b"behind")}


def test_messages_one_after_the_other_in_large_frames(served: Served) -> None:
    """The end of one, the beginning of the next: they need not know of frames."""
    messages = [
        framed(BytesValue(value=bytes([number]) * 700_000).SerializeToString()) for number in range(5)
    ]
    data = b"".join(messages)
    with Wire(served) as wire:
        wire.call(1, b"", 0, Ppath=b"/test/Stream")
        for start in range(0, len(data), 1_000_000):
            wire.send(frame(Kind.DATA, 1, data[start : start + 1_000_000], start + 1_000_000 >= len(data)))
        assert wire.answer(1)["data"] == data.decode("latin-1")


def test_a_call_ends_amid_a_large_frame(served: Served) -> None:
    """What is still to come of the frame is nobody's; the connection goes on."""
    sent = frame(Kind.DATA, 1, LARGE, 1)
    with Wire(served) as wire:
        wire.call(1, b"", 0, grpc_timeout=b"50m")
        wire.send(sent[:300_000])
        assert wire.answer(1)["grpc-status"] == "4"
        wire.send(sent[300_000:])
        wire.call(3, framed(b"behind"))
        assert "behind" in wire.answer(3)["data"]


def test_a_client_leaves_amid_a_large_frame(served: Served) -> None:
    with Wire(served) as wire:
        wire.call(1, framed(b"x"))
        wire.answer(1)
        wire.call(3, b"", 0)
        wire.send(frame(Kind.DATA, 3, LARGE, 1)[:300_000])
    with Wire(served) as wire:
        wire.call(1, framed(b"x"))
        assert wire.answer(1)["grpc-status"] == "0"


def test_a_server_ends_amid_a_large_frame() -> None:
    with serving() as served, Wire(served) as wire:
        wire.call(1, framed(b"x"))
        wire.answer(1)
        wire.call(3, b"", 0)
        wire.send(frame(Kind.DATA, 3, LARGE, 1)[:300_000])
        stopping = threading.Thread(target=lambda: served.call(lambda: served.server.stop(0.05)))
        stopping.start()
        assert wire.answer(3)["grpc-status"] == "14"
        assert wire.is_cut_off()
        stopping.join(60)
        assert not stopping.is_alive()


# --- pings --------------------------------------------------------------------------------------------------------


def test_too_many_pings(served: Served) -> None:
    with Wire(served) as wire:
        wire.send(frame(Kind.PING, 0, bytes(8)) * 10)
        assert wire.goaway() == (11, b"too_many_pings")


def test_pings_between_calls(served: Served) -> None:
    with Wire(served) as wire:
        for stream_id in range(1, 41, 2):
            wire.call(stream_id, framed(b"x"))
            assert wire.answer(stream_id)["grpc-status"] == "0"
            wire.send(frame(Kind.PING, 0, b"12345678"))
            assert wire.frame()[3] == b"12345678"


def test_a_client_that_does_not_answer_pings_is_disconnected() -> None:
    options = {"keepalive_time_ms": 100, "keepalive_timeout_ms": 100, "keepalive_permit_without_calls": True}
    with serving(**options) as served, Wire(served) as wire:
        assert wire.is_cut_off()


def test_a_client_that_answers_pings_is_not() -> None:
    options = {
        "keepalive_time_ms": 50,
        "keepalive_timeout_ms": 60_000,
        "keepalive_permit_without_calls": True,
    }
    with serving(max_pings_without_data=0, **options) as served, Wire(served) as wire:
        answered = 0
        while answered < 3:
            kind, flags, _, payload = wire.frame()
            if kind == Kind.PING and not flags:
                wire.send(frame(Kind.PING, 0, payload, 1))
                answered += 1


def test_pings_without_data_are_limited() -> None:
    """The keepalive time is over as often as the test says, which no clock does."""
    never = {"keepalive_time_ms": 10**8, "keepalive_timeout_ms": 10**8}
    with (
        serving(max_pings_without_data=2, keepalive_permit_without_calls=True, **never) as served,
        Wire(served) as wire,
    ):

        def silence() -> None:
            (connection,) = cast("AsyncioServer", served.server)._connections
            connection._keepalive._silence()

        def pings_in(silences: int) -> int:
            """How often the client is pinged; the answer to a ping of its own is the last that it gets."""
            for _ in range(silences):
                served.call(silence)
            wire.send(frame(Kind.PING, 0, b"the last"))
            pings = 0
            while True:
                kind, flags, _, payload = wire.frame()
                pings += kind == Kind.PING and not flags
                if kind == Kind.PING and payload == b"the last":
                    return pings

        # The server has greeted: the connection is there.
        assert wire.frame()[0] == Kind.SETTINGS
        # In the first one, the preface is heard; and so is each ping of the test's own.
        assert pings_in(10) == 2
        assert pings_in(10) == 0
        # What is sent to it in answer to a call allows it to be pinged again.
        wire.call(1, framed(b"x"))
        assert wire.answer(1)["grpc-status"] == "0"
        assert pings_in(10) == 2


# --- clients that stall -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient() -> Iterator[Served]:
    """A server that does not wait long."""
    with serving(max_stall_s=STALL_SECONDS) as running:
        yield running


BEGUN = {
    "frame": frame(Kind.PING, 0, bytes(8))[:-1],
    "head": frame(Kind.PING, 0)[:5],
    "headers": frame(Kind.HEADERS, 1, b"\x82"),
    "data": frame(Kind.HEADERS, 1, headers.encode(list(CALL.items())), 4)
    + frame(Kind.DATA, 1, bytes(100))[:-1],
    "large-data": frame(Kind.HEADERS, 1, headers.encode(list(CALL.items())), 4)
    + frame(Kind.DATA, 1, LARGE)[:300_000],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BEGUN)
def test_a_frame_that_does_not_end(impatient: Served, name: str) -> None:
    with Wire(impatient) as wire:
        wire.send(BEGUN[name])
        assert wire.is_cut_off()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", frames.PREFACE[:10], frames.PREFACE])
def test_a_client_that_does_not_introduce_itself(impatient: Served, sent: bytes) -> None:
    host, port = impatient.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(sent)
        while connection.recv(1000):
            pass


@pytest.mark.slow
def test_a_message_that_does_not_end(impatient: Served) -> None:
    with Wire(impatient) as wire:
        wire.call(1, framed(b"abc")[:-1], 0)
        wire.call(3, b"", 0, Ppath=b"/test/Stream")
        answer = wire.answer(1)
        assert (answer["grpc-status"], answer["grpc-message"]) == (
            "1",
            "the rest of a message did not arrive in time",
        )
        # A stream may be silent between its messages.
        wire.send(frame(Kind.DATA, 3, framed(b""), 1))
        assert wire.answer(3)["grpc-status"] == "0"


@pytest.mark.slow
def test_a_client_that_does_not_let_the_answer_be_sent(impatient: Served) -> None:
    """Its window stays closed: the stream is given up, the connection lives on."""
    with Wire(impatient, window=10) as wire:
        wire.call(1, framed(b"x" * 1000))
        assert wire.answer(1)["reset"] == "8"
        wire.call(3, framed(b"x"))
        assert wire.answer(3)["grpc-status"] == "0"


@pytest.mark.slow
def test_a_client_that_does_not_read(impatient: Served) -> None:
    """The socket is full."""
    with Wire(impatient, receive_buffer=4096) as wire:
        impatient.methods.forget()
        wire.call(1, framed(Int64Value(value=-1).SerializeToString()), Ppath=b"/test/Repeat")
        assert impatient.methods.given_up.get(timeout=60) == "Repeat"


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, crt = folder / "key.pem", folder / "crt.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(crt)], check=True, capture_output=True)
    return crt, key


@contextmanager
def serving_tls(certificate: tuple[Path, Path], **options: Any) -> Iterator[Served]:
    """A server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving(tls=context, **options) as served:
        yield served


def test_tls(certificate: tuple[Path, Path]) -> None:
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.max_receive_message_length", -1)]
    with (
        serving_tls(certificate) as served,
        grpc.secure_channel(served.address, credentials, options) as channel,
    ):
        for size in (1, 500_000):
            sent = BytesValue(value=bytes(size)).SerializeToString()
            assert channel.unary_unary("/test/Echo")(sent, timeout=60) == sent
        stream = channel.stream_stream("/test/Stream")(iter([b"", b""]), timeout=60)
        assert list(stream) == [b"", b""]


@pytest.mark.parametrize("protocols", [None, ["http/1.1"]])
def test_tls_without_alpn(certificate: tuple[Path, Path], protocols: list[str] | None) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    if protocols:
        context.set_alpn_protocols(protocols)
    with serving_tls(certificate) as served:
        host, port = served.address.split(":")
        with (
            socket.create_connection((host, int(port)), timeout=60) as plain,
            pytest.raises((OSError, EOFError)),
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(frames.PREFACE)
            if not wrapped.recv(1):
                raise EOFError


# --- the end of connections ---------------------------------------------------------------------------------------


def test_what_is_no_http_2(served: Served) -> None:
    host, port = served.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = b""
        while data := connection.recv(1000):
            received += data
    assert received.endswith(b"not a client of HTTP/2")


def test_a_server_that_stops_says_so_first() -> None:
    """Calls that were on their way when it said so are still answered."""
    with serving() as served, Wire(served) as wire:
        wire.call(1, b"", 0, Ppath=b"/test/Stream")
        wire.send(frame(Kind.DATA, 1, framed(b"")))
        assert wire_stream(wire) == 1
        stopping = threading.Thread(target=lambda: served.call(lambda: served.server.stop(60)))
        stopping.start()
        last: list[int] = []
        while True:
            kind, flags, _, payload = wire.frame()
            if kind == Kind.GOAWAY:
                last.append(int.from_bytes(payload[:4], "big"))
                if len(last) == 1:
                    wire.call(3, framed(b"late"))
                else:
                    break
            elif kind == Kind.PING and not flags:
                wire.send(frame(Kind.PING, 0, payload, 1))
            elif kind == Kind.HEADERS:
                wire.decoder.decode(payload)
        assert last == [2**31 - 1, 3]
        wire.call(5, framed(b"too late"))
        wire.send(frame(Kind.DATA, 1, b"", 1))
        answer = wire.answer(1)
        assert answer["grpc-status"] == "0"
        assert wire.is_cut_off()
        stopping.join(60)
        assert not stopping.is_alive()


def test_a_server_that_ends_while_an_answer_waits() -> None:
    """The rest of it is not sent; the status says why, as trailers."""
    with serving() as served, Wire(served, window=10) as wire:
        wire.call(1, framed(b"x" * 1000))
        begun = {}
        while "data" not in begun:
            kind, _, _, payload = wire.frame()
            if kind == Kind.HEADERS:
                begun.update(wire.decoder.decode(payload))
            elif kind == Kind.DATA:
                begun["data"] = payload
        assert begun[":status"] == "200"
        stopping = threading.Thread(target=lambda: served.call(lambda: served.server.stop(0.05)))
        stopping.start()
        assert wire.answer(1) == {
            "grpc-status": "14",
            "grpc-message": "Server exiting: the request was not finished in time",
        }
        stopping.join(60)
        assert not stopping.is_alive()
